#include "quantizer/row_codec.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "quantizer/integer.h"

namespace quantscope {

namespace {

constexpr uint32_t kInfinityBits = 0x7F800000;

/// Round half to even for |x| < 2^22, in two additions that the compiler can do on vectors.
inline float roundToEven(float x) {
    constexpr float kAnchor = 0x1.8p23f;
    return (x + kAnchor) - kAnchor;
}

}  // namespace

RowCodec::RowCodec(const Quantizer& quantizer, uint64_t width, const TensorRange& range, const Kernels& kernels)
    : kernels_(kernels), width_(width), group_(width) {
    if (const auto* codebook = std::get_if<CodebookQuantizer>(&quantizer)) {
        bits_ = codebook->bits;
        sides_ = 1;
        norm_ = codebook->norm;
        codebook_ = codebookFor(width, codebook->bits);
        const LevelTable& table = codebook_->table;
        for (size_t i = 0; i < table.size; ++i) {
            levels_.push_back(-table.levels[table.size - 1 - i]);
        }
        levels_.insert(levels_.end(), table.levels.begin(), table.levels.begin() + table.size);
        for (const LevelPair& pair : table.candidates) {
            const auto end = table.levels.begin() + table.size;
            starts_.push_back(
                static_cast<uint8_t>(std::lower_bound(table.levels.begin(), end, pair.lower) - table.levels.begin()));
        }
        return;
    }
    integer_ = std::get<IntQuantizer>(quantizer);
    bits_ = integer_->bits;
    group_ = integer_->granularity == Granularity::Group ? integer_->group : width;
    sides_ = 2 * (width / std::max<size_t>(group_, 1));
    if (integer_->granularity == Granularity::Tensor) {
        sharedExponent_ = exponentFor(static_cast<float>(std::max(-range.lowest, range.highest)));
        range_ = {std::ldexp(range.lowest, -*sharedExponent_), std::ldexp(range.highest, -*sharedExponent_)};
    }
}

void RowCodec::encode(const float* row, uint8_t* codes, float* sides) const {
    const uint32_t bits = kernels_.maxMagnitude(row, width_);
    if (bits == 0 || bits >= kInfinityBits) {
        std::fill_n(codes, width_, 0);
        std::fill_n(sides, sides_, bits == 0 ? 0.0f : std::numeric_limits<float>::quiet_NaN());
        return;
    }
    const int exponent = sharedExponent_.value_or(exponentFor(std::bit_cast<float>(bits)));
    std::vector<float> scaled;
    if (exponent != 0) {
        scaled.assign(row, row + width_);
        kernels_.multiply(scaled.data(), width_, std::ldexp(1.0f, -exponent));
        row = scaled.data();
    }
    integer_ ? encodeInteger(row, exponent, codes, sides) : encodeCodebook(row, exponent, codes, sides);
}

void RowCodec::encodeCodebook(const float* row, int exponent, uint8_t* codes, float* sides) const {
    const LevelTable& table = codebook_->table;
    const double norm = std::sqrt(kernels_.sumSquares(row, width_));
    const double root = std::sqrt(static_cast<double>(width_));
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
    for (size_t begin = 0; begin < width_; begin += kPiece) {
        const size_t count = std::min(kPiece, width_ - begin);
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

void RowCodec::encodeInteger(const float* row, int exponent, uint8_t* codes, float* sides) const {
    for (size_t start = 0; start < width_; start += group_) {
        const float* values = row + start;
        double lowest = range_.lowest;
        double highest = range_.highest;
        if (integer_->granularity != Granularity::Tensor) {
            const Range range = kernels_.range(values, group_);
            lowest = range.lowest;
            highest = range.highest;
        }
        const IntegerGrid grid = integerGrid(*integer_, lowest, highest, exponent);
        if (grid.scale > 0) {
            for (size_t i = 0; i < group_; ++i) {
                const float step = roundToEven(std::min(std::max(values[i] / grid.scale, grid.lowest), grid.highest));
                codes[start + i] = static_cast<uint8_t>(step - grid.lowest);
            }
        } else {
            std::fill_n(codes + start, group_, 0);
        }
        *sides++ = std::ldexp(grid.scale, exponent);
        *sides++ = grid.scale > 0 ? grid.lowest : 0.0f;
    }
}

void RowCodec::decode(const uint8_t* codes, const float* sides, float* row) const {
    if (!integer_) {
        const float* const levels = levels_.data();
        const float unit = sides[0];
        for (size_t i = 0; i < width_; ++i) {
            row[i] = levels[codes[i]] * unit;
        }
        return;
    }
    for (size_t start = 0; start < width_; start += group_) {
        const float scale = *sides++;
        const float lowest = *sides++;
        for (size_t i = start; i < start + group_; ++i) {
            row[i] = (static_cast<float>(codes[i]) + lowest) * scale;
        }
    }
}

void castRow(FloatType type, float* row, size_t width) {
    // Written on bits, so that the compiler can use vectors; base/rounding.h says the same number by number.
    const auto dropBits = [](uint32_t bits, int dropped) {
        const uint32_t bias = ((bits >> dropped) & 1) + ((1u << (dropped - 1)) - 1);
        return (bits + bias) >> dropped << dropped;
    };
    if (type == FloatType::Fp32) {
        return;
    }
    const float largest = type == FloatType::Bf16 ? 0x1.FEp127f : 65504.0f;
    for (size_t i = 0; i < width; ++i) {
        const uint32_t bits = std::bit_cast<uint32_t>(row[i]);
        const float magnitude = std::bit_cast<float>(bits & 0x7FFFFFFF);
        float rounded = std::bit_cast<float>(dropBits(bits & 0x7FFFFFFF, type == FloatType::Bf16 ? 16 : 13));
        if (type == FloatType::Fp16) {
            rounded = magnitude < 0x1p-14f ? (magnitude + 0.5f) - 0.5f : rounded;  // the last bit of 0.5 is the subnormals' step
        }
        rounded = rounded < largest ? rounded : largest;
        rounded = magnitude == magnitude ? rounded : row[i];
        row[i] = std::bit_cast<float>(std::bit_cast<uint32_t>(rounded) | (bits & 0x80000000));
    }
}

}  // namespace quantscope
