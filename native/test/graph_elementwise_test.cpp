// Ops that take values one by one, sources and norms against plain loops in double precision.
#include <gtest/gtest.h>

#include <limits>

#include "base/error.h"
#include "graph_support.h"

namespace quantscope {
namespace {

using test::expectClose;
using test::kOddRows;
using test::Model;

double silu(double x) { return x / (1 + std::exp(-x)); }
double geluTanh(double x) { return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x))); }

TEST(GraphElementwise, Unary) {
    const std::pair<UnaryKind, double (*)(double)> kinds[] = {{UnaryKind::Silu, silu},
                                                              {UnaryKind::GeluTanh, geluTanh},
                                                              {UnaryKind::Tanh, [](double x) { return std::tanh(x); }},
                                                              {UnaryKind::Relu, [](double x) { return std::max(x, 0.0); }}};
    for (const Kernels* level : supportedKernels()) {
        for (const auto& [kind, function] : kinds) {
            Model model;
            const Buffer x = model.input({2003});
            auto& values = model.valuesOf(x);
            for (size_t i = 0; i < values.size(); ++i) {
                values[i] *= i % 3 == 0 ? 0.01f : i % 3 == 1 ? 1.0f : 8.0f;
            }
            values[0] = 0;
            values[1] = -200;
            values[2] = 200;
            model.add(UnaryOp{kind, x, 0}, {2003});
            const auto found = model.run(2, *level);
            for (size_t i = 0; i < values.size(); ++i) {
                const double expected = function(values[i]);
                // Relative where the value matters, absolute where the function has died away.
                ASSERT_NEAR(found[i], expected, 1e-6 * std::fabs(expected) + 2e-8)
                    << level->name << " kind " << static_cast<int>(kind) << " x " << values[i];
            }
        }
    }
}

TEST(GraphElementwise, NotANumberStaysSo) {
    for (const UnaryKind kind : {UnaryKind::Silu, UnaryKind::GeluTanh, UnaryKind::Tanh, UnaryKind::Relu}) {
        Model model;
        const Buffer x = model.input({40}, std::vector<float>(40, std::numeric_limits<float>::quiet_NaN()));
        model.add(AffineOp{model.add(UnaryOp{kind, x, 0}, {40}), 2, 1, -1.0, 1.0, 0}, {40});
        for (const float y : model.run()) {
            ASSERT_TRUE(std::isnan(y)) << static_cast<int>(kind);
        }
    }
}

TEST(GraphElementwise, Affine) {
    Model model;
    const Buffer x = model.input({501});
    model.add(AffineOp{x, 1.5, -0.25, -1.0, std::nullopt, 0}, {501});
    std::vector<double> expected;
    for (const double v : model.valuesOf(x)) {
        expected.push_back(std::max(1.5 * v - 0.25, -1.0));
    }
    expectClose(model.run(), expected);
}

TEST(GraphElementwise, ModulateAndGateAdd) {
    for (const Shape& shape : kOddRows) {
        Model model;
        const Buffer x = model.input(shape);
        const Buffer shift = model.input({shape[1]});
        const Buffer scale = model.input({1, shape[1]});
        const Buffer modulated = model.add(ModulateOp{x, shift, scale, 0}, shape);
        model.add(GateAddOp{x, scale, modulated, 0}, shape);
        std::vector<double> expected;
        for (size_t i = 0; i < elementsOf(shape); ++i) {
            const double s = model.valuesOf(scale)[i % shape[1]];
            const double v = model.valuesOf(x)[i];
            expected.push_back(v + s * (v * (1 + s) + model.valuesOf(shift)[i % shape[1]]));
        }
        expectClose(model.run(), expected);
    }
}

TEST(GraphElementwise, BinaryBroadcastsLikeNumpy) {
    struct Case {
        Shape a, b, out;
    };
    const Case cases[] = {{{7, 33}, {7, 33}, {7, 33}},
                          {{7, 33}, {33}, {7, 33}},
                          {{7, 33}, {7, 1}, {7, 33}},
                          {{1}, {5, 3}, {5, 3}},
                          {{}, {5, 3}, {5, 3}},
                          {{4, 1, 6}, {5, 1}, {4, 5, 6}},
                          {{3, 1, 1}, {3, 9, 11}, {3, 9, 11}},
                          {{}, {}, {}},
                          {{6, 1, 4}, {1, 5, 1}, {6, 5, 4}}};
    for (const Case& each : cases) {
        for (const BinaryKind kind : {BinaryKind::Add, BinaryKind::Sub, BinaryKind::Mul}) {
            Model model;
            const Buffer a = model.input(each.a);
            const Buffer b = model.input(each.b);
            model.add(BinaryOp{kind, a, b, 0}, each.out);
            // The index along an axis of the result, applied to an operand whose last axes stand under it.
            const auto at = [&](Buffer buffer, const Shape& shape, size_t flat) {
                size_t index = 0;
                size_t step = 1;
                for (size_t i = 0; i < each.out.size(); ++i) {
                    const size_t position = flat % each.out[each.out.size() - 1 - i];
                    flat /= each.out[each.out.size() - 1 - i];
                    if (i < shape.size()) {
                        const size_t size = shape[shape.size() - 1 - i];
                        index += (size == 1 ? 0 : position) * step;
                        step *= size;
                    }
                }
                return static_cast<double>(model.valuesOf(buffer)[index]);
            };
            std::vector<double> expected;
            for (size_t i = 0; i < elementsOf(each.out); ++i) {
                const double x = at(a, each.a, i);
                const double y = at(b, each.b, i);
                expected.push_back(kind == BinaryKind::Add ? x + y : kind == BinaryKind::Sub ? x - y : x * y);
            }
            expectClose(model.run(), expected);
        }
    }
}

TEST(GraphElementwise, Rope) {
    Model model;
    constexpr size_t kTokens = 13, kHeads = 3, kPairs = 5, kWidth = kHeads * kPairs * 2;
    const Buffer x = model.input({kTokens, kWidth});
    const Buffer cos = model.input({kTokens, kPairs});
    const Buffer sin = model.input({kTokens, kPairs});
    model.add(RopeOp{x, cos, sin, kHeads, 0}, {kTokens, kWidth});
    std::vector<double> expected(kTokens * kWidth);
    for (size_t i = 0; i < expected.size(); i += 2) {
        const size_t angle = i / kWidth * kPairs + i % kWidth % (2 * kPairs) / 2;
        const double a = model.valuesOf(x)[i], b = model.valuesOf(x)[i + 1];
        const double c = model.valuesOf(cos)[angle], s = model.valuesOf(sin)[angle];
        expected[i] = a * c - b * s;
        expected[i + 1] = a * s + b * c;
    }
    expectClose(model.run(), expected);
}

TEST(GraphNorms, LayerNormAndRmsNorm) {
    for (const Shape& shape : kOddRows) {
        const size_t width = shape[1];
        for (const bool affine : {false, true}) {
            Model model;
            const Buffer x = model.input(shape);
            for (float& v : model.valuesOf(x)) {
                v = 3 * v + 20;  // far from zero mean
            }
            const Stored weight = model.tensor({width});
            const Stored bias = model.tensor({width});
            model.add(LayerNormOp{x, 1e-6, affine ? std::optional(weight) : std::nullopt,
                                  affine ? std::optional(bias) : std::nullopt, 0},
                      shape);
            const auto normalised = model.run();
            Model rms;
            const Buffer y = rms.input(shape, model.valuesOf(x));
            rms.add(RmsNormOp{y, 1e-5, weight, 0}, shape);
            const auto scaled = rms.run();
            const auto w = model.valuesOf(weight);
            const auto b = model.valuesOf(bias);
            for (size_t row = 0; row < shape[0]; ++row) {
                const float* v = model.valuesOf(x).data() + row * width;
                double mean = 0, squares = 0, variance = 0;
                for (size_t i = 0; i < width; ++i) {
                    mean += v[i] / static_cast<double>(width);
                    squares += static_cast<double>(v[i]) * v[i] / static_cast<double>(width);
                }
                for (size_t i = 0; i < width; ++i) {
                    variance += (v[i] - mean) * (v[i] - mean) / static_cast<double>(width);
                }
                for (size_t i = 0; i < width && width > 1; ++i) {  // of one value, rounding of the mean is all that is left
                    const double plain = (v[i] - mean) / std::sqrt(variance + 1e-6);
                    ASSERT_NEAR(normalised[row * width + i], affine ? plain * w[i] + b[i] : plain, 5e-6 * (1 + std::fabs(plain)));
                    ASSERT_NEAR(scaled[row * width + i], v[i] / std::sqrt(squares + 1e-5) * w[i], 2e-6 * (1 + std::fabs(w[i])));
                }
            }
        }
    }
}

TEST(GraphNorms, GroupNormAndChannelNorm) {
    const Shape shape{12, 3, 17, 5};
    constexpr size_t kSize = 3 * 17 * 5;
    Model model;
    const Buffer x = model.input(shape);
    const Stored weight = model.tensor({12});
    const Stored bias = model.tensor({12});
    const auto v = model.valuesOf(x);
    const auto w = model.valuesOf(weight);
    const auto b = model.valuesOf(bias);
    model.add(GroupNormOp{x, 4, 1e-6, weight, bias, 0}, shape);
    std::vector<double> expected(v.size());
    for (size_t group = 0; group < 4; ++group) {
        double mean = 0, variance = 0;
        for (size_t i = group * 3 * kSize; i < (group + 1) * 3 * kSize; ++i) {
            mean += v[i] / (3.0 * kSize);
        }
        for (size_t i = group * 3 * kSize; i < (group + 1) * 3 * kSize; ++i) {
            variance += (v[i] - mean) * (v[i] - mean) / (3.0 * kSize);
        }
        for (size_t i = group * 3 * kSize; i < (group + 1) * 3 * kSize; ++i) {
            expected[i] = (v[i] - mean) / std::sqrt(variance + 1e-6) * w[i / kSize] + b[i / kSize];
        }
    }
    expectClose(model.run(), expected);

    Model channels;
    const Buffer y = channels.input(shape, v);
    channels.add(ChannelNormOp{y, weight, 0}, shape);
    for (size_t i = 0; i < kSize; ++i) {
        double squares = 0;
        for (size_t c = 0; c < 12; ++c) {
            squares += static_cast<double>(v[c * kSize + i]) * v[c * kSize + i];
        }
        for (size_t c = 0; c < 12; ++c) {
            expected[c * kSize + i] = v[c * kSize + i] / std::sqrt(squares) * std::sqrt(12.0) * w[c];
        }
    }
    expectClose(channels.run(), expected);
}

TEST(GraphSources, ConstantTensorAndRow) {
    Model model;
    const Buffer constant = model.add(ConstantOp{{1, 2, 3}, 0}, {3});
    const Stored table = model.tensor({5, 3});
    const Buffer index = model.input({1}, {2.6f});
    const Buffer row = model.add(RowOp{table, index, 0}, {3});
    const Stored tensor = model.tensor({1, 3});
    const Buffer data = model.add(TensorOp{tensor, 0}, {3});
    model.add(BinaryOp{BinaryKind::Add, model.add(BinaryOp{BinaryKind::Mul, constant, row, 0}, {3}), data, 0}, {3});
    std::vector<double> expected;
    for (size_t i = 0; i < 3; ++i) {
        expected.push_back(static_cast<double>(i + 1) * model.valuesOf(table)[9 + i] + model.valuesOf(tensor)[i]);
    }
    expectClose(model.run(), expected);
    for (const float wrong : {-1.0f, 4.6f, std::numeric_limits<float>::quiet_NaN(), 1e30f}) {
        model.valuesOf(index) = {wrong};
        try {
            model.run();
            ADD_FAILURE() << wrong;
        } catch (const Error& error) {
            EXPECT_EQ(error.code(), ErrorCode::Argument);
            EXPECT_NE(std::string(error.what()).find("rows 0 to 4"), std::string::npos) << error.what();
        }
    }
}

TEST(GraphSources, TensorsOfEveryTypeAndALongOne) {
    const std::vector<uint16_t> halves{0x3C00, 0xC000, 0x3800};  // 1, -2, 0.5 as F16
    const test::TemporaryFile file(test::bytesOf(halves));
    Model model;
    model.add(TensorOp{{test::tensorIn(file, Dtype::F16, {3}), nullptr}, 0}, {3, 1});
    expectClose(model.run(), {1, -2, 0.5});

    Model longer;
    const Stored tensor = longer.tensor({3, 200'001});
    longer.add(TensorOp{tensor, 0}, {200'001, 3});
    EXPECT_EQ(longer.run(), longer.valuesOf(tensor));
}

TEST(GraphSources, Timestep) {
    for (const auto& [shift, scale, t] : {std::tuple{0.0, 1.0, 981.0f}, {1.0, 1.0, 437.0f}, {0.0, 1000.0, 0.7f}}) {
        Model model;
        const Buffer time = model.input({1}, {t});
        model.add(TimestepOp{time, 256, shift, scale, 0}, {256});
        std::vector<double> expected(256);
        for (int k = 0; k < 128; ++k) {
            const double argument = scale * t * std::exp(-std::log(10000.0) * k / (128 - shift));
            expected[static_cast<size_t>(k)] = std::cos(argument);
            expected[static_cast<size_t>(k) + 128] = std::sin(argument);
        }
        expectClose(model.run(), expected, 2e-4);  // float32 arguments of up to 1000, as the models have them
    }
}

}  // namespace
}  // namespace quantscope
