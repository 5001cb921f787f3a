#include "quantizer/twin_log.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/rounding.h"

namespace quantscope {

namespace {

constexpr std::array kOffsets{0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5};  // times 20 rms
constexpr std::array kLows{0.0, 0.01, 0.05, 0.1, 0.2, 0.3};
constexpr std::array kHighs{1.0, 0.999, 0.99, 0.98, 0.95};

constexpr std::array kReleasedOffsets{0.001, 0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.0, 0.1, 0.2, 0.3, 0.4, 0.5};
constexpr std::array kReleasedHighs{0.98, 0.99, 0.999, 0.9999, 0.99999};

size_t quantileIndex(double q, size_t n) { return static_cast<size_t>(std::nearbyint(q * static_cast<double>(n - 1))); }

double stored(double x) { return roundTo(FloatType::Fp16, x); }

/// Levels of one sign.
struct Ladder {
    double start = 0;
    double step = 0;
};

double valueOf(const Ladder& ladder, double offset, int i) { return std::max(std::exp2(ladder.start + i * ladder.step) - offset, 0.0); }

/// Magnitude from which level i + 1 is nearer in the logarithm than level i.
double edgeOf(const Ladder& ladder, double offset, int i) { return std::exp2(ladder.start + (i + 0.5) * ladder.step) - offset; }

/// The magnitudes of one sign in ascending order, with the sums that give the squared error of a ladder without visiting them.
class Magnitudes {
public:
    explicit Magnitudes(std::vector<double> values) : values_(std::move(values)) {
        std::sort(values_.begin(), values_.end());
        sums_.push_back(0);
        squares_.push_back(0);
        for (const double value : values_) {
            sums_.push_back(sums_.back() + value);
            squares_.push_back(squares_.back() + value * value);
        }
    }

    std::span<const double> values() const { return values_; }

    double error(const Ladder& ladder, double offset, int levels) const {
        double sum = 0;
        size_t begin = 0;
        for (int i = 0; i < levels; ++i) {
            size_t end = values_.size();
            if (i + 1 < levels) {
                const double edge = edgeOf(ladder, offset, i);
                end = static_cast<size_t>(std::lower_bound(values_.begin() + static_cast<ptrdiff_t>(begin), values_.end(), edge) - values_.begin());
            }
            const double level = valueOf(ladder, offset, i);
            const auto count = static_cast<double>(end - begin);
            sum += squares_[end] - squares_[begin] - 2 * level * (sums_[end] - sums_[begin]) + level * level * count;
            begin = end;
        }
        return std::max(sum, 0.0);
    }

private:
    std::vector<double> values_;
    std::vector<double> sums_;
    std::vector<double> squares_;
};

/// A row taken apart.
struct Signs {
    Signs(const float* row, size_t width) {
        std::vector<double> plus;
        std::vector<double> minus;
        for (size_t i = 0; i < width; ++i) {
            if (row[i] != 0) {
                (row[i] > 0 ? plus : minus).push_back(std::fabs(static_cast<double>(row[i])));
            }
            energy += static_cast<double>(row[i]) * row[i];
        }
        zeros = width - plus.size() - minus.size();
        positive = Magnitudes(std::move(plus));
        negative = Magnitudes(std::move(minus));
    }

    Magnitudes positive{std::vector<double>{}};
    Magnitudes negative{std::vector<double>{}};
    size_t zeros = 0;
    double energy = 0;
};

struct Fit {
    Ladder positive;
    Ladder negative;
    double offset = 0;
    double error = std::numeric_limits<double>::infinity();
};

/// The best corrected ladder of one sign. `zeros` take its lowest level.
std::pair<Ladder, double> bestLadder(const Magnitudes& magnitudes, double offset, int levels, size_t zeros) {
    const auto values = magnitudes.values();
    if (values.empty()) {
        const Ladder none{-24.0, 0.0};  // the smallest step of FP16: nothing is here, or only zeros
        return {none, static_cast<double>(zeros) * std::pow(valueOf(none, offset, 0), 2)};
    }
    std::pair<Ladder, double> best{{}, std::numeric_limits<double>::infinity()};
    for (const double low : kLows) {
        const double lo = std::log2(values[quantileIndex(low, values.size())] + offset);
        for (const double high : kHighs) {
            const double hi = std::log2(values[quantileIndex(high, values.size())] + offset);
            const Ladder ladder{stored(lo), stored(std::max(hi - lo, 0.0) / (levels - 1))};
            const double error = magnitudes.error(ladder, offset, levels) + static_cast<double>(zeros) * std::pow(valueOf(ladder, offset, 0), 2);
            if (error < best.second) {
                best = {ladder, error};
            }
        }
    }
    return best;
}

Fit fitCorrected(const float* row, size_t width, int bits) {
    const Signs signs(row, width);
    const int levels = 1 << (bits - 1);
    const double rms = std::sqrt(signs.energy / static_cast<double>(width));
    Fit best;
    for (const double share : kOffsets) {
        const double offset = stored(20 * rms * share);
        if (offset == 0 && share > 0) {
            continue;  // below FP16: the same as the first
        }
        const auto [positive, plus] = bestLadder(signs.positive, offset, levels, signs.zeros);
        const auto [negative, minus] = bestLadder(signs.negative, offset, levels, 0);
        if (plus + minus < best.error) {
            best = {positive, negative, offset, plus + minus};
        }
    }
    return best;
}

/// Released: L of one sign with zeros for the other entries, and the quantile of all of it.
Ladder releasedLadder(const Magnitudes& magnitudes, size_t width, double offset, double high, int levels) {
    const auto values = magnitudes.values();
    const size_t others = width - values.size();
    const auto logarithm = [&](size_t i) { return std::log2(values[i] + offset); };
    const size_t below = static_cast<size_t>(std::lower_bound(values.begin(), values.end(), 1 - offset) - values.begin());
    const auto ordered = [&](size_t i) { return i < below ? logarithm(i) : i < below + others ? 0.0 : logarithm(i - others); };
    const double least = ordered(0);
    const double step = stored((ordered(quantileIndex(high, width)) - least) / levels);
    return step > 0 ? Ladder{stored(step * std::nearbyint(least / step)), step} : Ladder{stored(least), 0.0};
}

int releasedLevels(bool positive, int bits) { return (1 << (bits - 1)) + (positive ? 0 : 1); }

class TwinLogCoder final : public Coder {
public:
    TwinLogCoder(const TwinLogQuantizer& quantizer, uint64_t width, const TensorRange& range)
        : Coder({width, width, 5, quantizer.bits + (quantizer.released ? 1 : 0)}), quantizer_(quantizer) {
        if (quantizer.released) {
            choose(range);
        }
    }

    void encode(const float* row, float, uint8_t* codes, float* sides) const override {
        const size_t width = layout.width;
        const Fit fit = quantizer_.released ? fitReleased(row, width) : fitCorrected(row, width, quantizer_.bits);
        const int plus = levels(true);
        const int minus = levels(false);
        const std::vector<double> above = edges(fit.positive, fit.offset, plus);
        const std::vector<double> below = edges(fit.negative, fit.offset, minus);
        for (size_t i = 0; i < width; ++i) {
            const bool negative = row[i] < 0;
            const std::vector<double>& thresholds = negative ? below : above;
            const auto level = std::upper_bound(thresholds.begin(), thresholds.end(), std::fabs(static_cast<double>(row[i]))) - thresholds.begin();
            codes[i] = codeOf(row[i], negative, static_cast<int>(level));
        }
        const double numbers[] = {fit.positive.start, fit.positive.step, fit.negative.start, fit.negative.step, fit.offset};
        std::copy(std::begin(numbers), std::end(numbers), sides);
    }

    void encodeZeros(uint8_t* codes, float* sides) const override {
        std::fill_n(codes, layout.width, codeOf(0.0f, false, 0));
        const float numbers[] = {0, 0, 0, 0, 1};  // 2^0 - 1
        std::copy(std::begin(numbers), std::end(numbers), sides);
    }

    void decode(const uint8_t* codes, const float* sides, float* row) const override {
        std::array<float, 256> values;
        values.fill(std::numeric_limits<float>::quiet_NaN());
        const bool broken = std::isnan(sides[0]);  // a row that had no code
        for (const bool negative : {false, true}) {
            const Ladder ladder{sides[negative ? 2 : 0], sides[negative ? 3 : 1]};
            for (int i = 0; i < levels(!negative) && !broken; ++i) {
                const auto magnitude = static_cast<float>(valueOf(ladder, sides[4], i));
                values[codeOf(negative ? -1.0f : 1.0f, negative, i)] = negative ? -magnitude : magnitude;
            }
        }
        if (quantizer_.released && !broken) {
            values[0] = 0;
        }
        for (size_t i = 0, n = layout.width; i < n; ++i) {
            row[i] = values[codes[i]];
        }
    }

private:
    int levels(bool positive) const { return quantizer_.released ? releasedLevels(positive, quantizer_.bits) : 1 << (quantizer_.bits - 1); }

    uint8_t codeOf(float value, bool negative, int level) const {
        const int half = 1 << (quantizer_.bits - 1);
        if (quantizer_.released) {
            return static_cast<uint8_t>(value == 0 ? 0 : 1 + level + (negative ? half : 0));
        }
        return static_cast<uint8_t>(negative ? half - 1 - level : half + level);
    }

    static std::vector<double> edges(const Ladder& ladder, double offset, int levels) {
        std::vector<double> result;
        for (int i = 0; i + 1 < levels; ++i) {
            result.push_back(edgeOf(ladder, offset, i));
        }
        return result;
    }

    /// The candidate with the least error over the whole tensor; the two signs only share the offset. Without observed rows the first.
    void choose(const TensorRange& range) {
        double least = std::numeric_limits<double>::infinity();
        const size_t highs = kReleasedHighs.size();
        for (size_t offset = 0; offset < kReleasedOffsets.size() && !range.errors.empty(); ++offset) {
            const auto begin = range.errors.begin() + static_cast<ptrdiff_t>(2 * highs * offset);
            const auto middle = begin + static_cast<ptrdiff_t>(highs);
            const auto plus = std::min_element(begin, middle);
            const auto minus = std::min_element(middle, middle + static_cast<ptrdiff_t>(highs));
            if (*plus + *minus < least) {
                least = *plus + *minus;
                offset_ = kReleasedOffsets[offset];
                positiveHigh_ = kReleasedHighs[static_cast<size_t>(plus - begin)];
                negativeHigh_ = kReleasedHighs[static_cast<size_t>(minus - middle)];
            }
        }
    }

    Fit fitReleased(const float* row, size_t width) const {
        const Signs signs(row, width);
        const double offset = stored(offset_);
        return {releasedLadder(signs.positive, width, offset, positiveHigh_, 1 << (quantizer_.bits - 1)),
                releasedLadder(signs.negative, width, offset, negativeHigh_, 1 << (quantizer_.bits - 1)), offset, 0.0};
    }

    TwinLogQuantizer quantizer_;
    double offset_ = kReleasedOffsets[0];
    double positiveHigh_ = kReleasedHighs[0];
    double negativeHigh_ = kReleasedHighs[0];
};

}  // namespace

void validateTwinLog(const TwinLogQuantizer& quantizer, const std::string& name) {
    const int most = quantizer.released ? 7 : 8;
    if (quantizer.bits < 2 || quantizer.bits > most) {
        failArgument(name + ".bits: twin-log has 2 to " + std::to_string(most) + " bits" + (quantizer.released ? " as released" : "") + ", got " +
                     std::to_string(quantizer.bits));
    }
}

std::shared_ptr<const Coder> makeTwinLogCoder(const TwinLogQuantizer& quantizer, uint64_t width, const TensorRange& range) {
    return std::make_shared<TwinLogCoder>(quantizer, width, range);
}

void observeTwinLog(const TwinLogQuantizer& quantizer, const float* row, size_t width, TensorRange& range) {
    const size_t highs = kReleasedHighs.size();
    range.errors.resize(2 * highs * kReleasedOffsets.size());
    const Signs signs(row, width);
    const int steps = 1 << (quantizer.bits - 1);
    for (size_t i = 0; i < kReleasedOffsets.size(); ++i) {
        const double offset = stored(kReleasedOffsets[i]);
        for (size_t k = 0; k < highs; ++k) {
            const Ladder plus = releasedLadder(signs.positive, width, offset, kReleasedHighs[k], steps);
            const Ladder minus = releasedLadder(signs.negative, width, offset, kReleasedHighs[k], steps);
            range.errors[2 * highs * i + k] += signs.positive.error(plus, offset, releasedLevels(true, quantizer.bits));
            range.errors[2 * highs * i + highs + k] += signs.negative.error(minus, offset, releasedLevels(false, quantizer.bits));
        }
    }
}

}  // namespace quantscope
