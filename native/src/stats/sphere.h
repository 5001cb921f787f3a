// The fixed marginal of OrbitQuant (arXiv 2607.02461, Eq 2): one coordinate t of a vector uniform on the unit sphere in R^d.
// Density f(t) = (1 - t^2)^((d-3)/2) / B((d-1)/2, 1/2) on [-1, 1], mean 0, variance 1/d; t^2 is Beta(1/2, (d-1)/2).
// d = 1 puts half its mass on each of -1 and 1, d = 2 is the arcsine law, d = 3 is uniform; large d approach N(0, 1/d).
#pragma once

#include <cstdint>

namespace quantscope {

class SphereMarginal {
public:
    /// d >= 1.
    explicit SphereMarginal(uint64_t d);

    double dimension() const { return d_; }
    double density(double t) const;  ///< d >= 2
    double tail(double t) const;     ///< P(T > t), accurate in relative terms for t > 0
    double cdf(double t) const { return tail(-t); }
    /// Integral of t f(t) over [a, b], 0 <= a <= b <= 1, d >= 2.
    double partialMoment(double a, double b) const;

private:
    double d_;
    double b_;        ///< (d - 1) / 2
    double logBeta_;  ///< ln B(b, 1/2)
};

}  // namespace quantscope
