#include "transform/eigen.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "base/error.h"
#include "linear/gemm.h"
#include "transform/lapack.h"

namespace quantscope {

namespace {

constexpr blasint kPanel = 32;
constexpr blasint kColumns = 64;  ///< per tile

/// a = Q T Qᵀ: T in d and e, Q as reflectors below the first subdiagonal and tau (dsytrd, lower triangle, column-major).
void tridiagonalize(std::vector<double>& a, blasint n, std::vector<double>& d, std::vector<double>& e, std::vector<double>& tau,
                    Workers& workers) {
    const auto at = [&](blasint row, blasint column) { return a.data() + static_cast<size_t>(column) * n + row; };
    std::vector<double> w(static_cast<size_t>(n) * kPanel);
    blasint first = 0;
    for (; first + 2 * kPanel < n; first += kPanel) {
        workers.checkCancelled();
        const blasint left = n - first;
        dlatrd_("L", &left, &kPanel, at(first, first), &n, e.data() + first, tau.data() + first, w.data(), &n, 1);
        const blasint next = first + kPanel;
        const blasint rest = n - next;
        workers.tiles(static_cast<size_t>((rest + kColumns - 1) / kColumns), [&](size_t tile, unsigned) {  // A -= V Wᵀ + W Vᵀ
            const blasint column = static_cast<blasint>(tile) * kColumns;
            const blasint columns = std::min(kColumns, rest - column);
            const double* v = at(next + column, first);
            const double* u = w.data() + kPanel + column;
            for (const auto& [x, y] : {std::pair{v, u}, std::pair{u, v}}) {
                cblas_dgemm(CblasColMajor, CblasNoTrans, CblasTrans, rest - column, columns, kPanel, -1.0, x, n, y, n, 1.0,
                            at(next + column, next + column), n);
            }
        });
        workers.advance(4.0 * kPanel * static_cast<double>(rest) * static_cast<double>(rest));
        for (blasint j = first; j < next; ++j) {
            *at(j + 1, j) = e[j];
            d[j] = *at(j, j);
        }
    }
    const blasint left = n - first;
    blasint info = 0;
    dsytd2_("L", &left, at(first, first), &n, d.data() + first, e.data() + first, tau.data() + first, &info, 1);
}

/// z := Q z, z [n, n] column-major.
void applyReflectors(const std::vector<double>& a, blasint n, const std::vector<double>& tau, std::vector<double>& z, Workers& workers) {
    const blasint reflectors = n - 1;
    for (blasint first = (reflectors - 1) / kPanel * kPanel; first >= 0; first -= kPanel) {
        const blasint count = std::min(kPanel, reflectors - first);
        const blasint rows = n - first - 1;
        const double* v = a.data() + static_cast<size_t>(first) * n + first + 1;
        double t[kPanel * kPanel];
        dlarft_("F", "C", &rows, &count, v, &n, tau.data() + first, t, &kPanel, 1, 1);
        workers.tiles(static_cast<size_t>((n + kColumns - 1) / kColumns), [&](size_t tile, unsigned) {
            const blasint column = static_cast<blasint>(tile) * kColumns;
            const blasint columns = std::min(kColumns, n - column);
            double work[kColumns * kPanel];
            dlarfb_("L", "N", "F", "C", &rows, &columns, &count, v, &n, t, &kPanel, z.data() + static_cast<size_t>(column) * n + first + 1, &n,
                    work, &kColumns, 1, 1, 1, 1);
        });
        workers.advance(4.0 * count * static_cast<double>(rows) * static_cast<double>(n));
    }
}

}  // namespace

SymmetricEigen symmetricEigen(std::vector<double> a, uint64_t n, Workers& workers) {
    oneThreadPerCall();
    const auto size = static_cast<blasint>(n);
    std::vector<double> values(n), e(n), tau(n);
    tridiagonalize(a, size, values, e, tau, workers);
    workers.checkCancelled();

    std::vector<double> vectors(n * n);
    {
        std::vector<double> work(1 + 4 * n + n * n);
        std::vector<blasint> integers(3 + 5 * n);
        const auto works = static_cast<blasint>(work.size());
        const auto integersCount = static_cast<blasint>(integers.size());
        blasint info = 0;
        dstedc_("I", &size, values.data(), e.data(), vectors.data(), &size, work.data(), &works, integers.data(), &integersCount, &info, 1);
        if (info != 0) {
            failArgument("The eigenvectors of a matrix of width " + std::to_string(n) + " could not be found. Calibrate with more data.");
        }
    }
    if (n > 1) {
        applyReflectors(a, size, tau, vectors, workers);
    }
    for (uint64_t k = 0; k < n; ++k) {
        double* vector = vectors.data() + k * n;
        if (*std::max_element(vector, vector + n, [](double x, double y) { return std::fabs(x) < std::fabs(y); }) < 0) {
            std::transform(vector, vector + n, vector, [](double x) { return -x; });
        }
    }
    return {std::move(values), std::move(vectors)};
}

}  // namespace quantscope
