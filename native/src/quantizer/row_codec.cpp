#include "quantizer/row_codec.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "quantizer/codebook.h"
#include "quantizer/integer.h"
#include "quantizer/midrise.h"
#include "quantizer/small_float.h"
#include "quantizer/twin_log.h"

namespace quantscope {

namespace {

constexpr uint32_t kInfinityBits = 0x7F800000;

struct MakeCoder {
    uint64_t width;
    const TensorRange& range;
    const Kernels& kernels;

    std::shared_ptr<const Coder> operator()(const IntQuantizer& q) const { return makeIntegerCoder(q, width, range, kernels); }
    std::shared_ptr<const Coder> operator()(const CodebookQuantizer& q) const { return makeCodebookCoder(q, width, kernels); }
    std::shared_ptr<const Coder> operator()(const MidRiseQuantizer& q) const { return makeMidRiseCoder(q, width, kernels); }
    std::shared_ptr<const Coder> operator()(const TwinLogQuantizer& q) const { return makeTwinLogCoder(q, width, range); }
    std::shared_ptr<const Coder> operator()(const FloatQuantizer& q) const { return makeFloatCoder(q, width, range, kernels); }
    std::shared_ptr<const Coder> operator()(const KeepQuantizer&) const { return nullptr; }
};

}  // namespace

RowCodec::RowCodec(const Quantizer& quantizer, uint64_t width, const TensorRange& range, const Kernels& kernels)
    : kernels_(&kernels), coder_(std::visit(MakeCoder{width, range, kernels}, quantizer)) {}

void RowCodec::encode(const float* row, uint8_t* codes, float* sides) const {
    const uint32_t bits = kernels_->maxMagnitude(row, width());
    if (bits == 0) {
        coder_->encodeZeros(codes, sides);
    } else if (bits >= kInfinityBits) {
        std::fill_n(codes, width(), uint8_t{0});
        std::fill_n(sides, this->sides(), std::numeric_limits<float>::quiet_NaN());
    } else {
        coder_->encode(row, std::bit_cast<float>(bits), codes, sides);
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
