// Linears: full precision, quantized against explicitly dequantized weights and activations, capture, threads, cancellation.
#include <gtest/gtest.h>

#include <atomic>
#include <limits>

#include "base/error.h"
#include "graph_support.h"
#include "measure/measure.h"
#include "quantizer/codebook.h"
#include "quantizer/row_codec.h"

namespace quantscope {
namespace {

using test::expectClose;
using test::Model;

using Matrix = std::vector<double>;

Matrix toDouble(const std::vector<float>& values) { return {values.begin(), values.end()}; }

/// x [rows, inputs] · w [outputs, inputs]ᵀ + b.
Matrix product(const Matrix& x, const Matrix& w, size_t inputs, const std::vector<float>& bias) {
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

std::vector<Transform> rpbh(std::optional<uint64_t> seed) {
    return seed ? std::vector<Transform>{RpbhTransform{*seed}} : std::vector<Transform>();
}

const Quantizer kQuantizers[] = {CodebookQuantizer{2, FloatType::Bf16},
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

TEST(GraphLinear, RowsOfEveryMagnitude) {
    constexpr size_t kWidth = 64;
    for (const Quantizer& quantizer : {Quantizer(CodebookQuantizer{4, FloatType::Fp32}),
                                       Quantizer(IntQuantizer{8, true, Granularity::Row, 0, FloatType::Fp32}),
                                       Quantizer(IntQuantizer{4, false, Granularity::Group, 16, FloatType::Fp32})}) {
        const RowCodec codec(quantizer, kWidth, {}, kernels());
        std::vector<uint8_t> codes(kWidth), reference(kWidth);
        std::vector<float> sides(codec.sides()), back(kWidth);
        const auto row = test::Gaussian(9).floats(kWidth);
        codec.encode(row.data(), reference.data(), sides.data());
        for (const float magnitude : {0x1p-100f, 0x1p-60f, 0x1p60f, 0x1p100f}) {
            auto scaled = row;
            for (float& value : scaled) {
                value *= magnitude;
            }
            codec.encode(scaled.data(), codes.data(), sides.data());
            EXPECT_EQ(codes, reference) << magnitude;
            codec.decode(codes.data(), sides.data(), back.data());
            for (size_t i = 0; i < kWidth; ++i) {
                ASSERT_NEAR(back[i] / magnitude, row[i], 1.0);
            }
        }
        std::fill(back.begin(), back.end(), 1.0f);
        codec.encode(std::vector<float>(kWidth, 0.0f).data(), codes.data(), sides.data());
        codec.decode(codes.data(), sides.data(), back.data());
        for (const float value : back) {
            ASSERT_EQ(value, 0.0f);
        }
    }
}

TEST(GraphLinear, CastsLikeRoundTo) {
    SplitMix64 random(2);
    std::vector<float> values{0.0f,     -0.0f,    65504.0f,   65520.0f, -1e30f,  3.4e38f,
                              0x1p-24f, 0x1p-25f, 0x1.8p-25f, 0x1p-14f, 6.1e-5f, 1e-40f};
    for (int i = 0; i < 20000; ++i) {
        const float value = std::bit_cast<float>(static_cast<uint32_t>(random.next()));
        if (std::isfinite(value)) {
            values.push_back(value);
            values.push_back(std::ldexp(value, -std::ilogb(value) - static_cast<int>(random.below(30))));
        }
    }
    for (const FloatType type : {FloatType::Fp16, FloatType::Bf16, FloatType::Fp32}) {
        auto cast = values;
        castRow(type, cast.data(), cast.size());
        for (size_t i = 0; i < values.size(); ++i) {
            ASSERT_EQ(cast[i], static_cast<float>(roundTo(type, values[i]))) << values[i];
        }
    }
    float nan = std::numeric_limits<float>::quiet_NaN();
    castRow(FloatType::Fp16, &nan, 1);
    EXPECT_TRUE(std::isnan(nan));
}

TEST(GraphLinear, CodesAreKeptBetweenRunsWithinTheirLimit) {
    Linear linear({3, 64}, 50, false);
    linear.model.request.recipes["layer"] = {rpbh(1), CodebookQuantizer{4, FloatType::Bf16}, KeepQuantizer{}};
    Graph graph(linear.model.program);
    const auto first = linear.model.runOn(graph).outputs;
    EXPECT_EQ(linear.model.runOn(graph).outputs, first);
    linear.model.request.recipes["layer"].weights = CodebookQuantizer{2, FloatType::Bf16};
    EXPECT_NE(linear.model.runOn(graph).outputs, first);  // another recipe, other codes
    linear.model.request.recipes.clear();
    expectClose(linear.model.runOn(graph).outputs.at("y"), product(linear.x(), linear.w(), 64, {}), 5e-6);
    linear.model.request.recipes["layer"] = {rpbh(1), CodebookQuantizer{4, FloatType::Bf16}, KeepQuantizer{}};
    EXPECT_EQ(linear.model.runOn(graph).outputs, first);
}

TEST(WeightCache, KeepsItsLimitAndDropsWhatIsNotUsed) {
    const LinearRecipe recipe{{}, CodebookQuantizer{4, FloatType::Bf16}, KeepQuantizer{}};
    const auto weight = [](size_t bytes) {
        return std::make_shared<const CodedWeight>(
            CodedWeight{RowCodec(CodebookQuantizer{4, FloatType::Bf16}, 8, {}, kernels()), std::vector<uint8_t>(bytes), {}, {}});
    };
    WeightCache cache(100);
    cache.startRun();
    ASSERT_TRUE(cache.makeRoom(60));
    cache.insert("a", recipe, weight(60));
    EXPECT_FALSE(cache.makeRoom(60));  // "a" was used in this run
    EXPECT_NE(cache.find("a", recipe), nullptr);
    EXPECT_EQ(cache.find("a", {rpbh(1), recipe.weights, recipe.activations}), nullptr);
    cache.startRun();
    EXPECT_FALSE(cache.makeRoom(60));  // and in the run before
    cache.startRun();
    ASSERT_TRUE(cache.makeRoom(60));
    EXPECT_EQ(cache.find("a", recipe), nullptr);
    cache.insert("b", recipe, weight(60));
    cache.insert("b", recipe, weight(30));
    EXPECT_EQ(cache.bytes(), 30u);
}

/// Uncached weights go another way through the code; the numbers are the same.
TEST(GraphLinear, WeightsWithoutRoomInTheCacheAreTheSame) {
    constexpr uint64_t kOutputs = 70, kWidth = 96;
    Model model;
    const Stored weight = model.tensor({kOutputs, kWidth});
    const Tensor tensor(weight.ref);
    ThreadPool pool(2);
    const Cancellation cancellation;
    const Progress progress = [](double) {};
    Workers workers(pool, cancellation, progress, 1);
    std::vector<TileMemory> memory(2);
    for (const Quantizer& quantizer : kQuantizers) {
        const LinearRecipe recipe{rpbh(5), quantizer, KeepQuantizer{}};
        WeightCache roomy, full(0);
        std::vector<float> cached(kOutputs * kWidth), direct(kOutputs * kWidth);
        const Transforms transforms(recipe.transforms, kWidth, workers, kernels());
        const WeightRows::Parts parts{recipe, transforms, nullptr};
        WeightRows("layer", &tensor, kOutputs, kWidth, &parts, roomy, workers, memory, kernels())
            .read(0, kOutputs, cached.data(), memory[0]);
        WeightRows("layer", &tensor, kOutputs, kWidth, &parts, full, workers, memory, kernels())
            .read(0, kOutputs, direct.data(), memory[0]);
        EXPECT_EQ(cached, direct);
        EXPECT_EQ(full.bytes(), 0u);
    }
}

/// A network with every op of a transformer block, so that a difference anywhere shows.
void buildBlock(Model& model, uint64_t tokens, uint64_t width, uint64_t heads) {
    const Buffer x = model.input({tokens, width});
    const Buffer t = model.input({1}, {311.0f});
    const Buffer cos = model.input({tokens, width / heads / 2});
    const Buffer sin = model.input({tokens, width / heads / 2});
    const auto linear = [&](const std::string& name, Buffer from, Shape shape, uint64_t inputs) {
        return model.add(LinearOp{name, from, model.tensor({shape.back(), inputs}), model.tensor({shape.back()}), 0}, shape);
    };
    const Buffer c = linear(
        "modulation", model.add(UnaryOp{UnaryKind::Silu, model.add(TimestepOp{t, 64, 0, 1, 0}, {64}), 0}, {64}), {3 * width}, 64);
    const auto chunk = [&](uint64_t i) { return model.add(SliceOp{c, 0, i * width, (i + 1) * width, 0}, {width}); };
    const Buffer y = model.add(ModulateOp{model.add(LayerNormOp{x, 1e-6, {}, {}, 0}, {tokens, width}), chunk(0), chunk(1), 0},
                               {tokens, width});
    const Buffer q = model.add(RopeOp{linear("q", y, {tokens, width}, width), cos, sin, heads, 0}, {tokens, width});
    const Buffer k = model.add(RopeOp{linear("k", y, {tokens, width}, width), cos, sin, heads, 0}, {tokens, width});
    const Buffer o = model.add(AttentionOp{q, k, linear("v", y, {tokens, width}, width), heads, {}, 0}, {tokens, width});
    const Buffer z = model.add(GateAddOp{x, chunk(2), linear("out", o, {tokens, width}, width), 0}, {tokens, width});
    const Buffer up =
        model.add(UnaryOp{UnaryKind::GeluTanh, linear("up", z, {tokens, 4 * width}, width), 0}, {tokens, 4 * width});
    model.add(BinaryOp{BinaryKind::Add, z, linear("down", up, {tokens, width}, 4 * width), 0}, {tokens, width});
}

/// Tail and low-rank branch: cached, uncached and row by row are the same bits, and only the quantized part differs from the weight.
TEST(GraphLinear, TailAndLowRankBranchOnEveryWay) {
    constexpr uint64_t kOutputs = 70, kWidth = 96, kTail = 8, kRank = 3;
    Model model;
    const Tensor tensor(model.tensor({kOutputs, kWidth}).ref);
    ThreadPool pool(2);
    const Cancellation cancellation;
    const Progress progress = [](double) {};
    Workers workers(pool, cancellation, progress, 1);
    std::vector<TileMemory> memory(2);
    LinearRecipe recipe{{HadamardTransform{5}}, IntQuantizer{4, true, Granularity::Group, 8, FloatType::Fp16}, KeepQuantizer{}, kTail};
    recipe.lowRank = LowRank{model.tensor({kRank, kWidth}).ref, model.tensor({kOutputs, kRank}).ref};
    const LowRankFactors factors = load(*recipe.lowRank, kOutputs, kWidth, "layer", kernels());
    const Transforms transforms(recipe.transforms, kWidth, workers, kernels());
    const WeightRows::Parts parts{recipe, transforms, &factors};
    WeightCache roomy, full(0);
    const WeightRows kept("layer", &tensor, kOutputs, kWidth, &parts, roomy, workers, memory, kernels());
    const WeightRows fresh("layer", &tensor, kOutputs, kWidth, &parts, full, workers, memory, kernels());
    EXPECT_GT(roomy.bytes(), 0u);
    EXPECT_EQ(full.bytes(), 0u);
    std::vector<float> cached(kOutputs * kWidth), direct(kOutputs * kWidth), exact(kOutputs * kWidth), row(kWidth);
    kept.read(0, kOutputs, cached.data(), memory[0]);
    fresh.read(0, kOutputs, direct.data(), memory[0]);
    fresh.readUnquantized(0, kOutputs, exact.data(), memory[0]);
    EXPECT_EQ(cached, direct);
    for (uint64_t o = 0; o < kOutputs; ++o) {
        fresh.read(o, 1, row.data(), memory[1]);
        ASSERT_TRUE(std::equal(row.begin(), row.end(), cached.begin() + static_cast<ptrdiff_t>(o * kWidth))) << o;
        for (uint64_t j = kWidth - kTail; j < kWidth; ++j) {
            ASSERT_EQ(row[j], static_cast<float>(roundTo(FloatType::Bf16, exact[o * kWidth + j])));
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
    refused(argument, "expected two finite numbers, low first", [](LinearRecipe& r) {
        r.activations = IntQuantizer{8, false, Granularity::Tensor, 0, FloatType::Fp16};
        r.activationRange = ActivationRange{1, 0};
    });
}

TEST(GraphRun, DoesNotDependOnTheNumberOfThreads) {
    for (const bool quantized : {false, true}) {
        Model model;
        buildBlock(model, 75, 96, 4);
        if (quantized) {
            for (const char* name : {"q", "k", "v", "out"}) {
                model.request.recipes[name] = {rpbh(1), CodebookQuantizer{4, FloatType::Bf16}, CodebookQuantizer{4, FloatType::Bf16}};
            }
            model.request.recipes["up"] = {{},
                                           IntQuantizer{4, true, Granularity::Tensor, 0, FloatType::Fp16},
                                           IntQuantizer{8, false, Granularity::Tensor, 0, FloatType::Fp16}};
        }
        model.request.capture = CaptureRequest{{"q", "down"}, 3, 24, 5};
        const auto one = model.runAll(1);
        for (const unsigned threads : {2u, 3u, 7u}) {
            const auto many = model.runAll(threads);
            EXPECT_EQ(many.outputs, one.outputs);
            for (size_t i = 0; i < one.captured.size(); ++i) {
                EXPECT_EQ(many.captured[i].meanSquare, one.captured[i].meanSquare);
                EXPECT_EQ(many.captured[i].before.ks, one.captured[i].before.ks);
                EXPECT_EQ(many.captured[i].after.excessKurtosis, one.captured[i].after.excessKurtosis);
            }
        }
    }
}

TEST(GraphRun, CountsItsWorkAndReportsAllOfIt) {
    Model model;
    buildBlock(model, 75, 96, 4);
    Graph graph(model.program);
    const double linears = 2.0 * (64 * 288 + 75 * 96 * 96 * 4 + 75 * 96 * 384 * 2);
    EXPECT_EQ(graph.flops(), linears + 4.0 * 75 * 75 * 96);
    ThreadPool pool(2);
    std::atomic<double> last{0};
    graph.run(model.request, pool, Cancellation{}, [&](double fraction) {
        double before = last.load();
        while (fraction > before && !last.compare_exchange_weak(before, fraction)) {
        }
    }, kernels());
    EXPECT_NEAR(last.load(), 1.0, 1e-9);
}

TEST(GraphRun, CancelsBetweenTiles) {
    Model model;
    buildBlock(model, 75, 96, 4);
    Graph graph(model.program);
    ThreadPool pool(2);
    Cancellation cancellation;
    EXPECT_THROW(graph.run(model.request, pool, cancellation, [&](double) { cancellation.cancel(); }, kernels()), Error);
    EXPECT_NO_THROW(model.runOn(graph));  // and can run again
}

TEST(GraphRun, NamesTheFirstLinearThatIsNotFinite) {
    for (const float bad : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
        for (const bool quantized : {false, true}) {
            Model model;
            const Buffer x = model.input({3, 8});
            std::vector<float> weight(64, 0.5f);
            weight[13] = bad;
            const Buffer y = model.add(LinearOp{"fine", x, model.tensor({8, 8}), {}, 0}, {3, 8});
            const Buffer z = model.add(LinearOp{"broken", y, model.tensor({8, 8}, weight), {}, 0}, {3, 8});
            model.add(LinearOp{"later", z, model.tensor({8, 8}), {}, 0}, {3, 8});
            if (quantized) {
                for (const char* name : {"fine", "broken", "later"}) {
                    model.request.recipes[name] = {{}, IntQuantizer{}, CodebookQuantizer{}};
                }
            }
            const auto result = model.runAll();
            ASSERT_TRUE(result.firstNonFinite.has_value());
            EXPECT_EQ(*result.firstNonFinite, "broken");
        }
    }
}

TEST(GraphCapture, DescribesTheInputOfALayer) {
    constexpr uint64_t kRows = 41, kWidth = 48;
    Model model;
    const Buffer x = model.input({kRows, kWidth});
    auto& values = model.valuesOf(x);
    for (size_t i = 0; i < values.size(); i += kWidth) {
        values[i + 5] *= 30;  // an outlier channel
    }
    std::fill_n(values.begin() + 7 * kWidth, kWidth, 0.0f);
    values[9 * kWidth + 2] = std::numeric_limits<float>::infinity();
    const Stored weight = model.tensor({8, kWidth});
    const Buffer y = model.add(LinearOp{"layer", x, weight, {}, 0}, {kRows, 8});
    model.add(LinearOp{"other", y, model.tensor({2, 8}), {}, 0}, {kRows, 2});
    model.request.capture = CaptureRequest{{"layer"}, 3, 24, 5};
    const auto result = model.runAll();
    ASSERT_EQ(result.captured.size(), 1u);
    const CapturedLayer& layer = result.captured[0];
    EXPECT_EQ(layer.name, "layer");
    EXPECT_EQ(layer.rows, kRows);
    EXPECT_EQ(layer.width, kWidth);
    EXPECT_EQ(layer.nonFinite, 1u);
    for (size_t c = 0; c < kWidth; ++c) {
        double largest = 0, squares = 0;
        for (size_t row = 0; row < kRows; ++row) {
            const double v = row == 9 ? 0.0 : values[row * kWidth + c];
            largest = std::max(largest, std::fabs(v));
            squares += v * v / (kRows - 1);
        }
        EXPECT_EQ(layer.absMax[c], static_cast<float>(largest));
        EXPECT_NEAR(layer.meanSquare[c], squares, 1e-5 * squares);
    }
    for (size_t i = 0; i < 5; ++i) {  // rows floor((i + 1/2) 41 / 5)
        const size_t row = (2 * i + 1) * kRows / 10;
        for (size_t c = 0; c < kWidth; ++c) {
            ASSERT_EQ(layer.sample[i * kWidth + c], values[row * kWidth + c]) << row;
        }
    }
    // The rest must be what measure() says of the same rows as a weight.
    MeasureRequest request;
    const test::TemporaryFile file(test::bytesOf(values));
    request.tensor = test::tensorIn(file, Dtype::F32, {kRows, kWidth});
    request.weights = KeepQuantizer{};
    request.diagnosticSeed = 3;
    request.histogramBins = 24;
    ThreadPool pool(1);
    const Measurement measured = measure(request, pool, Cancellation{}, [](double) {}, kernels());
    EXPECT_DOUBLE_EQ(layer.rho, measured.rho);
    EXPECT_EQ(layer.before.histogram.counts, measured.before.histogram.counts);
    EXPECT_EQ(layer.after.histogram.counts, measured.after.histogram.counts);
    EXPECT_NEAR(layer.after.ks, measured.after.ks, 1e-12);
    EXPECT_GT(layer.before.ks, layer.after.ks);
}

TEST(GraphCapture, ALayerThatRunsTwiceIsOneDescription) {
    Model model;
    const Buffer a = model.input({6, 16});
    const Buffer b = model.input({9, 16});
    const Stored weight = model.tensor({4, 16});
    const Buffer y = model.add(LinearOp{"layer", a, weight, {}, 0}, {6, 4});
    const Buffer z = model.add(LinearOp{"layer", b, weight, {}, 0}, {9, 4});
    model.add(ConcatOp{{y, z}, 0, 0}, {15, 4});
    model.request.capture = CaptureRequest{{"layer"}, 0, 8, 15};
    const auto result = model.runAll();
    auto all = model.valuesOf(a);
    all.insert(all.end(), model.valuesOf(b).begin(), model.valuesOf(b).end());
    EXPECT_EQ(result.captured.at(0).rows, 15u);
    EXPECT_EQ(result.captured.at(0).sample, all);
}

}  // namespace
}  // namespace quantscope
