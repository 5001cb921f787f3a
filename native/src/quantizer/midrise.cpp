#include "quantizer/midrise.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/lru_cache.h"
#include "quantizer/half_marginal.h"
#include "rotation/rpbh.h"

namespace quantscope {

namespace {

/// E[(x - q)^2] for E[x^2] = 1: 1 - 2 E[x q] + E[q^2], over cells of one step and an outermost cell without end.
double distortionOf(const HalfMarginal& marginal, int levels, double step) {
    double sum = 1.0;
    for (int i = 0; i < levels; ++i) {
        const double level = (i + 0.5) * step;
        const double from = std::min(i * step, marginal.unit);
        const double to = i + 1 < levels ? std::min((i + 1) * step, marginal.unit) : marginal.unit;
        sum += 2 * (level * level * marginal.mass(from, to) - 2 * level * marginal.moment(from, to));
    }
    return sum;
}

MidRiseStep findStep(uint64_t width, int bits) {
    const int levels = 1 << (bits - 1);
    if (width == 1) {
        return {2.0 / (2 * levels - 1), 0.0};
    }
    const HalfMarginal marginal(width);
    // One minimum: small steps overload, large ones are coarse. Golden section on the logarithm of the step.
    const double shrink = (std::sqrt(5.0) - 1) / 2;
    double low = std::log(1e-3);
    double high = std::log(4.0);
    for (int i = 0; i < 90; ++i) {
        const double a = high - shrink * (high - low);
        const double b = low + shrink * (high - low);
        if (distortionOf(marginal, levels, std::exp(a)) < distortionOf(marginal, levels, std::exp(b))) {
            high = b;
        } else {
            low = a;
        }
    }
    const double step = std::exp(0.5 * (low + high));
    return {step, distortionOf(marginal, levels, step)};
}

class MidRiseCoder final : public Coder {
public:
    MidRiseCoder(const MidRiseQuantizer& quantizer, uint64_t width, const Kernels& kernels)
        : Coder({width, width, 1, quantizer.bits}), norm_(quantizer.norm), step_(midRiseStep(width, quantizer.bits).step), kernels_(kernels) {}

    void encode(const float* unscaled, float largest, uint8_t* codes, float* sides) const override {
        const size_t width = layout.width;
        const int exponent = exponentFor(largest);
        const ScaledRow scaled(unscaled, width, exponent, kernels_);
        const float* const row = scaled.values();
        const double norm = std::sqrt(kernels_.sumSquares(row, width));
        const double root = std::sqrt(static_cast<double>(width));
        sides[0] = static_cast<float>(roundTo(norm_, std::ldexp(norm, exponent)) / root);
        const auto stepsPerUnit = static_cast<float>(root / (norm * step_));
        const auto half = static_cast<float>(1 << (layout.bits - 1));
        for (size_t i = 0; i < width; ++i) {
            const float code = std::min(std::max(row[i] * stepsPerUnit + half, 0.0f), 2 * half - 1);
            codes[i] = static_cast<uint8_t>(code);  // truncates, which is floor from 0 on
        }
    }

    void decode(const uint8_t* codes, const float* sides, float* row) const override {
        const float unit = static_cast<float>(step_) * sides[0];
        const float middle = static_cast<float>(1 << (layout.bits - 1)) - 0.5f;
        for (size_t i = 0, n = layout.width; i < n; ++i) {
            row[i] = (static_cast<float>(codes[i]) - middle) * unit;
        }
    }

private:
    FloatType norm_;
    double step_;
    const Kernels& kernels_;
};

}  // namespace

MidRiseStep midRiseStep(uint64_t width, int bits) {
    if (width < 1 || width > kMaxWidth) {
        failArgument("width: a mid-rise step needs a width from 1 to " + std::to_string(kMaxWidth) + ", got " + std::to_string(width));
    }
    validate(MidRiseQuantizer{bits, FloatType::Fp32}, width);
    static LruCache<std::pair<uint64_t, int>, MidRiseStep> cache(256);
    return *cache.get({width, bits}, 1, [&] { return findStep(width, bits); });
}

std::shared_ptr<const Coder> makeMidRiseCoder(const MidRiseQuantizer& quantizer, uint64_t width, const Kernels& kernels) {
    return std::make_shared<MidRiseCoder>(quantizer, width, kernels);
}

}  // namespace quantscope
