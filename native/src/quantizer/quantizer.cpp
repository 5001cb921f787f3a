#include "quantizer/quantizer.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "base/error.h"
#include "quantizer/codebook.h"
#include "quantizer/coder.h"
#include "quantizer/integer.h"
#include "quantizer/row_codec.h"
#include "quantizer/small_float.h"
#include "quantizer/twin_log.h"

namespace quantscope {

namespace {

class KeepRows final : public RowQuantizer {
public:
    explicit KeepRows(std::optional<FloatType> type) : type_(type) {}

    double squaredError(const Row& row, const Kernels& kernels) const override {
        if (!type_) {
            return 0.0;
        }
        if (row.exponent == 0 && row.exact == nullptr) {
            return kernels.castError(row.values, row.width, *type_);
        }
        // Rounding depends on the true magnitude and on every stored bit. Rows beyond 2^+-40 and F64 are rare: a plain loop.
        double sum = 0;
        for (size_t i = 0; i < row.width; ++i) {
            const double value = row.exact != nullptr ? row.exact[i] : std::ldexp(row.values[i], row.exponent);
            const double error = std::ldexp(value - roundTo(*type_, value), -row.exponent);
            sum += error * error;
        }
        return sum;
    }

private:
    std::optional<FloatType> type_;
};

/// Error of a quantizer without a kernel of its own: encode, decode, compare.
class CodedRows final : public RowQuantizer {
public:
    CodedRows(const Quantizer& quantizer, uint64_t width, const TensorRange& range) : quantizer_(quantizer), width_(width), range_(range) {}

    double squaredError(const Row& row, const Kernels& kernels) const override {
        const RowCodec codec(quantizer_, width_, range_, kernels);
        std::vector<uint8_t> codes(width_);
        std::vector<float> sides(codec.sides());
        std::vector<float> decoded(row.values, row.values + width_);
        kernels.multiply(decoded.data(), width_, std::ldexp(1.0f, row.exponent));
        codec.encode(decoded.data(), codes.data(), sides.data());
        codec.decode(codes.data(), sides.data(), decoded.data());
        double sum = 0;
        for (size_t i = 0; i < width_; ++i) {
            const double error = row.values[i] - std::ldexp(static_cast<double>(decoded[i]), -row.exponent);
            sum += error * error;
        }
        return sum;
    }

private:
    Quantizer quantizer_;
    uint64_t width_;
    TensorRange range_;
};

struct Validate {
    uint64_t width;
    const std::string& name;

    void operator()(const IntQuantizer& q) const { validateInteger(q, width, name); }
    void operator()(const CodebookQuantizer& q) const { oneToEight(q.bits, "a codebook"); }
    void operator()(const MidRiseQuantizer& q) const { oneToEight(q.bits, "a mid-rise quantizer"); }
    void operator()(const TwinLogQuantizer& q) const { validateTwinLog(q, name); }
    void operator()(const FloatQuantizer& q) const { validateFloat(q, width, name); }
    void operator()(const KeepQuantizer&) const {}

    void oneToEight(int bits, const char* what) const {
        if (bits < 1 || bits > 8) {
            failArgument(name + ".bits: " + what + " has 1 to 8 bits, got " + std::to_string(bits));
        }
    }
};

}  // namespace

void TensorRange::merge(const TensorRange& other) {
    lowest = std::min(lowest, other.lowest);
    highest = std::max(highest, other.highest);
    errors.resize(std::max(errors.size(), other.errors.size()));
    for (size_t i = 0; i < other.errors.size(); ++i) {
        errors[i] += other.errors[i];
    }
}

bool needsTensorRange(const Quantizer& quantizer) {
    if (const auto* integer = std::get_if<IntQuantizer>(&quantizer)) {
        return integer->granularity == Granularity::Tensor;
    }
    if (const auto* small = std::get_if<FloatQuantizer>(&quantizer)) {
        return small->granularity == Granularity::Tensor || small->format == FloatFormat::Nvfp4;
    }
    const auto* twinLog = std::get_if<TwinLogQuantizer>(&quantizer);
    return twinLog != nullptr && twinLog->released;
}

void observe(const Quantizer& quantizer, const float* row, size_t width, int exponent, const Kernels& kernels, TensorRange& range) {
    const auto* twinLog = std::get_if<TwinLogQuantizer>(&quantizer);
    if (twinLog == nullptr) {
        const Range found = kernels.range(row, width);
        range.lowest = std::min(range.lowest, std::ldexp(static_cast<double>(found.lowest), exponent));
        range.highest = std::max(range.highest, std::ldexp(static_cast<double>(found.highest), exponent));
        return;
    }
    const ScaledRow unscaled(row, width, -exponent, kernels);
    observeTwinLog(*twinLog, unscaled.values(), width, range);
}

void validate(const Quantizer& quantizer, uint64_t width, const std::string& name) { std::visit(Validate{width, name}, quantizer); }

std::unique_ptr<RowQuantizer> makeRowQuantizer(const Quantizer& quantizer, uint64_t width, const TensorRange& range) {
    validate(quantizer, width);
    if (const auto* integer = std::get_if<IntQuantizer>(&quantizer); integer != nullptr && !integer->shift) {
        return std::make_unique<IntegerRows>(*integer, width, range);
    }
    if (const auto* codebook = std::get_if<CodebookQuantizer>(&quantizer)) {
        return std::make_unique<CodebookRows>(*codebook, width);
    }
    if (const auto* keep = std::get_if<KeepQuantizer>(&quantizer)) {
        return std::make_unique<KeepRows>(keep->type);
    }
    return std::make_unique<CodedRows>(quantizer, width, range);
}

}  // namespace quantscope
