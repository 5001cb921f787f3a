// A weight to measure.
#pragma once

#include <unistd.h>

#include <bit>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <numbers>
#include <vector>

#include "base/random.h"
#include "tensor/tensor.h"

namespace quantscope::bench {

/// A file of Gaussian BF16 numbers, removed at the end.
class WeightsFile {
public:
    static constexpr uint64_t kRows = 4096;
    static constexpr uint64_t kColumns = 3072;

    WeightsFile() : path_(std::filesystem::temp_directory_path() / ("quantscope-bench-" + std::to_string(::getpid()))) {
        SplitMix64 random(1);
        std::vector<uint16_t> values(kRows * kColumns);
        for (auto& value : values) {
            const double radius = 0.02 * std::sqrt(-2 * std::log(1 - random.uniform()));
            const auto gaussian = static_cast<float>(radius * std::cos(2 * std::numbers::pi * random.uniform()));
            value = static_cast<uint16_t>(std::bit_cast<uint32_t>(gaussian) >> 16);
        }
        std::ofstream out(path_, std::ios::binary);
        out.write(reinterpret_cast<const char*>(values.data()), static_cast<std::streamsize>(values.size() * sizeof(uint16_t)));
    }
    ~WeightsFile() { std::filesystem::remove(path_); }
    WeightsFile(const WeightsFile&) = delete;
    WeightsFile& operator=(const WeightsFile&) = delete;
    TensorRef tensor() const { return {path_.string(), 0, Dtype::BF16, {kRows, kColumns}}; }

private:
    std::filesystem::path path_;
};

}  // namespace quantscope::bench
