// Linears: full precision, and quantized against explicitly dequantized weights and activations.
#include <gtest/gtest.h>

#include <limits>

#include "base/error.h"
#include "graph_linear_support.h"
#include "measure/measure.h"
#include "quantizer/codebook.h"

namespace quantscope {
namespace {

using test::expectClose;
using test::kQuantizers;
using test::Linear;
using test::Matrix;
using test::Model;
using test::product;
using test::rpbh;
using test::toDouble;

TEST(GraphLinear, FullPrecision) {
    struct Case {
        Shape x;
        uint64_t outputs;
        bool bias;
    };
    for (const Case& c : {Case{{1, 1}, 1, false},
                          {{1, 37}, 5, true},
                          {{300}, 97, true},
                          {{3, 129}, 200, true},
                          {{64, 48}, 96, false},
                          {{2, 5, 33}, 193, true},
                          {{700, 20}, 100, true}}) {
        Linear linear(c.x, c.outputs, c.bias, c.outputs);
        expectClose(linear.model.run(), product(linear.x(), linear.w(), linear.inputs, linear.b()), 5e-6);
    }
}

TEST(GraphLinear, WeightsOfEveryTypeAndWithManyAxes) {
    Model model;
    const Buffer x = model.input({4, 30});
    auto values = test::Gaussian(3).floats(11 * 30);
    const auto stored = test::toBF16(values);
    for (size_t i = 0; i < values.size(); ++i) {
        values[i] = std::bit_cast<float>(static_cast<uint32_t>(stored[i]) << 16);
    }
    const test::TemporaryFile file(test::bytesOf(stored));
    model.add(LinearOp{"patch", x, Stored{test::tensorIn(file, Dtype::BF16, {11, 5, 3, 2}), nullptr}, {}, 0}, {4, 11});
    expectClose(model.run(), product(toDouble(model.valuesOf(x)), toDouble(values), 30, {}), 5e-6);
}

/// Row by row from the definitions, in double; `x` of any rows.
Matrix quantizePlainly(Matrix x, size_t width, const Quantizer& quantizer) {
    double all[2] = {0, 0};
    for (const double v : x) {
        all[0] = std::min(all[0], v);
        all[1] = std::max(all[1], v);
    }
    for (size_t start = 0; start < x.size(); start += width) {
        double* row = x.data() + start;
        if (const auto* codebook = std::get_if<CodebookQuantizer>(&quantizer)) {
            const auto book = codebookFor(width, codebook->bits);
            double norm = 0;
            for (size_t i = 0; i < width; ++i) {
                norm += row[i] * row[i];
            }
            norm = std::sqrt(norm);
            for (size_t i = 0; i < width && norm > 0; ++i) {
                double best = book->levels[0];
                for (const double level : book->levels) {
                    best = std::fabs(row[i] / norm - level) < std::fabs(row[i] / norm - best) ? level : best;
                }
                row[i] = roundTo(codebook->norm, norm) * best;
            }
        } else if (const auto* integer = std::get_if<IntQuantizer>(&quantizer)) {
            const size_t group = integer->granularity == Granularity::Group ? integer->group : width;
            for (size_t first = 0; first < width; first += group) {
                double low = 0, high = 0;
                for (size_t i = first; i < first + group; ++i) {
                    low = std::min(low, row[i]);
                    high = std::max(high, row[i]);
                }
                if (integer->granularity == Granularity::Tensor) {
                    low = all[0];
                    high = all[1];
                }
                const double steps = std::ldexp(1.0, integer->bits) - 1;
                const double half = std::ldexp(1.0, integer->bits - 1);
                const double scale =
                    roundTo(integer->scale, integer->symmetric ? std::max(-low, high) / (half - 1) : (high - low) / steps);
                const double zero = integer->symmetric ? half : std::clamp(std::nearbyint(-low / scale), 0.0, steps);
                for (size_t i = first; i < first + group; ++i) {
                    row[i] = (std::clamp(std::nearbyint(row[i] / scale) + zero, 0.0, steps) - zero) * scale;
                }
            }
        } else if (const auto type = std::get<KeepQuantizer>(quantizer).type) {
            for (size_t i = 0; i < width; ++i) {
                row[i] = roundTo(*type, row[i]);
            }
        }
    }
    return x;
}

/// Values within rounding of a threshold may fall on either side in float and in double: few, and each by one step.
void expectMostlyClose(const std::vector<float>& found, const Matrix& expected) {
    ASSERT_EQ(found.size(), expected.size());
    double error = 0, energy = 0;
    for (size_t i = 0; i < found.size(); ++i) {
        error += (found[i] - expected[i]) * (found[i] - expected[i]);
        energy += expected[i] * expected[i];
    }
    EXPECT_LT(std::sqrt(error / energy), 2e-4);
}

TEST(GraphLinear, QuantizedLikeTheDefinition) {
    constexpr size_t kWidth = 96;
    for (const bool rotated : {false, true}) {
        for (const Quantizer& weights : kQuantizers) {
            for (const Quantizer& activations : kQuantizers) {
                Linear linear({5, kWidth}, 40, true);
                linear.model.request.recipes["layer"] = {rpbh(rotated ? std::optional<uint64_t>(7) : std::nullopt), weights,
                                                         activations};
                const auto turn = [&](Matrix rows) {
                    Matrix result;
                    for (size_t start = 0; start < rows.size(); start += kWidth) {
                        const auto row = test::rotatePlainly(*rotationFor(kWidth, 7), std::span(rows).subspan(start, kWidth));
                        result.insert(result.end(), row.begin(), row.end());
                    }
                    return rotated ? result : rows;
                };
                const Matrix x = quantizePlainly(turn(linear.x()), kWidth, activations);
                const Matrix w = quantizePlainly(turn(linear.w()), kWidth, weights);
                const Matrix expected = product(x, w, kWidth, linear.b());
                const auto found = linear.model.run();
                expectMostlyClose(found, expected);
                if (isKept(weights) && isKept(activations)) {
                    expectClose(found, product(linear.x(), linear.w(), kWidth, linear.b()), 5e-6);
                }
            }
        }
    }
}

TEST(GraphLinear, WeightErrorIsTheMeasuredOne) {
    constexpr uint64_t kRows = 64, kWidth = 96;
    for (const std::optional<uint64_t> seed : {std::optional<uint64_t>(), std::optional<uint64_t>(3)}) {
        for (const Quantizer& quantizer : kQuantizers) {
            // The identity as input reads the dequantized weight out, in rotated coordinates when it is rotated.
            Model model;
            std::vector<float> identity(kWidth * kWidth, 0.0f);
            for (size_t i = 0; i < kWidth; ++i) {
                identity[i * kWidth + i] = 1;
            }
            const Buffer x = model.input({kWidth, kWidth}, identity);
            const Stored weight = model.tensor({kRows, kWidth});
            model.add(LinearOp{"layer", x, weight, {}, 0}, {kWidth, kRows});
            model.request.recipes["layer"] = {rpbh(seed), quantizer, KeepQuantizer{}};
            const auto found = model.run();
            const auto original = model.valuesOf(weight);
            double error = 0, energy = 0;
            for (size_t o = 0; o < kRows; ++o) {
                for (size_t i = 0; i < kWidth; ++i) {
                    const double w = original[o * kWidth + i];
                    error += (found[i * kRows + o] - w) * (found[i * kRows + o] - w);
                    energy += w * w;
                }
            }
            MeasureRequest request;
            request.tensor = weight.ref;
            request.rotationSeed = seed;
            request.weights = quantizer;
            ThreadPool pool(2);
            const double measured = measure(request, pool, Cancellation{}, [](double) {}, kernels()).relativeMse;
            EXPECT_NEAR(error / energy, measured, 2e-6 * measured + 1e-12);
        }
    }
}

/// A shift is added before channels are scaled: codes of (x + shift) v without a sign, and v · shift taken off again.
TEST(GraphLinear, AShiftIsOfTheInputsThemselves) {
    constexpr size_t kWidth = 48, kGroup = 12;
    constexpr double kShift = 0.171875;
    for (const bool scaled : {false, true}) {
        for (const uint64_t group : {kWidth, kGroup}) {
            Linear linear({7, kWidth}, 20, true);
            for (float& value : linear.model.valuesOf(linear.input)) {
                value = std::max(value, -0.17f);
            }
            std::vector<float> factors(kWidth, 1.0f);
            LinearRecipe recipe{{}, KeepQuantizer{}, IntQuantizer{4, true, Granularity::Group, group, FloatType::Fp32, {}, false, false, kShift}};
            if (scaled) {
                for (size_t i = 0; i < kWidth; ++i) {
                    factors[i] = 0.25f + static_cast<float>(i % 7);
                }
                recipe.transforms = {ScaleTransform{linear.model.tensor({kWidth}, factors).ref}};
            }
            linear.model.request.recipes["layer"] = recipe;
            Matrix x = linear.x();
            for (size_t start = 0; start < x.size(); start += group) {
                const auto factor = [&](size_t i) { return static_cast<double>(factors[i % kWidth]); };
                double top = 0;
                for (size_t i = start; i < start + group; ++i) {
                    top = std::max(top, (x[i] + kShift) * factor(i));
                }
                for (size_t i = start; i < start + group; ++i) {
                    const double code = std::nearbyint((x[i] + kShift) * factor(i) / (top / 15));
                    EXPECT_GE(code, 0);  // nothing is cut off
                    x[i] = code * top / 15 / factor(i) - kShift;
                }
            }
            expectMostlyClose(linear.model.run(), product(x, linear.w(), kWidth, linear.b()));
        }
    }
}

TEST(GraphLinear, ProjectionsThatShareAnInputDoNotShareWhatTheirRecipesDoToIt) {
    const auto build = [](Model& model, bool together) {
        const Buffer x = model.input({9, 96});
        const Stored w = model.tensor({20, 96});
        const Stored down = model.tensor({2, 96}), up = model.tensor({20, 2});
        const Quantizer tokens = IntQuantizer{4, false, Granularity::Row, 0, FloatType::Fp16};
        const std::pair<const char*, LinearRecipe> recipes[] = {{"plain", {{}, KeepQuantizer{}, tokens}},
                                                                {"turned", {{HadamardTransform{1}}, KeepQuantizer{}, tokens}},
                                                                {"other seed", {{HadamardTransform{2}}, KeepQuantizer{}, tokens}},
                                                                {"tail", {{HadamardTransform{2}}, KeepQuantizer{}, tokens, 16}},
                                                                {"branch", {{HadamardTransform{2}}, KeepQuantizer{}, tokens, 16, LowRank{down.ref, up.ref}}}};
        std::vector<std::vector<float>> outputs;
        for (const auto& [name, recipe] : recipes) {
            model.add(LinearOp{name, x, w, {}, 0}, {9, 20});
            model.request.recipes[name] = recipe;
            if (!together) {
                outputs.push_back(model.run());
                model.program.ops.clear();
                model.request.recipes.clear();
            }
        }
        if (together) {
            for (Buffer out = static_cast<Buffer>(model.program.buffers.size()) - 5; out < model.program.buffers.size(); ++out) {
                model.program.outputs = {{"y", out}};
                outputs.push_back(model.run());
            }
        }
        return outputs;
    };
    Model one, each;
    const auto together = build(one, true);
    EXPECT_EQ(together, build(each, false));
    for (size_t i = 1; i < together.size(); ++i) {
        EXPECT_NE(together[i], together[i - 1]);
    }
}

TEST(GraphLinear, RefusesRecipesThatDoNotFit) {
    Linear linear({3, 64}, 10, false);
    const auto refused = [&](ErrorCode code, const std::string& message, const std::function<void(LinearRecipe&)>& change) {
        LinearRecipe recipe{{}, IntQuantizer{}, IntQuantizer{}};
        change(recipe);
        linear.model.request.recipes["layer"] = recipe;
        test::expectError(code, message, [&] { linear.model.run(); });
    };
    const auto argument = ErrorCode::Argument;
    const TensorRef down = linear.model.tensor({2, 64}).ref, up = linear.model.tensor({10, 2}).ref, tall = linear.model.tensor({11, 2}).ref;
    const TensorRef bad = linear.model.tensor({10, 2}, std::vector<float>(20, std::numeric_limits<float>::infinity())).ref;
    refused(argument, "recipes[\"layer\"].tail: 64 of 64 inputs leave nothing", [](LinearRecipe& r) { r.tail = 64; });
    refused(argument, "recipes[\"layer\"].weights.group: ", [](LinearRecipe& r) {
        r.tail = 8;
        r.weights = IntQuantizer{4, true, Granularity::Group, 64, FloatType::Fp16};
    });
    refused(argument, "recipes[\"layer\"].transforms[0].values: expected F32 [64]", [&](LinearRecipe& r) { r.transforms = {ScaleTransform{up}}; });
    refused(argument, "recipes[\"layer\"].lowRank.down: expected BF16 or F32 [rank, 64]", [&](LinearRecipe& r) { r.lowRank = LowRank{up, up}; });
    refused(argument, "recipes[\"layer\"].lowRank.up: expected BF16 or F32 [outputs, 2]", [&](LinearRecipe& r) { r.lowRank = LowRank{down, down}; });
    refused(argument, "has 11 outputs, layer has 10", [&](LinearRecipe& r) { r.lowRank = LowRank{down, tall}; });
    refused(argument, "of layer holds NaN or infinite values", [&](LinearRecipe& r) { r.lowRank = LowRank{down, bad}; });
    refused(ErrorCode::Io, "gone", [&](LinearRecipe& r) { r.lowRank = LowRank{{"/gone", 0, Dtype::F32, {2, 64}}, up}; });
    refused(argument, "only integers with one scale per tensor", [](LinearRecipe& r) { r.activationRange = ActivationRange{0, 1}; });
    refused(argument, "activations.shift: a static range has its own ends", [](LinearRecipe& r) {
        r.activations = IntQuantizer{8, true, Granularity::Tensor, 0, FloatType::Fp16, {}, false, true, 0.5};
        r.activationRange = ActivationRange{0, 1};
    });
    refused(argument, "expected two finite numbers, low first", [](LinearRecipe& r) {
        r.activations = IntQuantizer{8, false, Granularity::Tensor, 0, FloatType::Fp16};
        r.activationRange = ActivationRange{1, 0};
    });
}

}  // namespace
}  // namespace quantscope
