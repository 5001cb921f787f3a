#include "stats/sphere.h"

#include <cmath>

#include "base/special.h"

namespace quantscope {

SphereMarginal::SphereMarginal(uint64_t d)
    : d_(static_cast<double>(d)), b_(0.5 * (d_ - 1.0)), logBeta_(d > 1 ? logBetaHalf(b_) : 0.0) {}

double SphereMarginal::density(double t) const {
    if (std::fabs(t) > 1.0) {
        return 0.0;
    }
    return std::exp((b_ - 1.0) * std::log1p(-t * t) - logBeta_);
}

double SphereMarginal::tail(double t) const {
    if (t <= -1.0) {
        return 1.0;
    }
    if (t >= 1.0) {
        return 0.0;
    }
    if (b_ == 0.0) {
        return 0.5;
    }
    const double half = 0.5 * regularizedBeta(b_, 0.5, (1.0 - t) * (1.0 + t), t * t, logBeta_);
    return t >= 0.0 ? half : 1.0 - half;
}

double SphereMarginal::partialMoment(double a, double b) const {
    // The antiderivative is -(1 - t^2)^B / (2 B Beta). expm1 keeps the difference of the two powers accurate.
    const double logA = b_ * std::log1p(-a * a);
    if (b >= 1.0) {
        return std::exp(logA - logBeta_) / (2.0 * b_);
    }
    return std::exp(logA - logBeta_) * -std::expm1(b_ * std::log1p(-b * b) - logA) / (2.0 * b_);
}

}  // namespace quantscope
