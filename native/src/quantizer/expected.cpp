#include "quantizer/expected.h"

#include <algorithm>
#include <cmath>
#include <tuple>
#include <vector>

#include "base/lru_cache.h"
#include "base/special.h"
#include "quantizer/codebook.h"
#include "quantizer/integer.h"

namespace quantscope {

namespace {

/// Integral of (x - level)^2 over [a, b] under the standard normal, from the values at the ends.
struct Edge {
    double x;
    double density;
    double tail;  ///< P(X > x)
};

Edge edgeAt(double x) { return {x, normalDensity(x), normalTail(x)}; }

double cellError(const Edge& a, const Edge& b, double level) {
    return (1 + level * level) * (a.tail - b.tail) + (a.x - 2 * level) * a.density - (b.x - 2 * level) * b.density;
}

/// Integral over [lo, hi] of the squared distance to the nearest multiple of `step`.
double roundingError(double lo, double hi, double step) {
    double sum = 0;
    Edge left = edgeAt(lo);
    const double last = std::nearbyint(hi / step);
    for (double k = std::nearbyint(lo / step); k <= last; ++k) {
        const Edge right = edgeAt(std::min((k + 0.5) * step, hi));
        sum += cellError(left, right, k * step);
        left = right;
    }
    return sum;
}

double squaredRounding(double x, double step) {
    const double error = x - step * std::nearbyint(x / step);
    return error * error;
}

/// x with P(X > x) = p for the standard normal, by bisection.
double upperQuantile(double p) {
    double lo = -40;
    double hi = 40;
    for (int i = 0; i < 100; ++i) {
        const double middle = 0.5 * (lo + hi);
        (normalTail(middle) > p ? lo : hi) = middle;
    }
    return 0.5 * (lo + hi);
}

/// Where the maximum of `count` tails of probability tail(x) lives: below `first` it lies with probability 1e-12, above `second` too.
std::pair<double, double> maximumRange(double count, double sides) {
    const double low = -std::expm1(std::log(1e-12) / count) / sides;  // (1 - sides tail)^count = 1e-12
    return {upperQuantile(low), upperQuantile(1e-12 / count / sides)};
}

/// Groups of g with the scale max|w| / (2^(b-1) - 1): the largest value is a grid point, the others are Gaussian within it.
double symmetricDistortion(double g, int bits) {
    const double steps = static_cast<double>((1 << (bits - 1)) - 1);
    const auto [low, high] = maximumRange(g, 2.0);
    const Quadrature rule = gaussLegendre(200);
    const double start = std::max(low, 0.0);
    double sum = 0;
    for (size_t i = 0; i < rule.nodes.size(); ++i) {
        const double m = start + 0.5 * (high - start) * (rule.nodes[i] + 1);
        const double outside = 2 * normalTail(m);
        const double density = 2 * g * normalDensity(m) * std::exp((g - 1) * std::log1p(-outside));
        const double error = 2 * roundingError(0, m, m / steps) / (1 - outside);
        sum += rule.weights[i] * density * error;
    }
    return (g - 1) / g * 0.5 * (high - start) * sum;
}

/// The pieces of [lo, hi] on both sides of 0, where the widened range changes its form.
std::vector<std::pair<double, double>> splitAtZero(double lo, double hi) {
    if (lo < 0 && hi > 0) {
        return {{lo, 0}, {0, hi}};
    }
    return {{lo, hi}};
}

/// Groups of g >= 2 with the scale (max - min) / (2^b - 1), 0 inside the range. The grid is the multiples of the scale, and the
/// rounded zero point only decides which of them have codes: always those nearest to any value of the group.
double asymmetricDistortion(double g, int bits) {
    const double steps = static_cast<double>((1 << bits) - 1);
    const auto [low, high] = maximumRange(g, 1.0);
    const Quadrature rule = gaussLegendre(48);
    double sum = 0;
    for (const auto& [minLow, minHigh] : splitAtZero(-high, -low)) {
        for (size_t i = 0; i < rule.nodes.size(); ++i) {
            const double minimum = minLow + 0.5 * (minHigh - minLow) * (rule.nodes[i] + 1);
            const double minWeight = rule.weights[i] * 0.5 * (minHigh - minLow) * normalDensity(minimum);
            const double from = std::max(minimum, low);
            if (from >= high) {
                continue;
            }
            for (const auto& [maxLow, maxHigh] : splitAtZero(from, high)) {
                for (size_t j = 0; j < rule.nodes.size(); ++j) {
                    const double maximum = maxLow + 0.5 * (maxHigh - maxLow) * (rule.nodes[j] + 1);
                    const double maxWeight = rule.weights[j] * 0.5 * (maxHigh - maxLow) * normalDensity(maximum);
                    const double outside = normalTail(-minimum) + normalTail(maximum);
                    const double inside = 1 - outside;
                    if (inside <= 0) {
                        continue;
                    }
                    // Joint density of minimum and maximum: g (g-1) f(min) f(max) inside^(g-2).
                    const double joint = g * (g - 1) * minWeight * maxWeight * std::exp((g - 2) * std::log1p(-outside));
                    if (joint < 1e-18) {
                        continue;
                    }
                    const double step = (std::max(maximum, 0.0) - std::min(minimum, 0.0)) / steps;
                    const double inner = g > 2 ? (g - 2) * roundingError(minimum, maximum, step) / inside : 0.0;
                    sum += joint * (inner + squaredRounding(minimum, step) + squaredRounding(maximum, step));
                }
            }
        }
    }
    return sum / g;
}

double integerDistortion(const IntQuantizer& quantizer, uint64_t group) {
    if (group == 1) {
        return 0.0;  // a lone weight is its own scale
    }
    const double g = static_cast<double>(group);
    return quantizer.symmetric ? symmetricDistortion(g, quantizer.bits) : asymmetricDistortion(g, quantizer.bits);
}

}  // namespace

std::optional<double> expectedDistortion(const Quantizer& quantizer, uint64_t width, uint64_t rows) {
    validate(quantizer, width);
    if (const auto* codebook = std::get_if<CodebookQuantizer>(&quantizer)) {
        return codebookFor(width, codebook->bits)->distortion;
    }
    const auto* integer = std::get_if<IntQuantizer>(&quantizer);
    if (integer == nullptr) {
        return std::nullopt;
    }
    uint64_t group = integer->granularity == Granularity::Group ? integer->group : width;
    if (integer->granularity == Granularity::Tensor) {
        group *= rows;
    }
    if (group == 0) {
        return std::nullopt;
    }
    static LruCache<std::tuple<uint64_t, int, bool>, double> cache(256);
    return *cache.get({group, integer->bits, integer->symmetric}, 1, [&] { return integerDistortion(*integer, group); });
}

}  // namespace quantscope
