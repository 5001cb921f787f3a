#include "quantizer/codebook.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/lru_cache.h"
#include "quantizer/half_marginal.h"
#include "rotation/rpbh.h"

namespace quantscope {

namespace {

/// Start: quantiles of density^(1/3), the level density of an optimal fine quantizer (Panter and Dite 1951).
std::vector<double> initialLevels(const HalfMarginal& marginal, size_t count) {
    constexpr size_t kSteps = 8192;
    const double end = std::min(marginal.unit, 12.0);
    std::vector<double> cumulative(kSteps + 1, 0.0);
    for (size_t i = 0; i < kSteps; ++i) {
        cumulative[i + 1] = cumulative[i] + std::cbrt(marginal.density(end * (static_cast<double>(i) + 0.5) / kSteps));
    }
    std::vector<double> levels(count);
    for (size_t i = 0; i < count; ++i) {
        const double wanted = cumulative[kSteps] * (static_cast<double>(i) + 0.5) / static_cast<double>(count);
        const auto right = std::upper_bound(cumulative.begin(), cumulative.end(), wanted);
        const double fraction = (wanted - *(right - 1)) / (*right - *(right - 1));
        levels[i] = end * (static_cast<double>(right - 1 - cumulative.begin()) + fraction) / kSteps;
    }
    return levels;
}

struct Cells {
    std::vector<double> edges;
    std::vector<double> masses;
    std::vector<double> centroids;
};

Cells cellsOf(const HalfMarginal& marginal, const std::vector<double>& levels) {
    const size_t n = levels.size();
    Cells cells{std::vector<double>(n + 1), std::vector<double>(n), std::vector<double>(n)};
    cells.edges[0] = 0.0;
    cells.edges[n] = marginal.unit;
    for (size_t i = 1; i < n; ++i) {
        cells.edges[i] = 0.5 * (levels[i - 1] + levels[i]);
    }
    for (size_t i = 0; i < n; ++i) {
        cells.masses[i] = marginal.mass(cells.edges[i], cells.edges[i + 1]);
        cells.centroids[i] = marginal.moment(cells.edges[i], cells.edges[i + 1]) / cells.masses[i];
    }
    return cells;
}

/// The Newton step for levels - centroids(levels) = 0: a tridiagonal system, solved by elimination. The centroid of [a, b] moves
/// with its edges by density(a) (c - a) / mass and density(b) (b - c) / mass, and every inner edge by half of each neighbour.
std::vector<double> newtonStep(const HalfMarginal& marginal, const std::vector<double>& levels, const Cells& cells) {
    const size_t n = levels.size();
    std::vector<double> upper(n);
    std::vector<double> step(n);
    for (size_t i = 0; i < n; ++i) {
        const double a = cells.edges[i];
        const double b = cells.edges[i + 1];
        const double c = cells.centroids[i];
        const double left = i > 0 ? 0.5 * marginal.density(a) * (c - a) / cells.masses[i] : 0.0;
        const double right = i + 1 < n ? 0.5 * marginal.density(b) * (b - c) / cells.masses[i] : 0.0;
        const double pivot = 1.0 - left - right + (i > 0 ? left * upper[i - 1] : 0.0);
        upper[i] = -right / pivot;
        step[i] = (levels[i] - c + (i > 0 ? left * step[i - 1] : 0.0)) / pivot;
    }
    for (size_t i = n - 1; i-- > 0;) {
        step[i] -= upper[i] * step[i + 1];
    }
    return step;
}

bool ascending(const std::vector<double>& levels, double end) {
    double previous = 0.0;
    for (const double level : levels) {
        if (!(level > previous)) {
            return false;
        }
        previous = level;
    }
    return previous < end;
}

/// Positive levels in standard deviations.
std::vector<double> solveLevels(const HalfMarginal& marginal, size_t count) {
    std::vector<double> levels = initialLevels(marginal, count);
    for (int iteration = 0; iteration < 200; ++iteration) {
        const Cells cells = cellsOf(marginal, levels);
        const std::vector<double> step = newtonStep(marginal, levels, cells);
        double damping = 1.0;
        std::vector<double> next(count);
        for (;;) {
            for (size_t i = 0; i < count; ++i) {
                next[i] = levels[i] - damping * step[i];
            }
            if (ascending(next, marginal.unit)) {
                break;
            }
            damping *= 0.5;
            if (damping < 1e-3) {  // Newton leads nowhere from here: one plain Lloyd step always stays in order
                next = cells.centroids;
                break;
            }
        }
        double moved = 0;
        for (size_t i = 0; i < count; ++i) {
            moved = std::max(moved, std::fabs(next[i] - levels[i]));
        }
        levels = std::move(next);
        if (moved < 1e-13) {
            break;
        }
    }
    return levels;
}

LevelTable makeTable(const std::vector<double>& positive) {
    constexpr size_t kRegister = 16;
    LevelTable table;
    table.size = static_cast<uint32_t>(positive.size());
    std::vector<double> thresholds;
    double closest = positive.front();
    for (size_t i = 0; i + 1 < positive.size(); ++i) {
        thresholds.push_back(0.5 * (positive[i] + positive[i + 1]));
        closest = std::min(closest, thresholds[i] - (i > 0 ? thresholds[i - 1] : 0.0));
    }
    // Cells of half the smallest distance hold at most one threshold, even when rounding moves a magnitude across a cell's edge.
    const double cell = 0.5 * closest;
    const double last = thresholds.empty() ? 0.0 : thresholds.back();
    table.cellsPerUnit = static_cast<float>(1.0 / cell);
    const size_t cells = static_cast<size_t>(last / cell) + 2;
    const auto levelAt = [&](double x) {
        const auto next = std::upper_bound(thresholds.begin(), thresholds.end(), x);
        return static_cast<float>(positive[static_cast<size_t>(next - thresholds.begin())]);
    };
    for (size_t i = 0; i < cells; ++i) {
        const double middle = (static_cast<double>(i) + 0.5) * cell;
        table.candidates.push_back({levelAt(middle - 0.75 * cell), levelAt(middle + 0.75 * cell)});
    }
    table.levels.assign(positive.begin(), positive.end());
    table.thresholds.assign(thresholds.begin(), thresholds.end());
    table.levels.resize(std::max(kRegister, positive.size()), table.levels.back());
    table.thresholds.resize(std::max(kRegister, positive.size()), std::numeric_limits<float>::infinity());
    return table;
}

Codebook makeCodebook(uint64_t width, int bits) {
    const size_t half = size_t{1} << (bits - 1);
    const HalfMarginal marginal(width);
    std::vector<double> positive(half);
    Codebook result;
    if (width == 1) {
        for (size_t i = 0; i < half; ++i) {
            positive[i] = static_cast<double>(i + 1) / static_cast<double>(half);
        }
    } else {
        positive = solveLevels(marginal, half);
        // At the optimum E[(x - q)^2] = E[x^2] - E[q^2], and E[x^2] = 1.
        const Cells cells = cellsOf(marginal, positive);
        result.distortion = 1.0;
        for (size_t i = 0; i < half; ++i) {
            result.distortion -= 2.0 * cells.masses[i] * positive[i] * positive[i];
        }
    }
    for (size_t i = 0; i < 2 * half; ++i) {
        result.levels.push_back(i < half ? -positive[half - 1 - i] / marginal.unit : positive[i - half] / marginal.unit);
    }
    for (size_t i = 0; i + 1 < 2 * half; ++i) {
        result.thresholds.push_back(0.5 * (result.levels[i] + result.levels[i + 1]));
    }
    result.table = makeTable(positive);
    return result;
}

}  // namespace

std::shared_ptr<const Codebook> codebookFor(uint64_t width, int bits) {
    if (width < 1 || width > kMaxWidth) {
        failArgument("width: a codebook needs a width from 1 to " + std::to_string(kMaxWidth) + ", got " + std::to_string(width));
    }
    validate(CodebookQuantizer{bits, FloatType::Fp32}, width);
    static LruCache<std::pair<uint64_t, int>, Codebook> cache(256);
    return cache.get({width, bits}, 1, [&] { return makeCodebook(width, bits); });
}

namespace {

class CodebookCoder final : public Coder {
public:
    CodebookCoder(const CodebookQuantizer& quantizer, uint64_t width, const Kernels& kernels)
        : Coder({width, width, 1, quantizer.bits}), norm_(quantizer.norm), codebook_(codebookFor(width, quantizer.bits)), kernels_(kernels) {
        const LevelTable& table = codebook_->table;
        for (size_t i = 0; i < table.size; ++i) {
            levels_.push_back(-table.levels[table.size - 1 - i]);
        }
        levels_.insert(levels_.end(), table.levels.begin(), table.levels.begin() + table.size);
        for (const LevelPair& pair : table.candidates) {
            const auto end = table.levels.begin() + table.size;
            starts_.push_back(static_cast<uint8_t>(std::lower_bound(table.levels.begin(), end, pair.lower) - table.levels.begin()));
        }
    }

    void encode(const float* unscaled, float largest, uint8_t* codes, float* sides) const override {
        const size_t width = layout.width;
        const int exponent = exponentFor(largest);
        const ScaledRow scaled(unscaled, width, exponent, kernels_);
        const float* const row = scaled.values();
        const LevelTable& table = codebook_->table;
        const double norm = std::sqrt(kernels_.sumSquares(row, width));
        const double root = std::sqrt(static_cast<double>(width));
        sides[0] = static_cast<float>(roundTo(norm_, std::ldexp(norm, exponent)) / root);
        const float scale = static_cast<float>(root / norm);
        const float perUnit = table.cellsPerUnit;
        const float last = static_cast<float>(starts_.size() - 1);
        const auto half = static_cast<int32_t>(table.size);
        // Local: a store through uint8_t* could otherwise change them, as far as the compiler knows.
        const uint8_t* const starts = starts_.data();
        const float* const thresholds = table.thresholds.data();
        constexpr size_t kPiece = 256;
        float magnitudes[kPiece];
        int32_t cells[kPiece];
        for (size_t begin = 0; begin < width; begin += kPiece) {
            const size_t count = std::min(kPiece, width - begin);
            for (size_t i = 0; i < count; ++i) {  // arithmetic that the compiler does on vectors
                magnitudes[i] = std::fabs(row[begin + i]) * scale;
                cells[i] = static_cast<int32_t>(std::min(magnitudes[i] * perUnit, last));
            }
            for (size_t i = 0; i < count; ++i) {  // look-ups
                const int32_t start = starts[cells[i]];
                const int32_t index = start + (magnitudes[i] >= thresholds[start] ? 1 : 0);
                const int32_t sign = std::bit_cast<int32_t>(row[begin + i]) >> 31;  // 0 or -1
                codes[begin + i] = static_cast<uint8_t>(half + (index ^ sign));     // half + index, or half - 1 - index
            }
        }
    }

    void decode(const uint8_t* codes, const float* sides, float* row) const override {
        const float* const levels = levels_.data();
        const float unit = sides[0];
        for (size_t i = 0, n = layout.width; i < n; ++i) {
            row[i] = levels[codes[i]] * unit;
        }
    }

private:
    FloatType norm_;
    std::shared_ptr<const Codebook> codebook_;
    const Kernels& kernels_;
    std::vector<float> levels_;    ///< all, ascending, in standard deviations
    std::vector<uint8_t> starts_;  ///< by cell of LevelTable::candidates: index of the lower candidate
};

}  // namespace

std::shared_ptr<const Coder> makeCodebookCoder(const CodebookQuantizer& quantizer, uint64_t width, const Kernels& kernels) {
    return std::make_shared<CodebookCoder>(quantizer, width, kernels);
}

CodebookRows::CodebookRows(const CodebookQuantizer& quantizer, uint64_t width)
    : norm_(quantizer.norm), codebook_(codebookFor(width, quantizer.bits)) {}

double CodebookRows::squaredError(const Row& row, const Kernels& kernels) const {
    const double norm = std::ldexp(row.norm, row.exponent);
    const double perDeviation = std::sqrt(static_cast<double>(row.width)) / row.norm;
    const double error = kernels.codebookError(row.values, row.width, static_cast<float>(perDeviation),
                                               static_cast<float>(roundTo(norm_, norm) / norm), codebook_->table);
    return error / (perDeviation * perDeviation);
}

}  // namespace quantscope
