// Attention at the shapes of diffusion transformers, against products in bfloat16 of the same run.
#pragma once

#include <string>

#include "device_linears.h"

namespace quantscope::bench {

inline void attention(const std::shared_ptr<Device>& device, bool emulated, const Bf16Rate& products, const Best& best, const Line& line) {
    struct Shape {
        const char* name;
        cuda::AttentionShape shape;
        bool biased;
    };
    using cuda::Element;
    const std::vector<Shape> shapes = emulated ? std::vector<Shape>{{"tiny", {Element::BF16, 1, 64, 5, 7}, true}}
                                               : std::vector<Shape>{{"FLUX.1 at 1024 px", {Element::BF16, 24, 128, 4608, 4608}, false},
                                                                    {"DiT-XL/2 at 512 px", {Element::BF16, 16, 72, 1024, 1024}, false},
                                                                    {"PixArt at 1024 px", {Element::BF16, 16, 72, 4096, 4096}, false},
                                                                    {"PixArt's text at 1024 px", {Element::BF16, 16, 72, 4096, 300}, true},
                                                                    {"float32, DiT-XL/2 at 512 px", {Element::F32, 16, 72, 1024, 1024}, false}};
    for (const auto& [name, shape, biased] : shapes) {
        const std::string title = "attention, " + std::string(name) + ", " + std::to_string(shape.heads) + " x " + std::to_string(shape.width);
        if (!wanted(title)) {
            continue;
        }
        const uint64_t width = shape.heads * shape.width;
        const uint64_t each = shape.element == Element::BF16 ? 2 : 4;
        const auto values = [&](uint64_t count, uint64_t seed) { return randomBytes(*device, count * each, seed, true); };
        const auto q = values(shape.queries * width, 1), k = values(shape.keys * width, 2), v = values(shape.keys * width, 3), bias = values(shape.keys, 4);
        const auto out = device->allocate<uint8_t>(shape.queries * width * each);
        const cuda::AttentionRequest request{q.data(), width, k.data(), width, v.data(), width, biased ? bias.data() : nullptr, out.data(), width};
        const double ms = best([&] { device->check(device->api().attention->run(device->context(), &shape, &request), "attention"); });
        const double rate = 4.0 * static_cast<double>(shape.queries) * static_cast<double>(shape.keys) * static_cast<double>(width) / ms / 1e9;
        line(title, ms, rate, "TFLOP/s", products.perSecond > 0 ? rate / products.perSecond : 0, products.name);
    }
}

}  // namespace quantscope::bench
