#include "quantizer/integer.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <string>
#include <vector>

#include "base/error.h"

namespace quantscope {

void validateInteger(const IntQuantizer& quantizer, uint64_t width, const std::string& name) {
    if (quantizer.bits < 1 || quantizer.bits > 8) {
        failArgument(name + ".bits: integers have 1 to 8 bits, got " + std::to_string(quantizer.bits));
    }
    if (quantizer.symmetric && quantizer.bits == 1 && !quantizer.shift) {
        failArgument(name + ".bits: 1-bit symmetric integers have no positive level; use a codebook or asymmetric");
    }
    if (quantizer.granularity == Granularity::Group && (quantizer.group == 0 || width % quantizer.group != 0)) {
        failArgument(name + ".group: the group size must divide the width; width " + std::to_string(width) + ", group size " +
                     std::to_string(quantizer.group));
    }
    if (quantizer.clip && !(*quantizer.clip > 0 && *quantizer.clip <= 1)) {
        failArgument(name + ".clip: a share of the range is above 0 and at most 1, got " + std::to_string(*quantizer.clip));
    }
    if (quantizer.clipSearch && quantizer.granularity == Granularity::Tensor) {
        failArgument(name + ".clip: the search looks at one group at a time, not at a whole tensor; take a share of the range, or rows");
    }
    if (quantizer.staticRange && quantizer.granularity != Granularity::Tensor) {
        failArgument(name + ".range: a static range is one for the whole tensor; take the group \"tensor\"");
    }
    if (quantizer.shift && !(std::fabs(*quantizer.shift) <= 1e6)) {
        failArgument(name + ".shift: at most a million either way, got " + std::to_string(*quantizer.shift));
    }
}

namespace {

IntegerGrid clippedGrid(const IntQuantizer& quantizer, double lowest, double highest, double ratio, int exponent) {
    const auto stored = [&](double scale) {
        return static_cast<float>(std::ldexp(roundTo(quantizer.scale, std::ldexp(scale, exponent)), -exponent));
    };
    const double steps = static_cast<double>((1 << quantizer.bits) - 1);
    lowest *= ratio;
    highest *= ratio;
    if (quantizer.shift) {
        return {stored(std::max(highest, 0.0) / steps), 0.0f, static_cast<float>(steps)};
    }
    if (quantizer.symmetric) {
        const double half = static_cast<double>(1 << (quantizer.bits - 1));
        const float scale = stored(std::max(std::fabs(lowest), std::fabs(highest)) / (half - 1));
        return {scale, static_cast<float>(-half), static_cast<float>(half - 1)};
    }
    lowest = std::min(lowest, 0.0);
    highest = std::max(highest, 0.0);
    const float scale = stored((highest - lowest) / steps);
    const double zero = scale > 0 ? std::clamp(std::nearbyint(-lowest / scale), 0.0, steps) : 0.0;
    return {scale, static_cast<float>(-zero), static_cast<float>(steps - zero)};
}

/// The grid for n values in this range, searched where the quantizer says so.
IntegerGrid fittedGrid(const IntQuantizer& quantizer, const float* values, size_t n, double lowest, double highest, int exponent,
                       const Kernels& kernels) {
    IntegerGrid best = integerGrid(quantizer, lowest, highest, exponent);
    if (!quantizer.clipSearch || !(best.scale > 0)) {
        return best;
    }
    constexpr int kSteps = 100;
    constexpr int kTried = 80;
    double least = kernels.clipError(values, n, best);
    for (int i = 1; i < kTried && least > 0; ++i) {
        const IntegerGrid grid = clippedGrid(quantizer, lowest, highest, 1.0 - static_cast<double>(i) / kSteps, exponent);
        const double error = grid.scale > 0 ? kernels.clipError(values, n, grid) : least;
        if (error < least) {
            least = error;
            best = grid;
        }
    }
    return best;
}

/// Round half to even for |x| < 2^22, in two additions that the compiler can do on vectors.
inline float roundToEven(float x) {
    constexpr float kAnchor = 0x1.8p23f;
    return (x + kAnchor) - kAnchor;
}

class IntegerCoder final : public Coder {
public:
    IntegerCoder(const IntQuantizer& quantizer, uint64_t width, const TensorRange& range, const Kernels& kernels)
        : Coder(layoutOf(quantizer, width)), quantizer_(quantizer), range_(range), kernels_(kernels) {}

    void encode(const float* unscaled, float largest, uint8_t* codes, float* sides) const override {
        if (quantizer_.shift) {
            std::vector<float> shifted(unscaled, unscaled + layout.width);
            for (float& value : shifted) {
                value += static_cast<float>(*quantizer_.shift);
            }
            encodeScaled(shifted.data(), 0, codes, sides);
            return;
        }
        const bool whole = quantizer_.granularity == Granularity::Tensor;
        const int exponent = exponentFor(whole ? static_cast<float>(range_.largest()) : largest);
        const ScaledRow scaled(unscaled, layout.width, exponent, kernels_);
        encodeScaled(scaled.values(), exponent, codes, sides);
    }

    void encodeZeros(uint8_t* codes, float* sides) const override {
        if (quantizer_.shift) {
            const std::vector<float> zeros(layout.width);
            encode(zeros.data(), 0.0f, codes, sides);
        } else {
            Coder::encodeZeros(codes, sides);
        }
    }

    void decode(const uint8_t* codes, const float* sides, float* row) const override {
        const auto shift = static_cast<float>(quantizer_.shift.value_or(0.0));
        const size_t group = layout.group;
        for (size_t start = 0, n = layout.width; start < n; start += group) {
            const float scale = *sides++;
            const float lowest = *sides++;
            for (size_t i = start; i < start + group; ++i) {
                row[i] = (static_cast<float>(codes[i]) + lowest) * scale;
            }
        }
        for (size_t i = 0, n = shift == 0 ? 0 : layout.width; i < n; ++i) {
            row[i] -= shift;
        }
    }

private:
    static CodeLayout layoutOf(const IntQuantizer& quantizer, uint64_t width) {
        const size_t group = groupWidth(quantizer.granularity, quantizer.group, width);
        return {width, group, 2 * (width / std::max<size_t>(group, 1)), quantizer.bits};
    }

    void encodeScaled(const float* row, int exponent, uint8_t* codes, float* sides) const {
        const size_t group = layout.group;
        for (size_t start = 0, n = layout.width; start < n; start += group) {
            const float* values = row + start;
            double lowest;
            double highest;
            if (quantizer_.granularity == Granularity::Tensor) {
                lowest = std::ldexp(range_.lowest + quantizer_.shift.value_or(0.0), -exponent);
                highest = std::ldexp(range_.highest + quantizer_.shift.value_or(0.0), -exponent);
            } else {
                const Range range = kernels_.range(values, group);
                lowest = range.lowest;
                highest = range.highest;
            }
            const IntegerGrid grid = fittedGrid(quantizer_, values, group, lowest, highest, exponent, kernels_);
            if (grid.scale > 0) {
                for (size_t i = 0; i < group; ++i) {
                    const float step = roundToEven(std::min(std::max(values[i] / grid.scale, grid.lowest), grid.highest));
                    codes[start + i] = static_cast<uint8_t>(step - grid.lowest);
                }
            } else {
                std::fill_n(codes + start, group, uint8_t{0});
            }
            *sides++ = std::ldexp(grid.scale, exponent);
            *sides++ = grid.scale > 0 ? grid.lowest : 0.0f;
        }
    }

    IntQuantizer quantizer_;
    TensorRange range_;
    const Kernels& kernels_;
};

}  // namespace

IntegerGrid integerGrid(const IntQuantizer& quantizer, double lowest, double highest, int exponent) {
    return clippedGrid(quantizer, lowest, highest, quantizer.clip.value_or(1.0), exponent);
}

std::shared_ptr<const Coder> makeIntegerCoder(const IntQuantizer& quantizer, uint64_t width, const TensorRange& range, const Kernels& kernels) {
    return std::make_shared<IntegerCoder>(quantizer, width, range, kernels);
}

IntegerRows::IntegerRows(const IntQuantizer& quantizer, uint64_t width, const TensorRange& range)
    : quantizer_(quantizer), group_(groupWidth(quantizer.granularity, quantizer.group, width)), range_(range) {}

double IntegerRows::squaredError(const Row& row, const Kernels& kernels) const {
    double sum = 0;
    for (size_t start = 0; start < row.width; start += group_) {
        const float* values = row.values + start;
        double lowest;
        double highest;
        if (quantizer_.granularity == Granularity::Tensor) {
            lowest = std::ldexp(range_.lowest, -row.exponent);
            highest = std::ldexp(range_.highest, -row.exponent);
        } else if (quantizer_.symmetric) {
            highest = std::bit_cast<float>(kernels.maxMagnitude(values, group_));
            lowest = -highest;
        } else {
            const Range range = kernels.range(values, group_);
            lowest = range.lowest;
            highest = range.highest;
        }
        const IntegerGrid grid = fittedGrid(quantizer_, values, group_, lowest, highest, row.exponent, kernels);
        sum += grid.scale > 0 ? kernels.integerError(values, group_, grid) : kernels.sumSquares(values, group_);
    }
    return sum;
}

}  // namespace quantscope
