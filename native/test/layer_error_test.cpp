// A synthetic layer with outlier channels: what rotation, codebooks and groups give at its output. The numbers are those of
// OrbitQuant's setting, 3072 inputs of which six are 40 times as large. How the outliers were drawn is not known, and what absmax
// scales make of them hangs on it: those are held to 15 %, the quantizers of fixed marginal to 9 %.
#include <gtest/gtest.h>

#include "quantizer/row_codec.h"
#include "rotation/rpbh.h"
#include "support.h"

namespace quantscope {
namespace {

constexpr size_t kWidth = 3072;
constexpr size_t kTokens = 96;
constexpr size_t kOutputs = 192;

struct Layer {
    std::vector<float> x = test::Gaussian(1).floats(kTokens * kWidth);
    std::vector<float> w = test::Gaussian(2).floats(kOutputs * kWidth);
    Layer() {
        for (size_t i = 0; i < x.size(); ++i) {
            x[i] *= i % kWidth % 512 == 100 ? 40.0f : 1.0f;
        }
    }
};

std::vector<float> quantized(const std::vector<float>& rows, const Quantizer& quantizer, bool rotate) {
    const RowCodec codec(quantizer, kWidth, {}, kernels());
    const auto rotation = rotationFor(kWidth, 0);
    std::vector<uint8_t> codes(kWidth);
    std::vector<float> sides(codec.sides());
    std::vector<float> result(rows);
    for (size_t i = 0; i < rows.size(); i += kWidth) {
        if (rotate) {
            rotation->apply(rows.data() + i, result.data() + i, kernels());
        }
        codec.encode(result.data() + i, codes.data(), sides.data());
        codec.decode(codes.data(), sides.data(), result.data() + i);
    }
    return result;
}

double dot(const float* a, const float* b) {
    double sum = 0;
    for (size_t i = 0; i < kWidth; ++i) {
        sum += static_cast<double>(a[i]) * b[i];
    }
    return sum;
}

/// |Y - Y quantized|^2 / |Y|^2. Rotated products need no rotation back.
double outputError(const Layer& layer, const Quantizer& weights, const Quantizer& activations, bool rotate) {
    const auto w = quantized(layer.w, weights, rotate);
    const auto x = quantized(layer.x, activations, rotate);
    double error = 0;
    double energy = 0;
    for (size_t t = 0; t < kTokens; ++t) {
        for (size_t o = 0; o < kOutputs; ++o) {
            const double exact = dot(layer.x.data() + t * kWidth, layer.w.data() + o * kWidth);
            error += std::pow(exact - dot(x.data() + t * kWidth, w.data() + o * kWidth), 2);
            energy += exact * exact;
        }
    }
    return error / energy;
}

TEST(LayerError, IsThatOfTheOrbitQuantTable) {
    const Layer layer;
    const auto row = [](int bits) { return IntQuantizer{bits, true, Granularity::Row, 0, FloatType::Fp32}; };
    const auto g64 = [](int bits) { return IntQuantizer{bits, true, Granularity::Group, 64, FloatType::Fp32}; };
    const auto book = [](int bits) { return CodebookQuantizer{bits, FloatType::Bf16}; };
    const auto rise = [](int bits) { return MidRiseQuantizer{bits, FloatType::Bf16}; };
    const struct {
        const char* name;
        Quantizer weights;
        Quantizer activations;
        bool rotate;
        double error;
    } table[] = {
        {"W4A4 RPBH per row", row(4), row(4), true, .0394},  {"W4A4 RPBH g64", g64(4), g64(4), true, .0173},
        {"W4A4 OrbitQuant", book(4), book(4), true, .0182},  {"W4A6 RPBH g64", g64(4), g64(6), true, .0111},
        {"W4A6 OrbitQuant", book(4), book(6), true, .0097},  {"W3A3 RPBH g64", g64(3), g64(3), true, .0948},
        {"W3A3 OrbitQuant", book(3), book(3), true, .0639},  {"W2A4 RPBH g64", g64(2), g64(4), true, .492},
        {"W2A4 OrbitQuant", book(2), book(4), true, .1185},  {"W2A3 RPBH g64", g64(2), g64(3), true, .530},
        {"W2A3 OrbitQuant", book(2), book(3), true, .1407},  {"W4A4 mid-rise", rise(4), rise(4), true, .0215},
        {"W4A6 mid-rise", rise(4), rise(6), true, .0112},    {"W3A3 mid-rise", rise(3), rise(3), true, .0743},
        {"W2A4 mid-rise", rise(2), rise(4), true, .1237},    {"W2A3 mid-rise", rise(2), rise(3), true, .1490},
    };
    for (const auto& [name, weights, activations, rotate, error] : table) {
        const double tolerance = std::holds_alternative<IntQuantizer>(weights) ? 0.15 : 0.09;
        EXPECT_NEAR(outputError(layer, weights, activations, rotate), error, tolerance * error) << name;
    }
    // Without rotation one scale per row drowns in the outliers; groups keep them apart (.185 and .0274 in the literature).
    const double rows = outputError(layer, row(4), row(4), false);
    const double groups = outputError(layer, g64(4), g64(4), false);
    EXPECT_GT(rows, 0.15);
    EXPECT_GT(rows, 5 * groups);
    EXPECT_GT(groups, outputError(layer, g64(4), g64(4), true));
}

}  // namespace
}  // namespace quantscope
