// Plain loops: the definition of every kernel, and the fallback for any processor.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <numbers>

#include "cpu/kernels.h"
#include "tensor/decode.h"

namespace quantscope {

namespace {

template <class T, class Convert>
void decodeEach(const std::byte* source, float* target, size_t n, Convert convert) {
    for (size_t i = 0; i < n; ++i) {
        T value;
        std::memcpy(&value, source + i * sizeof(T), sizeof(T));
        target[i] = convert(value);
    }
}

void decode(Dtype dtype, const std::byte* source, float* target, size_t n) {
    const auto cast = [](auto v) { return static_cast<float>(v); };
    switch (dtype) {
        case Dtype::F32: return decodeEach<float>(source, target, n, cast);
        case Dtype::F64: return decodeEach<double>(source, target, n, cast);
        case Dtype::I8: return decodeEach<int8_t>(source, target, n, cast);
        case Dtype::U8: return decodeEach<uint8_t>(source, target, n, cast);
        case Dtype::F16: return decodeEach<uint16_t>(source, target, n, decodeF16);
        case Dtype::BF16: return decodeEach<uint16_t>(source, target, n, decodeBF16);
        case Dtype::F8E4M3: return decodeEach<uint8_t>(source, target, n, decodeE4M3);
        case Dtype::F8E5M2: return decodeEach<uint8_t>(source, target, n, decodeE5M2);
        default: return;
    }
}

uint32_t maxMagnitude(const float* x, size_t n) {
    uint32_t largest = 0;
    for (size_t i = 0; i < n; ++i) {
        largest = std::max(largest, std::bit_cast<uint32_t>(x[i]) & 0x7FFFFFFF);
    }
    return largest;
}

Range range(const float* x, size_t n) {
    Range result{x[0], x[0]};
    for (size_t i = 1; i < n; ++i) {
        result.lowest = std::min(result.lowest, x[i]);
        result.highest = std::max(result.highest, x[i]);
    }
    return result;
}

double sumSquares(const float* x, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; ++i) {
        sum += static_cast<double>(x[i]) * x[i];
    }
    return sum;
}

void multiply(float* x, size_t n, float factor) {
    for (size_t i = 0; i < n; ++i) {
        x[i] *= factor;
    }
}

PowerSums binAndSum(const float* x, size_t n, float scale, const BinGrid& grid, uint32_t* counts) {
    PowerSums sums;
    for (size_t i = 0; i < n; ++i) {
        const float u = x[i] * scale;
        const double square = static_cast<double>(u) * u;
        sums.s1 += u;
        sums.s2 += square;
        sums.s3 += square * u;
        sums.s4 += square * square;
        sums.maxAbs = std::max(sums.maxAbs, std::fabs(u));
        const float position = std::clamp(u * grid.perUnit + grid.shift, 0.0f, static_cast<float>(grid.last));
        ++counts[static_cast<uint32_t>(position)];
    }
    return sums;
}

void gatherSigned(const float* x, const uint32_t* sources, size_t n, float* target) {
    for (size_t i = 0; i < n; ++i) {
        const float value = x[sources[i] & 0x7FFFFFFF];
        target[i] = (sources[i] & 0x80000000) != 0 ? -value : value;
    }
}

void hadamard(float* x, size_t n, size_t block, float factor) {
    multiply(x, n, factor);
    for (size_t stride = 1; stride < block; stride *= 2) {
        for (size_t i = 0; i < n; i += 2 * stride) {
            for (size_t j = i; j < i + stride; ++j) {
                const float a = x[j];
                const float b = x[j + stride];
                x[j] = a + b;
                x[j + stride] = a - b;
            }
        }
    }
}

double codebookError(const float* x, size_t n, float scale, float ratio, const LevelTable& table) {
    double sum = 0;
    for (size_t i = 0; i < n; ++i) {
        const float magnitude = std::fabs(x[i]) * scale;
        const auto end = table.thresholds.begin() + (table.size - 1);
        const auto index = std::upper_bound(table.thresholds.begin(), end, magnitude) - table.thresholds.begin();
        const double error = static_cast<double>(magnitude) - static_cast<double>(ratio) * table.levels[static_cast<size_t>(index)];
        sum += error * error;
    }
    return sum;
}

double integerError(const float* x, size_t n, const IntegerGrid& grid) {
    double sum = 0;
    for (size_t i = 0; i < n; ++i) {
        const float q = std::clamp(std::nearbyint(x[i] / grid.scale), grid.lowest, grid.highest);
        const double error = static_cast<double>(x[i]) - static_cast<double>(q) * grid.scale;
        sum += error * error;
    }
    return sum;
}

double clipError(const float* x, size_t n, const IntegerGrid& grid) {
    double sum = 0;
    for (size_t i = 0; i < n; ++i) {
        const float q = std::clamp(std::nearbyint(x[i] / grid.scale), grid.lowest, grid.highest);
        sum += std::pow(std::fabs(static_cast<double>(x[i]) - static_cast<double>(q) * grid.scale), 2.4);
    }
    return sum;
}

double castError(const float* x, size_t n, FloatType type) {
    double sum = 0;
    for (size_t i = 0; i < n; ++i) {
        const double error = x[i] - roundTo(type, x[i]);
        sum += error * error;
    }
    return sum;
}

void silu(const float* x, float* y, size_t n) {
    for (size_t i = 0; i < n; ++i) {
        y[i] = static_cast<float>(x[i] / (1.0 + std::exp(-static_cast<double>(x[i]))));
    }
}

void geluTanh(const float* x, float* y, size_t n) {
    for (size_t i = 0; i < n; ++i) {
        const double v = x[i];
        const double u = std::sqrt(2 / std::numbers::pi) * (v + 0.044715 * v * v * v);
        y[i] = static_cast<float>(v / (1.0 + std::exp(-2 * u)));  // (1 + tanh u) / 2
    }
}

void tanh(const float* x, float* y, size_t n) {
    for (size_t i = 0; i < n; ++i) {
        y[i] = std::tanh(x[i]);
    }
}

double expSum(float* x, size_t n, float shift) {
    double sum = 0;
    for (size_t i = 0; i < n; ++i) {
        x[i] = std::exp(x[i] - shift);
        sum += x[i];
    }
    return sum;
}

void addProducts(const float* x, size_t xStride, size_t rows, const float* panel, size_t width, float* y, size_t yStride) {
    for (size_t i = 0; i < rows; ++i) {
        for (size_t k = 0; k < width; ++k) {
            for (size_t j = 0; j < kProductColumns; ++j) {
                y[i * yStride + j] += x[i * xStride + k] * panel[k * kProductColumns + j];
            }
        }
    }
}

}  // namespace

const Kernels& scalarKernels() {
    static const Kernels table{"scalar",     decode,       maxMagnitude, range,         sumSquares,   multiply,
                               binAndSum,    gatherSigned, hadamard,     codebookError, integerError, clipError, castError,
                               silu,         geluTanh,     tanh,         expSum,        addProducts};
    return table;
}

}  // namespace quantscope
