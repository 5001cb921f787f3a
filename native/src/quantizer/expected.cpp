#include "quantizer/expected.h"

#include <algorithm>
#include <cmath>
#include <tuple>
#include <utility>
#include <vector>

#include "base/lru_cache.h"
#include "base/special.h"
#include "quantizer/codebook.h"
#include "quantizer/integer.h"
#include "quantizer/midrise.h"
#include "quantizer/small_float.h"

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

/// Pieces of [lo, hi]: at least `least`, cut where x steps lies halfway between integers, because the rounding error jumps there.
std::vector<double> breakpoints(double lo, double hi, int least, double steps) {
    std::vector<double> points;
    for (int i = 0; i <= least; ++i) {
        points.push_back(lo + (hi - lo) * i / least);
    }
    for (double k = std::ceil(lo * steps - 0.5) + 0.5; k < hi * steps; ++k) {
        points.push_back(k / steps);
    }
    std::sort(points.begin(), points.end());
    return points;
}

/// Integral of body(x, weight) over the pieces, by a short rule on each.
template <class Body>
void integrate(const std::vector<double>& points, const Quadrature& rule, Body body) {
    for (size_t piece = 0; piece + 1 < points.size(); ++piece) {
        const double half = 0.5 * (points[piece + 1] - points[piece]);
        for (size_t i = 0; i < rule.nodes.size(); ++i) {
            body(points[piece] + half * (rule.nodes[i] + 1), half * rule.weights[i]);
        }
    }
}

/// Groups of g >= 2 with the scale (max - min) / (2^b - 1), 0 inside the range. The grid is the multiples of the scale, and the
/// rounded zero point only decides which of them have codes: always those nearest to any value of the group. So the inner values
/// see plain rounding, and the extremes miss the grid by a phase that depends on the ratio of minimum and maximum alone. That ratio
/// is one variable of integration, the range (or the maximum, when all signs are equal) the other.
class AsymmetricDistortion {
public:
    AsymmetricDistortion(double g, int bits) : g_(g), steps_(static_cast<double>((1 << bits) - 1)) {
        const auto [low, high] = maximumRange(g, 1.0);
        low_ = std::max(low, 0.0);
        high_ = high;
        sameSigns_ = low < 0;  // otherwise a group of equal signs is a matter of 1e-12
    }

    double value() const {
        // Minimum -x R and maximum (1 - x) R, scale R / steps; the Jacobian is R. Both extremes miss the grid equally.
        const double from = low_ / (low_ + high_);
        const double to = high_ / (low_ + high_);
        double sum = both(from, to, [this](double x, double weight, bool inner) {
            const double most = high_ / std::max(x, 1 - x);
            return weight * overSize(low_ / std::min(x, 1 - x), most, [&](double range) {
                return term(-x * range, (1 - x) * range, range / steps_, inner, 2 * phase(x)) * range;
            });
        });
        if (sameSigns_) {
            // All positive, or by symmetry all negative: minimum x M and maximum M, scale M / steps; only the minimum misses the grid.
            sum += 2 * both(0, 1, [this](double x, double weight, bool inner) {
                return weight * overSize(0, high_, [&](double largest) {
                    return term(x * largest, largest, largest / steps_, inner, phase(x)) * largest;
                });
            });
        }
        return sum / g_;
    }

private:
    /// Squared distance of x steps to the nearest integer.
    double phase(double x) const { return std::pow(x * steps_ - std::nearbyint(x * steps_), 2); }

    /// The smooth part (inner values) on few points, the jumping part (extremes) on pieces between the jumps.
    template <class Body>
    double both(double from, double to, Body body) const {
        const Quadrature rule = gaussLegendre(4);
        double sum = 0;
        if (g_ > 2) {
            integrate(breakpoints(from, to, 12, 0), rule, [&](double x, double weight) { sum += body(x, weight, true); });
        }
        integrate(breakpoints(from, to, 12, steps_), rule, [&](double x, double weight) { sum += body(x, weight, false); });
        return sum;
    }

    template <class Body>
    double overSize(double from, double to, Body body) const {
        double sum = 0;
        if (from < to) {
            integrate({from, to}, sizes_, [&](double size, double weight) { sum += weight * body(size); });
        }
        return sum;
    }

    /// Joint density of minimum and maximum, g (g-1) f(min) f(max) inside^(g-2), times the squared errors it stands for.
    double term(double minimum, double maximum, double step, bool inner, double phases) const {
        const double outside = normalTail(-minimum) + normalTail(maximum);
        const double inside = 1 - outside;
        if (inside <= 0) {
            return 0;
        }
        const double joint = g_ * (g_ - 1) * normalDensity(minimum) * normalDensity(maximum) * std::exp((g_ - 2) * std::log1p(-outside));
        if (joint < 1e-14) {
            return 0;
        }
        return joint * (inner ? (g_ - 2) * roundingError(minimum, maximum, step) / inside : phases * step * step);
    }

    double g_;
    double steps_;
    double low_;
    double high_;
    bool sameSigns_;
    Quadrature sizes_ = gaussLegendre(40);
};

/// Groups of g with the scale max|w| / (largest element): the largest value is an element, the others are Gaussian within it.
double floatDistortion(double g, const std::vector<float>& elements) {
    const auto [low, high] = maximumRange(g, 2.0);
    const Quadrature rule = gaussLegendre(200);
    const double start = std::max(low, 0.0);
    double sum = 0;
    for (size_t i = 0; i < rule.nodes.size(); ++i) {
        const double m = start + 0.5 * (high - start) * (rule.nodes[i] + 1);
        const double scale = m / elements.back();
        const double outside = 2 * normalTail(m);
        const double density = 2 * g * normalDensity(m) * std::exp((g - 1) * std::log1p(-outside));
        double error = 0;
        Edge left = edgeAt(0);
        for (size_t k = 0; k < elements.size(); ++k) {
            const Edge right = edgeAt(k + 1 < elements.size() ? 0.5 * scale * (static_cast<double>(elements[k]) + elements[k + 1]) : m);
            error += 2 * cellError(left, right, scale * elements[k]);
            left = right;
        }
        sum += rule.weights[i] * density * error / (1 - outside);
    }
    return (g - 1) / g * 0.5 * (high - start) * sum;
}

double integerDistortion(const IntQuantizer& quantizer, uint64_t group) {
    if (group == 1) {
        return 0.0;  // a lone weight is its own scale
    }
    const double g = static_cast<double>(group);
    return quantizer.symmetric ? symmetricDistortion(g, quantizer.bits) : AsymmetricDistortion(g, quantizer.bits).value();
}

}  // namespace

std::optional<double> expectedDistortion(const Quantizer& quantizer, uint64_t width, uint64_t rows) {
    validate(quantizer, width);
    if (const auto* codebook = std::get_if<CodebookQuantizer>(&quantizer)) {
        return codebookFor(width, codebook->bits)->distortion;
    }
    if (const auto* midRise = std::get_if<MidRiseQuantizer>(&quantizer)) {
        return midRiseStep(width, midRise->bits).distortion;
    }
    const auto groupOf = [&](const auto& q) { return q.granularity == Granularity::Group ? q.group : q.granularity == Granularity::Row ? width : width * rows; };
    if (const auto* small = std::get_if<FloatQuantizer>(&quantizer)) {
        const uint64_t group = groupOf(*small);
        if ((small->format != FloatFormat::Fp4 && small->format != FloatFormat::Fp8) || group == 0) {
            return std::nullopt;
        }
        static LruCache<std::pair<uint64_t, FloatFormat>, double> cache(256);
        return *cache.get({group, small->format}, 1,
                          [&] { return group == 1 ? 0.0 : floatDistortion(static_cast<double>(group), elementValues(small->format)); });
    }
    const auto* integer = std::get_if<IntQuantizer>(&quantizer);
    if (integer == nullptr || integer->clip || integer->clipSearch || integer->shift) {
        return std::nullopt;
    }
    const uint64_t group = groupOf(*integer);
    if (group == 0) {
        return std::nullopt;
    }
    static LruCache<std::tuple<uint64_t, int, bool>, double> cache(256);
    return *cache.get({group, integer->bits, integer->symmetric}, 1, [&] { return integerDistortion(*integer, group); });
}

}  // namespace quantscope
