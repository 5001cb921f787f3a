// DuQuant's rotation of outliers (arXiv 2406.01721), as LRQ-DiT (arXiv 2508.03485, Eq 12) uses it: x R̂1 P R̂2, R̂ the same orthogonal matrix in
// every block. Both programs swap by the number of the row that holds the largest value; as in the papers, it is the channel here.
#pragma once

#include <cstdint>
#include <vector>

#include "base/workers.h"

namespace quantscope {

enum class DealOrder {
    Zigzag,      ///< by largest |x|, dealt to the blocks back and forth (DuQuant)
    RoundRobin,  ///< by max - min, dealt to the blocks in turn (LRQ-DiT)
};

struct OutlierRotation {
    std::vector<float> first;      ///< [block, block], y_block = M x_block
    std::vector<int32_t> sources;  ///< [width]
    std::vector<float> second;     ///< [block, block]
    double peakBefore = 0;         ///< max - min of the sample
    double peakAfter = 0;          ///< behind all three
};

/// Spreads coordinate 0 evenly: [size, size], orthogonal, row 0 of the matrix is 1/√size (x R, rows of x on the left). R = blkdiag(1, Q) R̃ with R̃ of
/// Givens rotations of neighbours by cos = 1/√(i+2), ends swapped, and Q = randomOrthogonal(size - 1, seed).
std::vector<double> spreadingRotation(uint64_t size, uint64_t seed, Workers& workers);

/// Channels in the order of `keys` descending (the first of equals first), dealt to width / block blocks.
std::vector<int32_t> dealChannels(const std::vector<double>& keys, uint64_t block, DealOrder order);

/// Greedy: every step brings the channel of the largest |x| to coordinate 0, spreads it, and brings it back; of all prefixes of at most `steps`
/// steps the one with the smallest max - min is kept. The second rotation is found behind the permutation with seed + 1. sample [rows, width],
/// finite. Throws Error(Argument) when the block does not divide the width or is 1, there are no rows, or a value is not finite.
OutlierRotation fitOutlierRotation(const std::vector<float>& sample, uint64_t width, uint64_t block, uint64_t steps, DealOrder order,
                                   uint64_t seed, Workers& workers);

/// What fitOutlierRotation() advances the workers by, for a sample of so many values.
double outlierRotationWork(uint64_t values, uint64_t block, uint64_t steps);

}  // namespace quantscope
