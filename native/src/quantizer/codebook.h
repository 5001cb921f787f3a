// Lloyd-Max codebooks of the sphere marginal (OrbitQuant, arXiv 2607.02461, Eq 3) and the weight quantizer built on them (Eq 4-6).
#pragma once

#include <memory>
#include <vector>

#include "quantizer/coder.h"
#include "quantizer/quantizer.h"

namespace quantscope {

struct Codebook {
    std::vector<double> levels;      ///< ascending, coordinates of a unit vector
    std::vector<double> thresholds;  ///< midpoints between neighbours, one fewer
    double distortion = 0;           ///< relative mean squared error on the sphere marginal, D d
    LevelTable table;                ///< the same for the kernels
};

/// The minimum mean squared error quantizer with 2^bits levels for one coordinate of a random unit vector in R^width, by Newton's
/// method on the centroid condition. width 1 has only the coordinates -1 and 1: its outer levels are those, the rest fill the
/// line between. From a bounded cache. Throws Error(Argument) for bits outside 1..8 and widths outside
/// 1..kMaxWidth.
std::shared_ptr<const Codebook> codebookFor(uint64_t width, int bits);

/// Sides of a row: one number, its norm over sqrt(width), the norm rounded to its type. Codes are the levels from the lowest on.
std::shared_ptr<const Coder> makeCodebookCoder(const CodebookQuantizer& quantizer, uint64_t width, const Kernels& kernels);

/// Row norm r, index = nearest level to w / r, dequantized = (r rounded to the norm's type) * level.
class CodebookRows final : public RowQuantizer {
public:
    CodebookRows(const CodebookQuantizer& quantizer, uint64_t width);
    double squaredError(const Row& row, const Kernels& kernels) const override;

private:
    FloatType norm_;
    std::shared_ptr<const Codebook> codebook_;
};

}  // namespace quantscope
