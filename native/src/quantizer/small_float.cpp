#include "quantizer/small_float.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <string>

#include "base/error.h"

namespace quantscope {

namespace {

/// An element type with a sign, kMantissa bits and exponents from kLeast on; kLargest is where it saturates.
template <int kMantissa, int kLeast, int kBits>
struct Element {
    static constexpr int mantissa = kMantissa;
    static constexpr int bits = kBits;
    float largest;

    /// Magnitude to bit pattern, without the sign. Written on bits, so that the compiler can use vectors.
    uint32_t pattern(float magnitude) const {
        constexpr int kDropped = 23 - kMantissa;
        const float clamped = std::min(magnitude, largest);
        const uint32_t in = std::bit_cast<uint32_t>(clamped);
        const uint32_t bias = ((in >> kDropped) & 1) + ((1u << (kDropped - 1)) - 1);
        const uint32_t normal = ((in + bias) >> kDropped) - (static_cast<uint32_t>(127 + kLeast - 1) << kMantissa);
        // Below the smallest normal number the step is fixed; an anchor whose last bit is that step makes the addition round.
        constexpr float kAnchor = static_cast<float>(uint64_t{1} << 23) * power(kLeast - kMantissa);
        const uint32_t subnormal = std::bit_cast<uint32_t>(clamped + kAnchor) - std::bit_cast<uint32_t>(kAnchor);
        return clamped < power(kLeast) ? subnormal : normal;
    }

    static float value(uint32_t pattern) {
        const auto fraction = static_cast<float>(pattern & ((1u << kMantissa) - 1));
        const int exponent = static_cast<int>(pattern >> kMantissa);
        const float scale = std::ldexp(1.0f, std::max(exponent, 1) + kLeast - 1 - kMantissa);
        return (fraction + (exponent > 0 ? static_cast<float>(1u << kMantissa) : 0.0f)) * scale;
    }

    static constexpr float power(int exponent) { return std::bit_cast<float>(static_cast<uint32_t>(127 + exponent) << 23); }
};

using E2M1 = Element<1, 0, 4>;
using E4M3 = Element<3, -6, 8>;

bool isFp8(FloatFormat format) { return format == FloatFormat::Fp8 || format == FloatFormat::Mxfp8; }
float largestElement(FloatFormat format) { return isFp8(format) ? 448.0f : 6.0f; }
bool isMx(FloatFormat format) { return format == FloatFormat::Mxfp4 || format == FloatFormat::Mxfp8; }

template <class Type>
class FloatCoder final : public Coder {
public:
    FloatCoder(const FloatQuantizer& quantizer, uint64_t width, const TensorRange& range, const Kernels& kernels)
        : Coder(layoutOf(quantizer, width)), format_(quantizer.format), whole_(quantizer.granularity == Granularity::Tensor), range_(range),
          tensorScale_(quantizer.format == FloatFormat::Nvfp4 ? nvfp4TensorScale(range.largest()) : 1.0f), kernels_(kernels) {
        constexpr uint32_t kSign = 1u << (Type::bits - 1);
        for (uint32_t code = 0; code < 2 * kSign; ++code) {
            const float magnitude = Type::value(code & (kSign - 1));
            const bool valid = magnitude <= largestElement(format_);
            values_.push_back(!valid ? std::numeric_limits<float>::quiet_NaN() : code < kSign ? magnitude : -magnitude);
        }
    }

    void encode(const float* row, float, uint8_t* codes, float* sides) const override {
        constexpr uint32_t kSignShift = 32 - Type::bits;
        const Type element{largestElement(format_)};
        const size_t group = layout.group;
        for (size_t start = 0, n = layout.width; start < n; start += group) {
            const float scale = scaleOf(row + start);
            *sides++ = scale;
            // A scale below float's normal numbers has no reciprocal; a division has no such hole.
            for (size_t i = start; scale > 0 && i < start + group; ++i) {
                const uint32_t bits = std::bit_cast<uint32_t>(row[i] / scale);
                const uint32_t sign = (bits >> 31) << 31 >> kSignShift;
                codes[i] = static_cast<uint8_t>(element.pattern(std::bit_cast<float>(bits & 0x7FFFFFFF)) | sign);
            }
            if (!(scale > 0)) {
                std::fill_n(codes + start, group, uint8_t{0});
            }
        }
    }

    void decode(const uint8_t* codes, const float* sides, float* row) const override {
        const float* const values = values_.data();
        const size_t group = layout.group;
        for (size_t start = 0, n = layout.width; start < n; start += group) {
            const float scale = *sides++;
            for (size_t i = start; i < start + group; ++i) {
                row[i] = values[codes[i]] * scale;
            }
        }
    }

private:
    static CodeLayout layoutOf(const FloatQuantizer& quantizer, uint64_t width) {
        const size_t group = groupWidth(quantizer.granularity, quantizer.group, width);
        return {width, group, width / std::max<size_t>(group, 1), Type::bits};
    }

    float scaleOf(const float* values) const {
        const double largest = whole_ ? range_.largest() : std::bit_cast<float>(kernels_.maxMagnitude(values, layout.group));
        if (isMx(format_)) {
            const int top = isFp8(format_) ? 8 : 2;  // exponent of the largest element
            return largest > 0 ? std::ldexp(1.0f, std::clamp(std::ilogb(largest) - top, -127, 127)) : 0.0f;
        }
        const double ideal = largest / largestElement(format_);
        if (format_ != FloatFormat::Nvfp4) {
            return static_cast<float>(roundTo(FloatType::Fp16, ideal));
        }
        return tensorScale_ > 0 ? static_cast<float>(detail::roundToFormat(ideal / tensorScale_, 3, -6, 448.0)) * tensorScale_ : 0.0f;
    }

    FloatFormat format_;
    bool whole_;
    TensorRange range_;
    float tensorScale_;
    const Kernels& kernels_;
    std::vector<float> values_;
};

}  // namespace

void validateFloat(const FloatQuantizer& quantizer, uint64_t width, const std::string& name) {
    const uint64_t own = quantizer.format == FloatFormat::Nvfp4 ? 16 : isMx(quantizer.format) ? 32 : 0;
    if (own != 0 && (quantizer.granularity != Granularity::Group || quantizer.group != own)) {
        failArgument(name + ".group: this format has groups of " + std::to_string(own) + "; fp4 and fp8 take any group");
    }
    if (quantizer.granularity == Granularity::Group && (quantizer.group == 0 || width % quantizer.group != 0)) {
        failArgument(name + ".group: the group size must divide the width; width " + std::to_string(width) + ", group size " +
                     std::to_string(quantizer.group));
    }
}

int elementBits(FloatFormat format) { return isFp8(format) ? 8 : 4; }

std::vector<float> elementValues(FloatFormat format) {
    std::vector<float> values;
    for (uint32_t pattern = 0;; ++pattern) {
        const float value = isFp8(format) ? E4M3::value(pattern) : E2M1::value(pattern);
        if (value > largestElement(format)) {
            return values;
        }
        values.push_back(value);
    }
}

float nvfp4TensorScale(double largest) { return static_cast<float>(largest / (6.0 * 448.0)); }

std::shared_ptr<const Coder> makeFloatCoder(const FloatQuantizer& quantizer, uint64_t width, const TensorRange& range, const Kernels& kernels) {
    if (isFp8(quantizer.format)) {
        return std::make_shared<FloatCoder<E4M3>>(quantizer, width, range, kernels);
    }
    return std::make_shared<FloatCoder<E2M1>>(quantizer, width, range, kernels);
}

}  // namespace quantscope
