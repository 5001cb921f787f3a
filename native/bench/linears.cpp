#include "linears.h"

#include <memory>
#include <utility>

#include "integer/operands.h"
#include "linear/gemm.h"
#include "quantizer/row_codec.h"

namespace quantscope {

namespace {

struct Coded {
    std::vector<uint8_t> codes;
    std::vector<float> sides;
};

Coded encode(const Quantizer& quantizer, const std::vector<float>& rows) {
    const RowCodec codec(quantizer, kLinearWidth, {}, kernels());
    const size_t count = rows.size() / kLinearWidth;
    Coded result{std::vector<uint8_t>(rows.size()), std::vector<float>(count * codec.sides())};
    for (size_t i = 0; i < count; ++i) {
        codec.encode(rows.data() + i * kLinearWidth, result.codes.data() + i * kLinearWidth, result.sides.data() + i * codec.sides());
    }
    return result;
}

Quantizer integers(int bits, uint64_t group) { return IntQuantizer{bits, true, group == 0 ? Granularity::Row : Granularity::Group, group}; }

}  // namespace

std::vector<Subject> linears(size_t rows, const ProductKernels& level, const std::vector<std::string>& names) {
    const auto x = std::make_shared<std::vector<float>>(bell(rows * kLinearWidth, 3));
    const auto w = std::make_shared<std::vector<float>>(bell(kLinearWidth * kLinearWidth, 4));
    const auto y = std::make_shared<std::vector<float>>(rows * kLinearWidth);
    const double operations = 2.0 * static_cast<double>(rows) * kLinearWidth * kLinearWidth;
    std::vector<Subject> subjects;
    subjects.push_back({"fp32", [=] {
                            multiplyTransposed(rows, kLinearWidth, kLinearWidth, 1.0f, x->data(), kLinearWidth, w->data(), kLinearWidth, 0.0f, y->data(),
                                               kLinearWidth);
                            return operations;
                        }});
    const std::pair<const char*, std::pair<Quantizer, Quantizer>> all[] = {
        {"W8A8", {integers(8, 0), integers(8, 0)}},
        {"W4A8/g128", {integers(4, 128), integers(8, 0)}},
        {"W4A4/row", {integers(4, 0), integers(4, 0)}},
        {"W4A4/g128", {integers(4, 128), integers(4, 0)}},
        {"W4A4/g64", {integers(4, 64), integers(4, 64)}},
        {"W4A4/g32", {integers(4, 32), integers(4, 32)}},
        {"W4A4/codebook", {CodebookQuantizer{4}, CodebookQuantizer{4}}},
        {"W4A8/codebook", {CodebookQuantizer{4}, integers(8, 0)}},
    };
    for (const auto& [name, quantizers] : all) {
        if (!names.empty() && std::find(names.begin(), names.end(), name) == names.end()) {
            continue;
        }
        const auto plan = std::get<IntegerPlan>(planInteger(quantizers.first, quantizers.second, kLinearWidth, level));
        const Coded codedW = encode(quantizers.first, *w);
        const auto weight = std::make_shared<IntegerWeight>(plan, kLinearWidth, codedW.codes.data(), codedW.sides.data());
        const auto codedX = std::make_shared<Coded>(encode(quantizers.second, *x));
        const auto packed = std::make_shared<IntegerInputs>(plan, rows, level);
        const auto scratch = std::make_shared<IntegerScratch>();
        const auto pack = [=] {
            const size_t sides = codedX->sides.size() / rows;
            for (size_t t = 0; t < packed->tiles(); ++t) {
                packed->fill(t, codedX->codes.data() + packed->firstRow(t) * kLinearWidth, codedX->sides.data() + packed->firstRow(t) * sides);
            }
        };
        const auto product = [=, &level] {
            std::fill(y->begin(), y->end(), 0.0f);
            multiplyIntegers(*packed, {0, packed->tiles()}, *weight, {0, weight->panels()}, y->data(), kLinearWidth, level, *scratch);
        };
        pack();
        subjects.push_back({name, [=] { return product(), operations; }});
        if (names.empty()) {
            subjects.push_back({name + std::string("/pack"), [=] { return pack(), product(), operations; }});
        }
    }
    return subjects;
}

}  // namespace quantscope
