#include "quantizer/quantizer.h"

#include <cmath>
#include <string>

#include "base/error.h"
#include "quantizer/codebook.h"
#include "quantizer/integer.h"

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

}  // namespace

void validate(const Quantizer& quantizer, uint64_t width, const std::string& name) {
    if (const auto* integer = std::get_if<IntQuantizer>(&quantizer)) {
        validateInteger(*integer, width, name);
    } else if (const auto* codebook = std::get_if<CodebookQuantizer>(&quantizer)) {
        if (codebook->bits < 1 || codebook->bits > 8) {
            failArgument(name + ".bits: a codebook has 1 to 8 bits, got " + std::to_string(codebook->bits));
        }
    }
}

std::unique_ptr<RowQuantizer> makeRowQuantizer(const Quantizer& quantizer, uint64_t width, const TensorRange& range) {
    validate(quantizer, width);
    if (const auto* integer = std::get_if<IntQuantizer>(&quantizer)) {
        return std::make_unique<IntegerRows>(*integer, width, range);
    }
    if (const auto* codebook = std::get_if<CodebookQuantizer>(&quantizer)) {
        return std::make_unique<CodebookRows>(*codebook, width);
    }
    return std::make_unique<KeepRows>(std::get<KeepQuantizer>(quantizer).type);
}

}  // namespace quantscope
