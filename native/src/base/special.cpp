#include "base/special.h"

#include <cmath>
#include <numbers>

namespace quantscope {

namespace {

/// ln(Gamma(a + 1/2) / Gamma(a)).
double logGammaHalfStep(double a) {
    if (a < 32.0) {
        return std::lgamma(a + 0.5) - std::lgamma(a);
    }
    // Asymptotic series, DLMF 5.11.8 for the difference; the first dropped term is below 1e-15 from a = 32 on.
    const double r = 1.0 / a;
    const double r2 = r * r;
    return 0.5 * std::log(a) + r * (-1.0 / 8 + r2 * (1.0 / 192 + r2 * (-1.0 / 640 + r2 * (17.0 / 14336 - r2 * (31.0 / 18432)))));
}

/// Continued fraction of the incomplete beta function (DLMF 8.17.22) by the modified Lentz method; converges fast for
/// x < (a + 1) / (a + b + 2).
double betaFraction(double a, double b, double x) {
    constexpr double kTiny = 1e-300;
    constexpr int kMaxTerms = 200000;
    const auto guard = [](double v) { return std::fabs(v) < kTiny ? kTiny : v; };
    double c = 1.0;
    double d = 1.0 / guard(1.0 - (a + b) * x / (a + 1.0));
    double fraction = d;
    for (int m = 1; m <= kMaxTerms; ++m) {
        const double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        d = 1.0 / guard(1.0 + even * d);
        c = guard(1.0 + even / c);
        fraction *= c * d;
        const double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        d = 1.0 / guard(1.0 + odd * d);
        c = guard(1.0 + odd / c);
        const double step = c * d;
        fraction *= step;
        if (std::fabs(step - 1.0) < 1e-15) {
            break;
        }
    }
    return fraction;
}

/// ln x for x = 1 - y, from whichever of the two is known better.
double logOf(double x, double y) { return x < 0.5 ? std::log(x) : std::log1p(-y); }

}  // namespace

double logBetaHalf(double a) { return 0.5 * std::log(std::numbers::pi) - logGammaHalfStep(a); }

double regularizedBeta(double a, double b, double x, double y, double logBeta) {
    if (x <= 0.0) {
        return 0.0;
    }
    if (y <= 0.0) {
        return 1.0;
    }
    const double power = std::exp(a * logOf(x, y) + b * logOf(y, x) - logBeta);
    if (x < (a + 1.0) / (a + b + 2.0)) {
        return power * betaFraction(a, b, x) / a;
    }
    return 1.0 - power * betaFraction(b, a, y) / b;
}

double normalDensity(double x) { return std::exp(-0.5 * x * x) / std::sqrt(2.0 * std::numbers::pi); }
double normalCdf(double x) { return 0.5 * std::erfc(-x / std::numbers::sqrt2); }
double normalTail(double x) { return 0.5 * std::erfc(x / std::numbers::sqrt2); }

Quadrature gaussLegendre(int n) {
    Quadrature rule{std::vector<double>(n), std::vector<double>(n)};
    for (int i = 0; i < n; ++i) {
        double x = std::cos(std::numbers::pi * (i + 0.75) / (n + 0.5));
        double slope = 1.0;
        for (int step = 0; step < 100; ++step) {  // Newton on the Legendre polynomial; a handful of steps suffice
            double current = 1.0;
            double previous = 0.0;
            for (int k = 1; k <= n; ++k) {
                const double next = ((2 * k - 1) * x * current - (k - 1) * previous) / k;
                previous = current;
                current = next;
            }
            slope = n * (x * current - previous) / (x * x - 1.0);
            const double delta = current / slope;
            x -= delta;
            if (std::fabs(delta) < 1e-15) {
                break;
            }
        }
        rule.nodes[i] = x;
        rule.weights[i] = 2.0 / ((1.0 - x * x) * slope * slope);
    }
    return rule;
}

}  // namespace quantscope
