#include "quantizer/integer.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <string>

#include "base/error.h"

namespace quantscope {

void validateInteger(const IntQuantizer& quantizer, uint64_t width, const std::string& name) {
    if (quantizer.bits < 1 || quantizer.bits > 8) {
        failArgument(name + ".bits: integers have 1 to 8 bits, got " + std::to_string(quantizer.bits));
    }
    if (quantizer.symmetric && quantizer.bits == 1) {
        failArgument(name + ".bits: 1-bit symmetric integers have no positive level; use a codebook or asymmetric");
    }
    if (quantizer.granularity == Granularity::Group && (quantizer.group == 0 || width % quantizer.group != 0)) {
        failArgument(name + ".group: the group size must divide the width; width " + std::to_string(width) + ", group size " +
                     std::to_string(quantizer.group));
    }
}

IntegerGrid integerGrid(const IntQuantizer& quantizer, double lowest, double highest, int exponent) {
    const auto stored = [&](double scale) {
        return static_cast<float>(std::ldexp(roundTo(quantizer.scale, std::ldexp(scale, exponent)), -exponent));
    };
    const double steps = static_cast<double>((1 << quantizer.bits) - 1);
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

IntegerRows::IntegerRows(const IntQuantizer& quantizer, uint64_t width, const TensorRange& range)
    : quantizer_(quantizer), group_(quantizer.granularity == Granularity::Group ? quantizer.group : width), range_(range) {}

double IntegerRows::squaredError(const Row& row, const Kernels& kernels) const {
    double sum = 0;
    for (size_t start = 0; start < row.width; start += group_) {
        const float* values = row.values + start;
        double lowest = range_.lowest;
        double highest = range_.highest;
        if (quantizer_.granularity != Granularity::Tensor) {
            if (quantizer_.symmetric) {
                highest = std::bit_cast<float>(kernels.maxMagnitude(values, group_));
                lowest = -highest;
            } else {
                const Range range = kernels.range(values, group_);
                lowest = range.lowest;
                highest = range.highest;
            }
        }
        const IntegerGrid grid = integerGrid(quantizer_, lowest, highest, row.exponent);
        sum += grid.scale > 0 ? kernels.integerError(values, group_, grid) : kernels.sumSquares(values, group_);
    }
    return sum;
}

}  // namespace quantscope
