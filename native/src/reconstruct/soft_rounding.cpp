#include "reconstruct/soft_rounding.h"

#include <algorithm>
#include <cmath>

namespace quantscope {

namespace {

constexpr float kZeta = 1.1f;
constexpr float kGamma = -0.1f;
constexpr float kEdge = 1e-6f;

struct Gate {
    float h;
    float slope;  ///< dh / dα
};

Gate gateOf(float alpha) {
    const float sigmoid = 1.0f / (1.0f + std::exp(-alpha));
    const float stretched = sigmoid * (kZeta - kGamma) + kGamma;
    // A weight on a level begins at the very edge, and is not stuck there for a rounding error.
    const bool inside = stretched > -kEdge && stretched < 1.0f + kEdge;
    return {std::clamp(stretched, 0.0f, 1.0f), inside ? (kZeta - kGamma) * sigmoid * (1.0f - sigmoid) : 0.0f};
}

}  // namespace

SoftRounding::SoftRounding(const float* weights, uint64_t rows, uint64_t stride, const RowCodec& codec, Workers& workers)
    : rows_(rows), width_(codec.width()), group_(codec.group()), highest_((1 << codec.bits()) - 1), sides_(codec.sides()),
      nearest_{std::vector<uint8_t>(rows * width_), std::vector<float>(rows * sides_)},
      floors_(rows * width_), alphas_(rows * width_), means_(rows * width_), squares_(rows * width_) {
    workers.rows(rows, width_, [&](uint64_t begin, uint64_t end) {
        for (uint64_t row = begin; row < end; ++row) {
            const float* const w = weights + row * stride;
            const float* sides = nearest_.sides.data() + row * sides_;
            codec.encode(w, nearest_.codes.data() + row * width_, nearest_.sides.data() + row * sides_);
            for (uint64_t start = 0; start < width_; start += group_, sides += 2) {
                for (uint64_t j = start; j < start + group_; ++j) {
                    const uint64_t at = row * width_ + j;
                    const float steps = sides[0] > 0 ? w[j] / sides[0] : 0.0f;
                    const float floor = std::floor(steps);
                    floors_[at] = static_cast<int16_t>(std::clamp(floor - sides[1], -1.0f, static_cast<float>(highest_ + 1)));
                    alphas_[at] = -std::log((kZeta - kGamma) / (steps - floor - kGamma) - 1.0f);
                }
            }
        }
    });
}

void SoftRounding::writeSoft(float* target, uint64_t stride, Workers& workers) const {
    workers.rows(rows_, width_, [&](uint64_t begin, uint64_t end) {
        for (uint64_t row = begin; row < end; ++row) {
            const float* sides = nearest_.sides.data() + row * sides_;
            for (uint64_t start = 0; start < width_; start += group_, sides += 2) {
                for (uint64_t j = start; j < start + group_; ++j) {
                    const uint64_t at = row * width_ + j;
                    const float code = std::clamp(static_cast<float>(floors_[at]) + gateOf(alphas_[at]).h, 0.0f, static_cast<float>(highest_));
                    target[row * stride + j] = (code + sides[1]) * sides[0];
                }
            }
        }
    });
}

void SoftRounding::learn(const float* gradient, const Step& step, Workers& workers) {
    const auto number = static_cast<double>(step.number);
    const auto rate = static_cast<float>(step.rate / (1.0 - std::pow(0.9, number)));
    const auto correction = static_cast<float>(1.0 / (1.0 - std::pow(0.999, number)));
    const auto beta = static_cast<float>(step.beta);
    const auto share = static_cast<float>(step.share);
    workers.rows(rows_, width_, [&](uint64_t begin, uint64_t end) {
        for (uint64_t row = begin; row < end; ++row) {
            const float* sides = nearest_.sides.data() + row * sides_;
            for (uint64_t start = 0; start < width_; start += group_, sides += 2) {
                for (uint64_t j = start; j < start + group_; ++j) {
                    const uint64_t at = row * width_ + j;
                    const Gate gate = gateOf(alphas_[at]);
                    const float code = static_cast<float>(floors_[at]) + gate.h;
                    float slope = code >= 0.0f && code <= static_cast<float>(highest_) ? gradient[at] * sides[0] : 0.0f;
                    if (beta > 0) {
                        const float distance = 2.0f * gate.h - 1.0f;
                        slope -= std::copysign(2.0f * share * beta * std::pow(std::fabs(distance), beta - 1.0f), distance);
                    }
                    slope *= gate.slope;
                    means_[at] += 0.1f * (slope - means_[at]);
                    squares_[at] += 0.001f * (slope * slope - squares_[at]);
                    alphas_[at] -= rate * means_[at] / (std::sqrt(squares_[at] * correction) + 1e-8f);
                }
            }
        }
    });
}

Rounding SoftRounding::learned(Workers& workers) const {
    Rounding result = nearest_;
    workers.rows(rows_, width_, [&](uint64_t begin, uint64_t end) {
        for (uint64_t row = begin; row < end; ++row) {
            const float* sides = nearest_.sides.data() + row * sides_;
            for (uint64_t start = 0; start < width_; start += group_, sides += 2) {
                for (uint64_t j = start; j < start + group_ && sides[0] > 0; ++j) {
                    const uint64_t at = row * width_ + j;
                    result.codes[at] = static_cast<uint8_t>(std::clamp(floors_[at] + (alphas_[at] >= 0 ? 1 : 0), 0, highest_));
                }
            }
        }
    });
    return result;
}

}  // namespace quantscope
