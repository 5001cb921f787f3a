// One linear in a program, and what it should compute, in double precision.
#pragma once

#include <optional>

#include "graph_support.h"
#include "quantizer/quantizer.h"

namespace quantscope::test {

using Matrix = std::vector<double>;

inline Matrix toDouble(const std::vector<float>& values) { return {values.begin(), values.end()}; }

/// x [rows, inputs] · w [outputs, inputs]ᵀ + b.
inline Matrix product(const Matrix& x, const Matrix& w, size_t inputs, const std::vector<float>& bias) {
    const size_t outputs = w.size() / inputs;
    Matrix y;
    for (size_t row = 0; row < x.size() / inputs; ++row) {
        for (size_t o = 0; o < outputs; ++o) {
            double sum = bias.empty() ? 0 : bias[o];
            for (size_t i = 0; i < inputs; ++i) {
                sum += x[row * inputs + i] * w[o * inputs + i];
            }
            y.push_back(sum);
        }
    }
    return y;
}

struct Linear {
    Linear(Shape x, uint64_t outputs, bool hasBias, uint64_t seed = 1) : model(seed), inputs(x.back()) {
        input = model.input(x);
        weight = model.tensor({outputs, inputs});
        if (hasBias) {
            bias = model.tensor({outputs});
        }
        Shape out = x;
        out.back() = outputs;
        model.add(LinearOp{"layer", input, weight, bias, 0}, out);
    }
    Matrix x() { return toDouble(model.valuesOf(input)); }
    Matrix w() { return toDouble(model.valuesOf(weight)); }
    std::vector<float> b() { return bias ? model.valuesOf(*bias) : std::vector<float>(); }

    Model model;
    uint64_t inputs;
    Buffer input;
    Stored weight;
    std::optional<Stored> bias;
};

inline std::vector<Transform> rpbh(std::optional<uint64_t> seed) {
    return seed ? std::vector<Transform>{RpbhTransform{*seed}} : std::vector<Transform>();
}

inline const Quantizer kQuantizers[] = {CodebookQuantizer{2, FloatType::Bf16},
                                 CodebookQuantizer{4, FloatType::Fp16},
                                 CodebookQuantizer{8, FloatType::Fp32},
                                 IntQuantizer{4, true, Granularity::Row, 0, FloatType::Fp16},
                                 IntQuantizer{4, false, Granularity::Group, 12, FloatType::Bf16},
                                 IntQuantizer{8, false, Granularity::Row, 0, FloatType::Fp32},
                                 IntQuantizer{8, true, Granularity::Tensor, 0, FloatType::Fp32},
                                 IntQuantizer{3, false, Granularity::Tensor, 0, FloatType::Fp16},
                                 KeepQuantizer{FloatType::Bf16},
                                 KeepQuantizer{FloatType::Fp16},
                                 KeepQuantizer{}};

}  // namespace quantscope::test
