// Helpers of the tests: seeded numbers, temporary tensors on disk, and a plain double-precision rotation.
#pragma once

#include <unistd.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <numbers>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "rotation/rpbh.h"
#include "tensor/tensor.h"

namespace quantscope::test {

/// Standard normal numbers by Box and Muller.
class Gaussian {
public:
    explicit Gaussian(uint64_t seed) : random_(seed) {}
    double operator()() {
        const double radius = std::sqrt(-2 * std::log(1 - random_.uniform()));
        return radius * std::cos(2 * std::numbers::pi * random_.uniform());
    }
    std::vector<float> floats(size_t n) {
        std::vector<float> values(n);
        for (auto& value : values) {
            value = static_cast<float>((*this)());
        }
        return values;
    }

private:
    SplitMix64 random_;
};

/// A file that is removed at the end of the test.
class TemporaryFile {
public:
    explicit TemporaryFile(std::span<const std::byte> content) {
        static int counter = 0;
        path_ = std::filesystem::temp_directory_path() /
                ("quantscope-test-" + std::to_string(::getpid()) + "-" + std::to_string(counter++));
        std::ofstream out(path_, std::ios::binary);
        out.write(reinterpret_cast<const char*>(content.data()), static_cast<std::streamsize>(content.size()));
    }
    ~TemporaryFile() {
        std::error_code ignored;
        std::filesystem::remove(path_, ignored);
    }
    TemporaryFile(const TemporaryFile&) = delete;
    TemporaryFile& operator=(const TemporaryFile&) = delete;
    std::string path() const { return path_.string(); }

private:
    std::filesystem::path path_;
};

template <class T>
std::span<const std::byte> bytesOf(const std::vector<T>& values) {
    return std::as_bytes(std::span(values));
}

inline uint16_t toBF16(float value) { return static_cast<uint16_t>(std::bit_cast<uint32_t>(value) >> 16); }  // truncates

inline std::vector<uint16_t> toBF16(const std::vector<float>& values) {
    std::vector<uint16_t> result;
    for (const float value : values) {
        result.push_back(toBF16(value));
    }
    return result;
}

/// Row rotated from the definition: gather, sign, then the Hadamard matrix entry by entry, (-1)^popcount(i & j) / sqrt(h).
inline std::vector<double> rotatePlainly(const Rpbh& rotation, std::span<const double> row) {
    const size_t d = row.size();
    const size_t h = rotation.block();
    std::vector<double> result(d, 0.0);
    for (size_t i = 0; i < d; ++i) {
        const size_t start = i / h * h;
        for (size_t j = start; j < start + h; ++j) {
            const double entry = std::popcount((i - start) & (j - start)) % 2 == 0 ? 1.0 : -1.0;
            result[i] += entry * rotation.sign(j) * row[rotation.source(j)];
        }
        result[i] /= std::sqrt(static_cast<double>(h));
    }
    return result;
}

inline TensorRef tensorIn(const TemporaryFile& file, Dtype dtype, std::vector<uint64_t> shape, uint64_t offset = 0) {
    return {file.path(), offset, dtype, std::move(shape)};
}

/// The body throws an Error with this code, and `part` is in its message.
inline void expectError(ErrorCode code, const std::string& part, const std::function<void()>& body) {
    try {
        body();
        ADD_FAILURE() << "no error; expected: " << part;
    } catch (const Error& error) {
        EXPECT_EQ(error.code(), code) << error.what();
        EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what() << "\nexpected: " << part;
    }
}

}  // namespace quantscope::test
