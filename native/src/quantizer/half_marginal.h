// The sphere marginal in standard deviations, its positive half: what codebooks and mid-rise steps are fitted to.
#pragma once

#include <cmath>
#include <cstdint>

#include "stats/sphere.h"

namespace quantscope {

/// x = sqrt(d) t >= 0: levels are of order 1 whatever the width. d >= 2.
struct HalfMarginal {
    explicit HalfMarginal(uint64_t width) : sphere(width), unit(std::sqrt(sphere.dimension())) {}
    SphereMarginal sphere;
    double unit;
    double mass(double a, double b) const { return sphere.tail(a / unit) - sphere.tail(b / unit); }
    double moment(double a, double b) const { return unit * sphere.partialMoment(a / unit, b / unit); }
    double density(double x) const { return sphere.density(x / unit) / unit; }
};

}  // namespace quantscope
