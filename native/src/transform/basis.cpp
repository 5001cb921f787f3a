#include "transform/basis.h"

#include <cblas.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "base/error.h"
#include "transform/eigen.h"
#include "transform/orthogonal.h"

namespace quantscope {

double basisWork(uint64_t width, uint64_t heads, uint64_t high) {
    const auto block = static_cast<double>(width / heads);
    return orthogonalWork((width - high) / heads) + static_cast<double>(heads) * 10.0 * block * block * block / 3.0;
}

Basis fitBasis(const std::vector<float>& secondMoments, uint64_t width, uint64_t heads, uint64_t high, uint64_t seed, Workers& workers) {
    if (width % heads != 0 || high % heads != 0) {
        failArgument("heads: " + std::to_string(heads) + " heads do not divide " + std::to_string(width) + " inputs and a tail of " +
                     std::to_string(high) + ". Use one basis for all of them (perHead: false)");
    }
    const uint64_t block = width / heads;
    const uint64_t highOfHead = high / heads;
    if (highOfHead >= block || block > kMaxBasis) {
        failArgument(highOfHead >= block ? "high: a tail of " + std::to_string(high) + " of " + std::to_string(width) + " inputs leaves nothing to quantize"
                                         : "A basis of " + std::to_string(block) + " coordinates would take hours; at most " +
                                               std::to_string(kMaxBasis) + ". Rotate this layer with hadamard or rpbh");
    }
    const uint64_t low = block - highOfHead;
    const auto mixing = randomOrthogonal(low, seed, workers);
    Basis basis{block, std::vector<float>(heads * block * block), {}};
    for (uint64_t head = 0; head < heads; ++head) {
        std::vector<double> moments(block * block);
        for (uint64_t i = 0; i < block; ++i) {
            for (uint64_t j = 0; j < block; ++j) {
                const uint64_t row = head * block + i, column = head * block + j;
                const double value = 0.5 * (static_cast<double>(secondMoments[row * width + column]) + secondMoments[column * width + row]);
                if (!std::isfinite(value)) {
                    failArgument("The second moment of inputs " + std::to_string(row) + " and " + std::to_string(column) +
                                 " is not finite: an activation of this layer was NaN or infinite. Keep this layer, or repair the checkpoint.");
                }
                moments[i * block + j] = value;
            }
        }
        const SymmetricEigen eigen = symmetricEigen(std::move(moments), block, workers);
        // Rows of eigen.vectors are the columns of U: M's low rows are R_lowᵀ U_lowᵀ.
        std::vector<double> lowRows(low * block);
        constexpr uint64_t kRows = 32;
        workers.tiles((low + kRows - 1) / kRows, [&](size_t tile, unsigned) {
            const uint64_t first = tile * kRows;
            cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, static_cast<blasint>(std::min(kRows, low - first)), static_cast<blasint>(block),
                        static_cast<blasint>(low), 1.0, mixing.data() + first, static_cast<blasint>(low), eigen.vectors.data(),
                        static_cast<blasint>(block), 0.0, lowRows.data() + first * block, static_cast<blasint>(block));
        });
        float* matrix = basis.matrices.data() + head * block * block;
        std::copy(lowRows.begin(), lowRows.end(), matrix);
        std::copy(eigen.vectors.begin() + static_cast<ptrdiff_t>(low * block), eigen.vectors.end(), matrix + low * block);
    }
    if (heads > 1) {
        for (const auto& [begin, end] : {std::pair{uint64_t{0}, low}, std::pair{low, block}}) {
            for (uint64_t head = 0; head < heads; ++head) {
                for (uint64_t i = begin; i < end; ++i) {
                    basis.sources.push_back(static_cast<int32_t>(head * block + i));
                }
            }
        }
    }
    return basis;
}

}  // namespace quantscope
