// Special functions in double precision.
#pragma once

#include <vector>

namespace quantscope {

/// ln B(a, b) for a > 0 and b = 1/2. Stays accurate for large a, where a difference of log-gammas would cancel.
double logBetaHalf(double a);

/// Regularised incomplete beta function I_x(a, b), a, b > 0. The complement y = 1 - x is passed too, because the caller often
/// knows it more accurately than 1 - x would give. logBeta is ln B(a, b). Relative error about 1e-13.
double regularizedBeta(double a, double b, double x, double y, double logBeta);

/// Standard normal density, distribution and upper tail.
double normalDensity(double x);
double normalCdf(double x);
double normalTail(double x);

/// Nodes and weights of n-point Gauss-Legendre quadrature on [-1, 1].
struct Quadrature {
    std::vector<double> nodes;
    std::vector<double> weights;
};
Quadrature gaussLegendre(int n);

}  // namespace quantscope
