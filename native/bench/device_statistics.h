// What captures and diagnostics ask of rows in bfloat16: marginals against copy bandwidth, second moments against products of the same run.
#pragma once

#include <bit>
#include <string>

#include "base/random.h"
#include "device/marginals.h"
#include "device/moments.h"
#include "device_linears.h"
#include "quantizer/codebook.h"

namespace quantscope::bench {

/// Both marginals of a weight and its codebook error. One reading of x is all the traffic there has to be.
inline void weightDiagnostics(const std::shared_ptr<Device>& device, uint64_t bytes, double copyRate, const Best& best, const Line& line) {
    for (const uint64_t width : {1152, 3072, 12288, 15360}) {
        const std::string name = "weight diagnostics, width " + std::to_string(width);
        if (!wanted(name)) {
            continue;
        }
        DeviceMarginals marginals(device, MarginalGrid(96), *rotationFor(width, 1), width);
        marginals.setCodebook(codebookFor(width, 4)->table, FloatType::Bf16, true);
        const uint64_t rows = std::clamp<uint64_t>(bytes / (2 * width), 1, marginals.mostRows());
        SplitMix64 random(width);
        std::vector<uint16_t> values(rows * width);
        for (uint16_t& value : values) {  // spread over many cells, as weights are
            const double u = random.uniform() + random.uniform() + random.uniform() - 1.5;
            value = static_cast<uint16_t>(std::bit_cast<uint32_t>(static_cast<float>(u)) >> 16);
        }
        const DeviceArray<uint16_t> x = device->upload(values);
        const double ms = best([&] { marginals.queue({x.data(), cuda::Element::BF16, rows, width}); });
        const double rate = 2.0 * static_cast<double>(rows * width) / ms / 1e6;
        line(name, ms, rate, "GB/s", rate / copyRate, "copy");
    }
}

/// Inputs of FLUX.1's linears. Both triangles are one, so that a row of n values is n² operations.
inline void secondMoments(const std::shared_ptr<Device>& device, bool emulated, const Bf16Rate& products, const Best& best, const Line& line) {
    for (const uint64_t width : emulated ? std::vector<uint64_t>{72} : std::vector<uint64_t>{3072, 12288, 15360}) {
        const uint64_t rows = emulated ? 5 : 4608;
        const std::string name = "second moments, " + std::to_string(rows) + " x " + std::to_string(width);
        if (!wanted(name)) {
            continue;
        }
        DeviceMoments moments(device, width);
        const auto x = randomBytes(*device, rows * width * 2, width, true);
        const double ms = best([&] { moments.add({x.data(), cuda::Element::BF16, rows, width}); });
        const double rate = static_cast<double>(rows) * static_cast<double>(width) * static_cast<double>(width) / ms / 1e9;
        line(name, ms, rate, "TFLOP/s", products.perSecond > 0 ? rate / products.perSecond : 0, products.name);
    }
}

}  // namespace quantscope::bench
