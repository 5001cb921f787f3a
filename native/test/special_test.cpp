#include "base/special.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "stats/sphere.h"

namespace quantscope {
namespace {

double beta(double a, double x) { return regularizedBeta(a, 0.5, x, 1 - x, logBetaHalf(a)); }

TEST(Special, IncompleteBetaClosedForms) {
    for (double x = 0.0; x <= 1.0; x += 0.01) {
        // I_x(1/2, 1/2) = 2/pi asin(sqrt x), I_x(1, 1/2) = 1 - sqrt(1-x), I_x(2, 1/2) = 1 - sqrt(1-x) (1 + x/2).
        EXPECT_NEAR(beta(0.5, x), 2 / std::numbers::pi * std::asin(std::sqrt(x)), 1e-14);
        EXPECT_NEAR(beta(1.0, x), 1 - std::sqrt(1 - x), 1e-14);
        EXPECT_NEAR(beta(2.0, x), 1 - std::sqrt(1 - x) * (1 + x / 2), 1e-14);
    }
}

TEST(Special, IncompleteBetaSymmetry) {
    // I_x(a, b) + I_{1-x}(b, a) = 1.
    for (const double a : {0.5, 1.5, 31.5, 2000.0}) {
        for (double x = 0.001; x < 1; x += 0.013) {
            const double other = regularizedBeta(0.5, a, 1 - x, x, logBetaHalf(a));
            EXPECT_NEAR(beta(a, x) + other, 1.0, 1e-12) << "a " << a << " x " << x;
        }
    }
}

TEST(Special, LogBetaIsContinuousWhereItsFormulaChanges) {
    // B(a + 1, 1/2) = B(a, 1/2) a / (a + 1/2).
    for (const double a : {30.6, 31.0, 31.5, 31.99, 500.0, 1e6}) {
        EXPECT_NEAR(logBetaHalf(a + 1) - logBetaHalf(a), std::log(a / (a + 0.5)), 1e-13) << a;
    }
    EXPECT_NEAR(logBetaHalf(0.5), std::log(std::numbers::pi), 1e-14);
}

TEST(Special, GaussLegendreIntegratesPolynomials) {
    const Quadrature rule = gaussLegendre(10);
    for (int power = 0; power < 20; ++power) {  // exact up to degree 2n - 1
        double sum = 0;
        for (size_t i = 0; i < rule.nodes.size(); ++i) {
            sum += rule.weights[i] * std::pow(rule.nodes[i], power);
        }
        EXPECT_NEAR(sum, power % 2 == 0 ? 2.0 / (power + 1) : 0.0, 1e-14);
    }
}

TEST(Sphere, SmallDimensions) {
    for (double t = -0.99; t < 1; t += 0.03) {
        EXPECT_NEAR(SphereMarginal(2).cdf(t), 0.5 + std::asin(t) / std::numbers::pi, 1e-14);
        EXPECT_NEAR(SphereMarginal(3).cdf(t), 0.5 * (1 + t), 1e-14);
        EXPECT_NEAR(SphereMarginal(5).cdf(t), 0.5 + 0.75 * (t - t * t * t / 3), 1e-14);
    }
    EXPECT_EQ(SphereMarginal(1).cdf(-1), 0.0);
    EXPECT_EQ(SphereMarginal(1).cdf(0), 0.5);
    EXPECT_EQ(SphereMarginal(1).cdf(1), 1.0);
}

TEST(Sphere, DensityMomentAndDistributionAgree) {
    const Quadrature rule = gaussLegendre(40);
    for (const uint64_t d : {4, 17, 128, 3072}) {
        const SphereMarginal marginal(d);
        const double sigma = 1 / std::sqrt(static_cast<double>(d));
        const double a = 0.3 * sigma;
        const double b = 1.7 * sigma;
        double mass = 0;
        double moment = 0;
        for (size_t i = 0; i < rule.nodes.size(); ++i) {
            const double t = 0.5 * (a + b) + 0.5 * (b - a) * rule.nodes[i];
            mass += 0.5 * (b - a) * rule.weights[i] * marginal.density(t);
            moment += 0.5 * (b - a) * rule.weights[i] * t * marginal.density(t);
        }
        EXPECT_NEAR(marginal.cdf(b) - marginal.cdf(a), mass, 1e-12) << d;
        EXPECT_NEAR(marginal.partialMoment(a, b), moment, 1e-13) << d;
    }
}

TEST(Sphere, ApproachesTheNormalLaw) {
    const uint64_t d = 1 << 20;
    const SphereMarginal marginal(d);
    for (double x = -5; x <= 5; x += 0.25) {
        EXPECT_NEAR(marginal.cdf(x / std::sqrt(static_cast<double>(d))), normalCdf(x), 1e-6);
    }
}

}  // namespace
}  // namespace quantscope
