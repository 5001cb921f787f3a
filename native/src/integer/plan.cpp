#include "integer/plan.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "quantizer/codebook.h"
#include "quantizer/midrise.h"

namespace quantscope {

namespace {

// Both sides' integers fit a byte with a sign, and two products of neighbours fit 16 bits when |x| * 2 |w| * 2 <= 32767 (weights are offset to be
// unsigned bytes): 90 * 90 where both sides are codebooks.
constexpr int kInt16 = 32767;
constexpr int kBothSurrogates = 90;

struct Nearest {
    std::vector<int16_t> levels;
    double unit;
    double error;
};

double normalBelow(double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }

/// Positive levels (standard deviations, ascending, thresholds halfway) to integers up to `bound` times a unit.
Nearest nearestIntegers(const std::vector<float>& levels, size_t count, int bound) {
    std::vector<double> share(count);
    for (size_t i = 0; i < count; ++i) {
        const double above = i + 1 < count ? normalBelow(0.5 * (double(levels[i]) + double(levels[i + 1]))) : 1.0;
        share[i] = 2 * (above - (i > 0 ? normalBelow(0.5 * (double(levels[i - 1]) + double(levels[i]))) : 0.5));
    }
    Nearest best{{}, 0, INFINITY};
    constexpr int kTried = 2000;  // units between the bound and a little over half of it
    for (int t = 0; t < kTried; ++t) {
        const double perUnit = (bound + 0.49) * (1.0 - 0.45 * t / kTried) / double(levels[count - 1]);
        // The unit is refitted to the integers, by least squares.
        double cross = 0, square = 0, total = 0;
        std::vector<int16_t> integers(count);
        for (size_t i = 0; i < count; ++i) {
            integers[i] = static_cast<int16_t>(std::min<double>(bound, std::nearbyint(double(levels[i]) * perUnit)));
            cross += share[i] * integers[i] * double(levels[i]);
            square += share[i] * integers[i] * integers[i];
            total += share[i] * double(levels[i]) * double(levels[i]);
        }
        const double error = square > 0 ? std::max(0.0, 1 - cross * cross / (square * total)) : 1.0;
        if (error < best.error) {
            best = {integers, square > 0 ? cross / square : 0.0, error};
        }
    }
    return best;
}

/// Codes of a norm and levels, positive ones given.
IntegerCodes symmetricLevels(int bits, size_t width, const std::vector<int16_t>& positive, double unit) {
    IntegerCodes result{bits, width};
    result.unit = static_cast<float>(unit);
    for (size_t i = positive.size(); i-- > 0;) {
        result.levels.push_back(static_cast<int16_t>(-positive[i]));
    }
    result.levels.insert(result.levels.end(), positive.begin(), positive.end());
    result.least = result.levels.front();
    result.greatest = result.levels.back();
    return result;
}

/// `bound` is for the integers of a surrogate.
std::variant<IntegerCodes, std::string> codesOf(const Quantizer& quantizer, size_t width, const std::string& side, int bound) {
    if (const auto* integer = std::get_if<IntQuantizer>(&quantizer)) {
        if (integer->shift) {
            return "shifts its " + side + " before they are quantized";
        }
        IntegerCodes result{integer->bits, integer->granularity == Granularity::Group ? integer->group : width, true};
        const int codes = 1 << integer->bits;
        result.least = integer->symmetric ? -codes / 2 : 1 - codes;  // any of an asymmetric grid's codes may be zero
        result.greatest = integer->symmetric ? codes / 2 - 1 : codes - 1;
        return result;
    }
    if (const auto* midRise = std::get_if<MidRiseQuantizer>(&quantizer)) {
        if (midRise->bits > 7) {
            return "has mid-rise " + side + " of 8 bits, whose odd integers exceed a byte";
        }
        std::vector<int16_t> positive;
        for (int i = 0; i < 1 << (midRise->bits - 1); ++i) {
            positive.push_back(static_cast<int16_t>(2 * i + 1));
        }
        return symmetricLevels(midRise->bits, width, positive, 0.5 * double(static_cast<float>(midRiseStep(width, midRise->bits).step)));
    }
    if (const auto* codebook = std::get_if<CodebookQuantizer>(&quantizer)) {
        const auto book = codebookFor(width, codebook->bits);
        const Nearest nearest = nearestIntegers(book->table.levels, book->table.size, bound);
        IntegerCodes result = symmetricLevels(codebook->bits, width, nearest.levels, nearest.unit);
        result.surrogateError = nearest.error;
        result.ownError = book->distortion;
        return result;
    }
    if (std::holds_alternative<KeepQuantizer>(quantizer)) {
        return "keeps its " + side + " as floats";
    }
    return "has " + side + (std::holds_alternative<TwinLogQuantizer>(quantizer) ? " on a logarithmic scale" : " in a small float format");
}

bool isCodebook(const Quantizer& quantizer) { return std::holds_alternative<CodebookQuantizer>(quantizer); }

}  // namespace

std::variant<IntegerPlan, std::string> planInteger(const Quantizer& weights, const Quantizer& activations, size_t width, const ProductKernels& kernels) {
    // A codebook beside integers gets what those leave of 16 bits, in one byte.
    const auto beside = [&](const Quantizer& other, const std::string& side) -> std::variant<int, std::string> {
        if (isCodebook(other)) {
            return kBothSurrogates;
        }
        auto found = codesOf(other, width, side, 0);
        if (auto* reason = std::get_if<std::string>(&found)) {
            return std::move(*reason);
        }
        return std::clamp(kInt16 / (4 * std::get<IntegerCodes>(found).largest()), 31, 127);
    };
    IntegerPlan plan;
    for (const bool ofWeights : {true, false}) {
        const auto bound = beside(ofWeights ? activations : weights, ofWeights ? "activations" : "weights");
        if (const auto* reason = std::get_if<std::string>(&bound)) {
            return *reason;
        }
        auto codes = codesOf(ofWeights ? weights : activations, width, ofWeights ? "weights" : "activations", std::get<int>(bound));
        if (auto* reason = std::get_if<std::string>(&codes)) {
            return std::move(*reason);
        }
        (ofWeights ? plan.w : plan.x) = std::move(std::get<IntegerCodes>(codes));
    }
    plan.width = width;
    plan.group = std::gcd(plan.x.group, plan.w.group);
    plan.groups = plan.group == 0 ? 0 : width / plan.group;
    // Unsigned bytes of weights: codes counted from the lowest level.
    const int offset = plan.w.affine ? (1 << plan.w.bits) - 1 : plan.w.greatest - plan.w.least;
    const bool xFits = plan.x.least >= -128 && plan.x.greatest <= 127;
    plan.run = static_cast<size_t>(kInt16 / (2 * plan.x.largest() * offset));
    if (xFits) {
        plan.form = plan.w.bits <= 4 ? PanelForm::Nibbles : PanelForm::Bytes;
        plan.splits = plan.run == 0 && !kernels.wideBytes;
        plan.run = std::max<size_t>(plan.run, 1);
    }
    plan.steps = (plan.group + plan.depth() - 1) / plan.depth();
    // The sum of a group, and its part without the correction, stay below 2^31.
    if (static_cast<double>(plan.group) * plan.x.largest() * std::max(offset, plan.w.largest()) >= 0x1p30) {
        return "has groups of " + std::to_string(plan.group) + " inputs, whose sums exceed 32 bits";
    }
    return plan;
}

}  // namespace quantscope
