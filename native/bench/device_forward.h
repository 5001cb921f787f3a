// Some blocks of a transformer of FLUX.1-dev's sizes as a whole forward pass, W4A4 against bfloat16: the same program, of random weights.
#pragma once

#include <unistd.h>

#include <chrono>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "device/graph.h"
#include "selection.h"

namespace quantscope::bench {

/// A file of random BF16 numbers from which every weight is read, from the start.
class RandomWeights {
public:
    explicit RandomWeights(uint64_t elements) : path_(std::filesystem::temp_directory_path() / ("quantscope-forward-" + std::to_string(::getpid()))) {
        SplitMix64 random(1);
        std::vector<uint64_t> piece(1 << 16);
        for (uint64_t& word : piece) {  // four numbers of 2^-8 to 2^-6
            word = (random.next() & 0x80FF80FF80FF80FF) | 0x3C003C003C003C00;
        }
        std::ofstream out(path_, std::ios::binary);
        for (uint64_t written = 0; written < elements; written += piece.size() * 4) {
            out.write(reinterpret_cast<const char*>(piece.data()), static_cast<std::streamsize>(piece.size() * 8));
        }
    }
    ~RandomWeights() {
        std::error_code ignored;
        std::filesystem::remove(path_, ignored);
    }
    RandomWeights(const RandomWeights&) = delete;
    RandomWeights& operator=(const RandomWeights&) = delete;
    Stored operator()(Shape shape) const { return {{path_.string(), 0, Dtype::BF16, std::move(shape)}, nullptr}; }

private:
    std::filesystem::path path_;
};

struct FluxSizes {
    uint64_t width, heads, image, text;
    int doubles, singles;  ///< blocks
};

/// What server/src/models/flux.ts builds, without embeddings and the last layers.
class FluxProgram {
public:
    FluxProgram(const FluxSizes& sizes, const RandomWeights& weights) : s_(sizes), weights_(weights) {
        const Shape angles{s_.text + s_.image, s_.width / s_.heads / 2};
        cos_ = constant(angles, 0.8f);
        sin_ = constant(angles, 0.6f);
        modulation_ = constant({s_.width}, 0.25f);
        Buffer image = waves({s_.image, s_.width});
        Buffer text = waves({s_.text, s_.width});
        for (int i = 0; i < s_.doubles; ++i) {
            doubleBlock("double" + std::to_string(i) + ".", image, text);
        }
        Buffer all = add(ConcatOp{{text, image}, 0, 0}, {s_.text + s_.image, s_.width});
        for (int i = 0; i < s_.singles; ++i) {
            all = singleBlock("single" + std::to_string(i) + ".", all);
        }
        program_.outputs["out"] = add(SliceOp{all, 0, 0, 1, 0}, {1, s_.width});
    }
    const Program& program() const { return program_; }
    const std::vector<std::string>& layers() const { return layers_; }

private:
    using Modulation = std::vector<Buffer>;

    Buffer buffer(Shape shape) {
        program_.buffers.push_back(std::move(shape));
        return static_cast<Buffer>(program_.buffers.size() - 1);
    }
    template <class OpType>
    Buffer add(OpType op, Shape shape) {
        op.out = buffer(std::move(shape));
        program_.ops.push_back(op);
        return op.out;
    }
    Buffer constant(const Shape& shape, float value) { return add(ConstantOp{std::vector<float>(elementsOf(shape), value), 0}, shape); }
    /// In the place of inputs: they lie on the device already.
    Buffer waves(const Shape& shape) {
        std::vector<float> values(elementsOf(shape));
        for (uint64_t i = 0; i < values.size(); ++i) {
            values[i] = std::sin(static_cast<float>(i % 1000));
        }
        return add(ConstantOp{std::move(values), 0}, shape);
    }
    uint64_t rows(Buffer x) const { return elementsOf(program_.buffers[x]) / lastOf(program_.buffers[x]); }
    Buffer linear(const std::string& name, Buffer x, uint64_t outputs) {
        layers_.push_back(name);
        Shape shape = program_.buffers[x];
        const uint64_t inputs = shape.back();
        shape.back() = outputs;
        return add(LinearOp{name, x, weights_({outputs, inputs}), weights_({outputs}), 0}, shape);
    }
    Modulation modulation(const std::string& name, uint64_t parts) {
        const Buffer all = linear(name, modulation_, parts * s_.width);
        Modulation result;
        for (uint64_t i = 0; i < parts; ++i) {
            result.push_back(add(SliceOp{all, 0, i * s_.width, (i + 1) * s_.width, 0}, {s_.width}));
        }
        return result;
    }
    Buffer modulated(Buffer x, Buffer shift, Buffer scale) {
        const Shape shape = program_.buffers[x];
        return add(ModulateOp{add(LayerNormOp{x, 1e-6, {}, {}, 0}, shape), shift, scale, 0}, shape);
    }
    Buffer headNorm(Buffer x) {
        const Shape shape = program_.buffers[x];
        const Shape heads{shape[0], s_.heads, s_.width / s_.heads};
        const Buffer view = add(PermuteOp{x, heads, {0, 1, 2}, 0}, heads);
        return add(PermuteOp{add(RmsNormOp{view, 1e-6, weights_({heads[2]}), 0}, heads), shape, {0, 1}, 0}, shape);
    }
    Buffer attention(Buffer q, Buffer k, Buffer v) {
        const Shape shape = program_.buffers[q];
        return add(AttentionOp{add(RopeOp{q, cos_, sin_, s_.heads, 0}, shape), add(RopeOp{k, cos_, sin_, s_.heads, 0}, shape), v, s_.heads, {}, 0}, shape);
    }
    Buffer gelu(Buffer x) { return add(UnaryOp{UnaryKind::GeluTanh, x, 0}, program_.buffers[x]); }
    Buffer gated(Buffer x, Buffer gate, Buffer y) { return add(GateAddOp{x, gate, y, 0}, program_.buffers[x]); }

    void doubleBlock(const std::string& at, Buffer& image, Buffer& text) {
        const Modulation mi = modulation(at + "norm1", 6), mt = modulation(at + "norm1_context", 6);
        const Buffer yi = modulated(image, mi[0], mi[1]), yt = modulated(text, mt[0], mt[1]);
        const Shape all{s_.text + s_.image, s_.width};
        const auto both = [&](const char* name, bool norm) {
            const Buffer t = linear(at + "add_" + name, yt, s_.width), i = linear(at + "to_" + name, yi, s_.width);
            return add(ConcatOp{{norm ? headNorm(t) : t, norm ? headNorm(i) : i}, 0, 0}, all);
        };
        const Buffer q = both("q", true), k = both("k", true), v = both("v", false);
        const Buffer attended = attention(q, k, v);
        const auto finish = [&](Buffer x, const Modulation& m, uint64_t from, uint64_t to, const std::string& which) {
            x = gated(x, m[2], linear(at + "out" + which, add(SliceOp{attended, 0, from, to, 0}, {to - from, s_.width}), s_.width));
            return gated(x, m[5], linear(at + "down" + which, gelu(linear(at + "up" + which, modulated(x, m[3], m[4]), 4 * s_.width)), s_.width));
        };
        image = finish(image, mi, s_.text, s_.text + s_.image, "");
        text = finish(text, mt, 0, s_.text, "_context");
    }
    Buffer singleBlock(const std::string& at, Buffer x) {
        const Modulation m = modulation(at + "norm", 3);
        const Buffer y = modulated(x, m[0], m[1]);
        const Buffer attended = attention(headNorm(linear(at + "q", y, s_.width)), headNorm(linear(at + "k", y, s_.width)), linear(at + "v", y, s_.width));
        const Buffer joined = add(ConcatOp{{attended, gelu(linear(at + "mlp", y, 4 * s_.width))}, 1, 0}, {rows(x), 5 * s_.width});
        return gated(x, m[2], linear(at + "out", joined, s_.width));
    }

    FluxSizes s_;
    const RandomWeights& weights_;
    Program program_;
    std::vector<std::string> layers_;
    Buffer cos_ = 0, sin_ = 0, modulation_ = 0;
};

/// Wall time of runs after one that brings the weights. Nothing but a row of the result is copied, so that it is the device's time, and the host's to queue
/// kernels. A line for each way.
inline void forward(const std::shared_ptr<Device>& device, bool emulated,
                    const std::function<void(const std::string&, double, double, const char*, double, const char*)>& line) {
    if (!wanted("forward")) {
        return;
    }
    const FluxSizes sizes = emulated ? FluxSizes{64, 2, 6, 3, 1, 1} : FluxSizes{3072, 24, 4096, 512, 2, 4};
    const RandomWeights weights(6 * sizes.width * sizes.width);
    const FluxProgram flux(sizes, weights);
    const auto graph = std::make_shared<Graph>(flux.program());
    const auto grouped = Quantizer(IntQuantizer{4, true, Granularity::Group, 64});
    const struct {
        const char* name;
        std::optional<LinearRecipe> recipe;
    } ways[] = {{"BF16", {}},
                {"W4A4 groups of 64", LinearRecipe{{}, grouped, grouped}},
                {"W4A4 per row, RPBH", LinearRecipe{{RpbhTransform{1}}, IntQuantizer{4}, IntQuantizer{4}}},
                {"W4A4 codebook, RPBH", LinearRecipe{{RpbhTransform{1}}, CodebookQuantizer{4}, CodebookQuantizer{4}, 0, {}, {}, {}, Execution::Integer}}};
    DeviceGraph onDevice(device, graph, cuda::Element::BF16, kernels());
    ThreadPool pool(0);
    double reference = 0;
    uint64_t referenceBytes = 0;
    for (const auto& [name, recipe] : ways) {
        RunRequest request;
        for (const std::string& layer : flux.layers()) {
            if (recipe) {
                request.recipes[layer] = *recipe;
            }
        }
        double best = 1e30;
        RunResult result;
        for (int turn = 0; turn < (emulated ? 2 : 6); ++turn) {
            const auto begin = std::chrono::steady_clock::now();
            result = onDevice.run(request, pool, Cancellation{}, [](double) {}, kernels());
            best = turn == 0 ? best : std::min(best, std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count());
        }
        reference = reference == 0 ? best : reference;
        referenceBytes = referenceBytes == 0 ? result.device->weightBytes : referenceBytes;
        const double smaller = static_cast<double>(referenceBytes) / static_cast<double>(result.device->weightBytes);
        char text[160];
        std::snprintf(text, sizeof text, "forward, %d + %d blocks, %llu + %llu tokens, %s, weights %llu MiB (1/%.2f)", sizes.doubles, sizes.singles,
                      static_cast<unsigned long long>(sizes.text), static_cast<unsigned long long>(sizes.image), name,
                      static_cast<unsigned long long>(result.device->weightBytes >> 20), smaller);
        line(text, best, result.flops / best / 1e9, "TFLOP/s", reference / best, "own BF16");
    }
}

}  // namespace quantscope::bench
