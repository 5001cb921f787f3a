// Learned rounding: one layer's against plain numbers, a whole block's gradient against differences, and what a block gains.
#include <gtest/gtest.h>

#include <filesystem>
#include <limits>

#include "base/error.h"
#include "graph_support.h"
#include "packed_support.h"
#include "reconstruct/reconstruct.h"
#include "reconstruct/tape.h"

namespace quantscope {
namespace {

using test::bytesOf;
using test::Gaussian;
using test::Model;
using test::TemporaryFile;

constexpr uint64_t kTokens = 12;
constexpr uint64_t kWidth = 16;

LinearRecipe integers(int bits, std::vector<Transform> transforms = {}) {
    LinearRecipe recipe;
    recipe.transforms = std::move(transforms);
    recipe.weights = IntQuantizer{.bits = bits, .symmetric = false, .granularity = Granularity::Row, .group = 0, .scale = FloatType::Fp32};
    recipe.activations = KeepQuantizer{};
    return recipe;
}

/// adaLN block: modulated attention with normed heads and rope, and a gated feed-forward. Two inputs: tokens and condition.
struct Block {
    explicit Block(uint64_t seed = 1) : model(seed) {
        x = model.input({kTokens, kWidth});
        condition = model.input({1, kWidth});
        Gaussian random(seed + 50);
        const Buffer modulation = linear("modulation", model.add(UnaryOp{UnaryKind::Silu, condition, 0}, {1, kWidth}), 6 * kWidth);
        Buffer parts[6];
        for (uint64_t i = 0; i < 6; ++i) {
            parts[i] = model.add(SliceOp{modulation, 1, i * kWidth, (i + 1) * kWidth, 0}, {1, kWidth});
        }
        const Shape rows{kTokens, kWidth};
        const Buffer u = model.add(ModulateOp{norm(x), parts[0], parts[1], 0}, rows);
        const Buffer cos = model.add(ConstantOp{random.floats(kTokens * 4), 0}, {kTokens, 4});
        const Buffer sin = model.add(ConstantOp{random.floats(kTokens * 4), 0}, {kTokens, 4});
        Buffer heads[2];
        const char* const names[] = {"q", "k"};
        for (int i = 0; i < 2; ++i) {
            const Buffer split = reshape(linear(names[i], u, kWidth), {kTokens, 2, kWidth / 2});
            const Buffer normed = model.add(RmsNormOp{split, 1e-6, model.tensor({kWidth / 2}), 0}, {kTokens, 2, kWidth / 2});
            heads[i] = model.add(RopeOp{reshape(normed, rows), cos, sin, 2, 0}, rows);
        }
        const Buffer attended = model.add(AttentionOp{heads[0], heads[1], linear("v", u, kWidth), 2, std::nullopt, 0}, rows);
        const Buffer y = model.add(GateAddOp{x, parts[2], linear("out", attended, kWidth), 0}, rows);
        const Buffer w = model.add(ModulateOp{norm(y), parts[3], parts[4], 0}, rows);
        const Shape wide{kTokens, 2 * kWidth};
        const Buffer gelu = model.add(UnaryOp{UnaryKind::GeluTanh, linear("up", w, 2 * kWidth), 0}, wide);
        model.add(GateAddOp{y, parts[5], linear("down", gelu, kWidth), 0}, rows);
    }

    Buffer norm(Buffer of) { return model.add(LayerNormOp{of, 1e-6, std::nullopt, std::nullopt, 0}, {kTokens, kWidth}); }
    Buffer reshape(Buffer of, const Shape& shape) {
        std::vector<uint64_t> axes(shape.size());
        for (size_t i = 0; i < axes.size(); ++i) {
            axes[i] = i;
        }
        return model.add(PermuteOp{of, shape, axes, 0}, shape);
    }
    Buffer linear(const std::string& name, Buffer of, uint64_t outputs) {
        const uint64_t inputs = lastOf(model.program.buffers[of]);
        std::vector<float> values = weights_.floats(outputs * inputs);
        for (float& value : values) {
            value /= std::sqrt(static_cast<float>(inputs));
        }
        stored[name] = model.tensor({outputs, inputs}, values);
        Shape out = model.program.buffers[of];
        out.back() = outputs;
        return model.add(LinearOp{name, of, stored[name], model.tensor({outputs}), 0}, out);
    }

    Model model;
    Buffer x = 0;
    Buffer condition = 0;
    std::map<std::string, Stored> stored;

private:
    Gaussian weights_{7};
};

/// Everything a tape works with.
struct Shop {
    explicit Shop(unsigned threads = 2) : pool(threads), memory(threads) {}
    ThreadPool pool;
    Cancellation cancellation;
    Progress progress = [](double) {};
    Workers workers{pool, cancellation, progress, 1};
    std::vector<TileMemory> memory;
    Bench bench{workers, memory, kernels()};
};

/// Σ c y with Gaussian c, and its gradient.
double lossOf(Tape& tape, const Model& model, const Bench& bench, bool backward) {
    for (const auto& [name, buffer] : tape.program().inputs) {
        std::copy(model.request.inputs.at(name).begin(), model.request.inputs.at(name).end(), tape.values(buffer));
    }
    for (auto& [name, layer] : tape.linears()) {
        if (layer->rounding() != nullptr) {
            layer->useSoft(bench.workers);
        }
    }
    tape.forward(bench);
    const Buffer out = tape.program().outputs.at("y");
    const std::vector<float> c = Gaussian(3).floats(elementsOf(tape.program().buffers[out]));
    if (backward) {
        tape.clearGradients();
        std::copy(c.begin(), c.end(), tape.gradient(out));
        tape.backward(bench);
    }
    double sum = 0;
    for (size_t i = 0; i < c.size(); ++i) {
        sum += static_cast<double>(c[i]) * tape.values(out)[i];
    }
    return sum;
}

TEST(Tape, ForwardIsThatOfTheModel) {
    Block block;
    const std::vector<float> expected = block.model.run();
    Shop shop;
    Tape tape(block.model.program, {}, shop.bench);
    lossOf(tape, block.model, shop.bench, false);
    const float* const found = tape.values(tape.program().outputs.at("y"));
    for (size_t i = 0; i < expected.size(); ++i) {
        ASSERT_NEAR(found[i], expected[i], 1e-5) << i;
    }
}

/// The gradient of every layer along a random direction against differences of fourth order.
TEST(Tape, GradientsAreThoseOfTheBlock) {
    const std::vector<std::vector<Transform>> choices = {{}, {RpbhTransform{5}}, {HadamardTransform{2}, RandomTransform{3}}};
    for (const auto& transforms : choices) {
        Block block;
        Shop shop;
        Recipes recipes;
        for (const auto& [name, stored] : block.stored) {
            recipes[name] = integers(8, transforms);
            std::get<IntQuantizer>(recipes[name].weights).symmetric = true;  // cuts nothing off: soft weights are the weights
        }
        Tape tape(block.model.program, recipes, shop.bench);
        lossOf(tape, block.model, shop.bench, true);
        for (const auto& [name, stored] : block.stored) {
            const std::vector<float> weights = block.model.valuesOf(stored);
            const std::vector<float> direction = Gaussian(11).floats(weights.size());
            const uint64_t inputs = stored.ref.shape[1];
            const Transforms turn(transforms, inputs, shop.workers, kernels());
            std::vector<float> turned(direction.size());
            Scratch scratch;
            turn.apply(Transforms::Side::Weights, direction.data(), stored.ref.shape[0], turned.data(), scratch);
            double slope = 0;
            for (size_t i = 0; i < turned.size(); ++i) {
                slope += static_cast<double>(turned[i]) * tape.linears().at(name)->gradient[i];
            }
            const auto at = [&](double step) {
                std::vector<float> moved = weights;
                for (size_t i = 0; i < moved.size(); ++i) {
                    moved[i] += static_cast<float>(step * direction[i]);
                }
                const TemporaryFile file(bytesOf(moved));
                Program program = block.model.program;
                for (Op& op : program.ops) {
                    if (auto* linear = std::get_if<LinearOp>(&op); linear != nullptr && linear->name == name) {
                        linear->weight = {test::tensorIn(file, Dtype::F32, stored.ref.shape), nullptr};
                    }
                }
                Tape other(program, {}, shop.bench);
                return lossOf(other, block.model, shop.bench, false);
            };
            constexpr double kStep = 0.004;
            const double difference = (8 * (at(kStep) - at(-kStep)) - (at(2 * kStep) - at(-2 * kStep))) / (12 * kStep);
            EXPECT_NEAR(slope, difference, 5e-3 * (1 + std::fabs(difference))) << name;
        }
    }
}

TEST(Tape, ClippedInputsPassNoGradient) {
    Model model;
    const Buffer x = model.input({1, 3}, {1.0f, 1.0f, 1.0f});
    const Buffer hidden = model.add(LinearOp{"first", x, model.tensor({3, 3}, {1, 1, 1, 1, 0, -1, 4, 0, 1}), std::nullopt, 0}, {1, 3});
    model.add(LinearOp{"second", hidden, model.tensor({1, 3}, {2, 3, 5}), std::nullopt, 0}, {1, 1});
    LinearRecipe first = integers(8);
    LinearRecipe second = integers(8);
    second.activations = IntQuantizer{.bits = 8, .symmetric = false, .granularity = Granularity::Tensor, .group = 0};
    second.activationRange = ActivationRange{-1, 4};
    Shop shop;
    Tape tape(model.program, {{"first", first}, {"second", second}}, shop.bench);
    lossOf(tape, model, shop.bench, true);
    const double c = Gaussian(3).floats(1)[0];
    const std::vector<double> expected{2 * c, 3 * c, 0};  // hidden is 3, 0 and 5: the last was cut off at 4
    for (size_t row = 0; row < 3; ++row) {
        for (size_t i = 0; i < 3; ++i) {
            EXPECT_NEAR(tape.linears().at("first")->gradient[row * 3 + i], expected[row], 0.02) << row;
        }
    }
}

std::string messageOf(const std::function<void()>& body) {
    try {
        body();
    } catch (const Error& error) {
        return error.what();
    }
    return "no error";
}

TEST(Tape, RefusesWhatHasNoDerivative) {
    Model model;
    const Buffer x = model.input({4, 4});
    const Buffer y = model.add(LinearOp{"layer", x, model.tensor({4, 4}), std::nullopt, 0}, {4, 4});
    model.add(ResizeOp{y, 0}, {8, 4});
    Shop shop;
    EXPECT_NO_THROW(Tape(model.program, {}, shop.bench)) << "forward alone needs none";
    EXPECT_NE(messageOf([&] { Tape(model.program, {{"layer", integers(4)}}, shop.bench); }).find("op 1 (resize): a loss cannot"), std::string::npos);
    Model wide;
    const std::vector<float> zeros(kMaxWidth + 1);
    const Buffer row = wide.input({1, kMaxWidth + 1}, zeros);
    wide.add(LinearOp{"wide", row, wide.tensor({1, kMaxWidth + 1}, zeros), std::nullopt, 0}, {1, 1});
    EXPECT_NE(messageOf([&] { Tape(wide.program, {{"wide", integers(4)}}, shop.bench); }).find("(linear wide): takes"), std::string::npos);
    EXPECT_NE(messageOf([&] { Tape(model.program, {{"other", integers(4)}}, shop.bench); }).find("no linear \"other\""), std::string::npos);
}

/// h by its definition, in double.
double gate(double alpha) { return std::clamp(1.2 / (1 + std::exp(-alpha)) - 0.1, 0.0, 1.0); }

struct Rows {
    explicit Rows(const IntQuantizer& quantizer, uint64_t rows = 9, uint64_t width = 24, std::vector<float> given = {})
        : weights(given.empty() ? Gaussian(4).floats(rows * width) : std::move(given)), codec(quantizer, width, {-3.5, 3.5}, kernels()),
          soft(weights.data(), rows, width, codec, shop.workers), rows(rows), width(width) {}

    std::vector<float> values() {
        std::vector<float> result(weights.size());
        soft.writeSoft(result.data(), width, shop.workers);
        return result;
    }

    Shop shop;
    std::vector<float> weights;
    RowCodec codec;
    SoftRounding soft;
    uint64_t rows;
    uint64_t width;
};

const IntQuantizer kGrids[] = {
    {.bits = 4, .symmetric = true, .granularity = Granularity::Row, .group = 0},
    {.bits = 3, .symmetric = false, .granularity = Granularity::Group, .group = 8},
    {.bits = 8, .symmetric = false, .granularity = Granularity::Tensor, .group = 0},
    {.bits = 2, .symmetric = true, .granularity = Granularity::Group, .group = 12},
};

TEST(SoftRounding, BeginsAsTheWeightsAndRoundsToNearest) {
    for (const IntQuantizer& quantizer : kGrids) {
        Rows rows(quantizer);
        const std::vector<float> soft = rows.values();
        const Rounding learned = rows.soft.learned(rows.shop.workers);
        EXPECT_EQ(learned.codes, rows.soft.nearest().codes);
        for (uint64_t i = 0; i < soft.size(); ++i) {
            const float* const sides = learned.sides.data() + i / rows.codec.group() * 2;
            const float highest = sides[1] + static_cast<float>((1 << quantizer.bits) - 1);
            ASSERT_NEAR(soft[i], std::clamp(rows.weights[i] / sides[0], sides[1], highest) * sides[0], 1e-4f * sides[0]) << i;
        }
    }
}

TEST(SoftRounding, LearnsByAdamOnTheGates) {
    Rows rows({.bits = 4, .symmetric = true, .granularity = Granularity::Row, .group = 0, .scale = FloatType::Fp32});
    const std::vector<float> gradient = Gaussian(8).floats(rows.weights.size());
    const double betas[] = {0, 20, 11};
    for (uint64_t step = 1; step <= 3; ++step) {
        rows.soft.learn(gradient.data(), {step, 0.3, betas[step - 1]}, rows.shop.workers);
    }
    const std::vector<float> soft = rows.values();
    for (uint64_t i = 0; i < rows.weights.size(); ++i) {
        const float scale = rows.soft.nearest().sides[i / rows.width * 2];
        const double steps = rows.weights[i] / scale;  // rounded to float: the largest weight of a row lies on a level
        const double floor = std::floor(steps);
        double alpha = -std::log(1.2 / (steps - floor + 0.1) - 1);
        double mean = 0;
        double square = 0;
        for (int step = 1; step <= 3; ++step) {
            const double h = gate(alpha);
            const double sigmoid = 1 / (1 + std::exp(-alpha));
            const bool inside = std::fabs(1.2 * sigmoid - 0.6) < 0.5 + 1e-6;
            const double beta = betas[step - 1];
            double slope = gradient[i] * scale;
            slope -= beta > 0 ? 0.01 * beta * 2 * std::pow(std::fabs(2 * h - 1), beta - 1) * (h > 0.5 ? 1 : -1) : 0;
            slope *= inside ? 1.2 * sigmoid * (1 - sigmoid) : 0;
            mean = 0.9 * mean + 0.1 * slope;
            square = 0.999 * square + 0.001 * slope * slope;
            alpha -= 0.3 * (mean / (1 - std::pow(0.9, step))) / (std::sqrt(square / (1 - std::pow(0.999, step))) + 1e-8);
        }
        ASSERT_NEAR(soft[i], (std::clamp(floor + gate(alpha), -8.0, 7.0)) * scale, 2e-3 * scale) << i;
    }
}

TEST(SoftRounding, ZeroAndConstantRowsStayWhatTheyAre) {
    std::vector<float> weights(48, 0.0f);
    std::fill(weights.begin() + 24, weights.end(), 1.75f);
    Rows rows({.bits = 4, .symmetric = true, .granularity = Granularity::Row, .group = 0, .scale = FloatType::Fp32}, 2, 24, weights);
    const std::vector<float> gradient = Gaussian(8).floats(48);
    rows.soft.learn(gradient.data(), {1, 0.01, 20}, rows.shop.workers);
    const std::vector<float> soft = rows.values();
    for (size_t i = 0; i < 24; ++i) {
        EXPECT_EQ(soft[i], 0.0f);
        EXPECT_NEAR(soft[24 + i], 1.75f, 0.01f);
    }
    EXPECT_EQ(rows.soft.learned(rows.shop.workers).codes, rows.soft.nearest().codes);
}

/// A request with `samples` calibration inputs of the block, its files, and what full precision makes of them.
struct Calibrated {
    explicit Calibrated(Block& block, const Recipes& recipes, uint64_t samples = 8) {
        const Program& program = block.model.program;
        Graph graph(program);
        Gaussian random(21);
        std::map<std::string, std::vector<float>> values;
        for (uint64_t sample = 0; sample < samples; ++sample) {
            for (const auto& [name, buffer] : program.inputs) {
                block.model.request.inputs[name] = random.floats(elementsOf(program.buffers[buffer]));
                values[name].insert(values[name].end(), block.model.request.inputs[name].begin(), block.model.request.inputs[name].end());
            }
            const std::vector<float> y = block.model.runOn(graph).outputs.at("y");
            values["y"].insert(values["y"].end(), y.begin(), y.end());
        }
        request.program = program;
        for (const auto& [name, all] : values) {
            files_.push_back(std::make_unique<TemporaryFile>(bytesOf(all)));
            Shape shape = program.buffers[name == "y" ? program.outputs.at(name) : program.inputs.at(name)];
            shape.insert(shape.begin(), samples);
            (name == "y" ? request.outputs : request.inputs)[name] = test::tensorIn(*files_.back(), Dtype::F32, shape);
        }
        for (const auto& [name, recipe] : recipes) {
            files_.push_back(std::make_unique<TemporaryFile>(std::span<const std::byte>()));
            request.layers[name] = {recipe, files_.back()->path()};
        }
        request.iterations = 150;
        request.batch = 4;
        request.seed = 3;
    }

    ReconstructedBlock run(unsigned threads = 2) {
        ThreadPool pool(threads);
        return reconstructBlock(request, pool, Cancellation{}, [](double) {}, kernels());
    }

    std::string bytes(const std::string& layer) const {
        std::ifstream in(request.layers.at(layer).out, std::ios::binary);
        return {std::istreambuf_iterator<char>(in), {}};
    }

    ReconstructBlockRequest request;

private:
    std::vector<std::unique_ptr<TemporaryFile>> files_;
};

Recipes allLayers(const Block& block, const LinearRecipe& recipe) {
    Recipes recipes;
    for (const auto& [name, stored] : block.stored) {
        recipes[name] = recipe;
    }
    return recipes;
}

/// Weights of 3 bits behind a rotation, tokens of 8: something of everything.
LinearRecipe usual() {
    LinearRecipe recipe = integers(3, {RpbhTransform{5}});
    recipe.activations = IntQuantizer{.bits = 8, .symmetric = true, .granularity = Granularity::Row, .group = 0};
    return recipe;
}

TEST(ReconstructBlock, ErrorFallsBelowThatOfRoundingToNearest) {
    for (const int bits : {2, 3, 4}) {
        for (const uint64_t seed : {1, 2}) {
            Block block(seed);
            LinearRecipe recipe = usual();
            std::get<IntQuantizer>(recipe.weights).bits = bits;
            Calibrated calibrated(block, allLayers(block, recipe));
            const ReconstructedBlock result = calibrated.run();
            EXPECT_TRUE(result.learned);
            EXPECT_LT(result.lossAfter, 0.95 * result.lossBefore) << bits << " bits, seed " << seed;
            for (const auto& [name, flipped] : result.flipped) {
                EXPECT_GT(flipped, 0u) << name;
                EXPECT_LT(flipped, elementsOf(block.stored.at(name).ref.shape) / 2) << name;
            }
        }
    }
}

TEST(ReconstructBlock, LossesAreThoseOfARunWithTheFiles) {
    Block block;
    LinearRecipe recipe = usual();
    recipe.tail = 4;
    Calibrated calibrated(block, allLayers(block, recipe), 3);
    const ReconstructedBlock result = calibrated.run();
    Graph graph(block.model.program);
    for (const bool solved : {false, true}) {
        double sum = 0;
        double count = 0;
        for (uint64_t sample = 0; sample < 3; ++sample) {
            const auto read = [&](const TensorRef& ref, uint64_t elements) {
                std::vector<float> values(elements);
                Tensor(ref).read(sample * elements, elements, reinterpret_cast<std::byte*>(values.data()));
                return values;
            };
            for (const auto& [name, buffer] : block.model.program.inputs) {
                block.model.request.inputs[name] = read(calibrated.request.inputs.at(name), elementsOf(block.model.program.buffers[buffer]));
            }
            for (const auto& [name, layer] : calibrated.request.layers) {
                block.model.request.recipes[name] = solved ? test::withCodes(recipe, layer.out) : recipe;
            }
            const std::vector<float> found = block.model.runOn(graph).outputs.at("y");
            const std::vector<float> target = read(calibrated.request.outputs.at("y"), found.size());
            for (size_t i = 0; i < found.size(); ++i) {
                sum += (static_cast<double>(found[i]) - target[i]) * (static_cast<double>(found[i]) - target[i]);
                ++count;
            }
        }
        const double expected = solved ? result.lossAfter : result.lossBefore;
        EXPECT_NEAR(sum / count, expected, 1e-3 * expected);
    }
}

TEST(ReconstructBlock, EqualSeedsGiveEqualFilesOnAnyNumberOfThreads) {
    Block block;
    std::map<std::string, std::string> first;
    double loss = 0;
    for (const unsigned threads : {1u, 3u}) {
        Calibrated calibrated(block, allLayers(block, usual()));
        calibrated.request.iterations = 20;
        const ReconstructedBlock result = calibrated.run(threads);
        for (const auto& [name, layer] : calibrated.request.layers) {
            EXPECT_EQ(first.try_emplace(name, calibrated.bytes(name)).first->second, calibrated.bytes(name)) << name;
        }
        EXPECT_EQ(loss == 0 ? result.lossAfter : loss, result.lossAfter);
        loss = result.lossAfter;
    }
    Calibrated other(block, allLayers(block, usual()));
    other.request.iterations = 20;
    other.request.seed = 4;
    other.run();
    EXPECT_NE(first.at("up"), other.bytes("up")) << "other batches";
}

TEST(ReconstructBlock, RoundingToNearestStaysWhereNothingIsBetter) {
    Model model;
    const Buffer x = model.input({4, 4});
    model.add(LinearOp{"layer", x, model.tensor({4, 4}, {7, 1, 0, -2, 7, 3, 3, 0, -7, 0, 0, 1, 7, 7, 7, 7}), std::nullopt, 0}, {4, 4});
    Block unused;
    unused.model.program = model.program;
    unused.model.request = model.request;
    LinearRecipe recipe = integers(4);
    std::get<IntQuantizer>(recipe.weights).symmetric = true;
    Calibrated calibrated(unused, {{"layer", recipe}});
    const ReconstructedBlock result = calibrated.run();  // the weights lie on levels
    EXPECT_FALSE(result.learned);
    EXPECT_EQ(result.lossAfter, result.lossBefore);
    EXPECT_EQ(result.flipped.at("layer"), 0u);
}

TEST(ReconstructBlock, OtherLayersStayInFullPrecisionAndZeroRowsAreHarmless) {
    Block block;
    std::vector<float> weights = block.model.valuesOf(block.stored.at("down"));
    std::fill_n(weights.begin(), 2 * kWidth, 0.0f);
    const TemporaryFile file(bytesOf(weights));
    for (Op& op : block.model.program.ops) {
        if (auto* linear = std::get_if<LinearOp>(&op); linear != nullptr && linear->name == "down") {
            linear->weight = {test::tensorIn(file, Dtype::F32, {kWidth, 2 * kWidth}), nullptr};
        }
    }
    Calibrated calibrated(block, {{"down", usual()}});
    const ReconstructedBlock result = calibrated.run();
    EXPECT_TRUE(result.learned);
    EXPECT_EQ(result.flipped.size(), 1u);
    EXPECT_LT(result.lossAfter, 0.95 * result.lossBefore);
}

TEST(ReconstructBlock, RefusesWhatCannotBeLearned) {
    Block block;
    const auto message = [&](const std::function<void(Calibrated&)>& change) {
        Calibrated calibrated(block, {{"up", usual()}}, 2);
        change(calibrated);
        const std::string found = messageOf([&] { calibrated.run(); });
        EXPECT_TRUE(calibrated.bytes("up").empty()) << "nothing is written";
        return found;
    };
    const auto expectMessage = [&](const std::string& part, const std::function<void(Calibrated&)>& change) {
        const std::string found = message(change);
        EXPECT_NE(found.find(part), std::string::npos) << found;
    };
    LinearRecipe& (*up)(Calibrated&) = [](Calibrated& of) -> LinearRecipe& { return of.request.layers.at("up").recipe; };
    expectMessage("up: AdaRound learns which of two neighbouring integers", [&](Calibrated& of) { up(of).weights = CodebookQuantizer{}; });
    expectMessage("up: AdaRound learns", [&](Calibrated& of) { up(of).weights = KeepQuantizer{}; });
    expectMessage("has codes already", [&](Calibrated& of) { up(of).packed = PackedWeight{}; });
    expectMessage("iterations and batch", [&](Calibrated& of) { of.request.iterations = 0; });
    expectMessage("inputs.x0: expected F32 [samples, 12, 16]", [&](Calibrated& of) { of.request.inputs.at("x0").shape = {2, 12, 8}; });
    expectMessage("inputs.x0: expected", [&](Calibrated& of) { of.request.inputs.erase("x0"); });
    expectMessage("inputs: the block has none called \"z\"", [&](Calibrated& of) { of.request.inputs["z"] = of.request.inputs.at("x0"); });
    expectMessage("outputs: 1 samples, but 2", [&](Calibrated& of) { of.request.outputs.at("y").shape[0] = 1; });
    expectMessage("no linear \"other\"", [&](Calibrated& of) { of.request.layers["other"] = of.request.layers.at("up"); });
    expectMessage("none depends on a layer that learns", [&](Calibrated& of) {
        of.request.program.outputs = {{"y", of.request.program.inputs.at("x0")}};
    });

    const float nan = std::numeric_limits<float>::quiet_NaN();
    std::vector<float> weights = block.model.valuesOf(block.stored.at("up"));
    weights[3 * kWidth + 1] = nan;
    const TemporaryFile broken(bytesOf(weights));
    expectMessage("up: row 3 of the weight holds NaN", [&](Calibrated& of) {
        for (Op& op : of.request.program.ops) {
            if (auto* linear = std::get_if<LinearOp>(&op); linear != nullptr && linear->name == "up") {
                linear->weight = {test::tensorIn(broken, Dtype::F32, {2 * kWidth, kWidth}), nullptr};
            }
        }
    });
    std::vector<float> values(2 * kTokens * kWidth, 1.0f);
    values.back() = nan;
    const TemporaryFile samples(bytesOf(values));
    expectMessage("outputs.y: sample 1 is NaN or infinite", [&](Calibrated& of) { of.request.inputs.at("x0").file = samples.path(); });
}

TEST(ReconstructBlock, StopsWhenCancelled) {
    Block block;
    Calibrated calibrated(block, {{"up", usual()}});
    calibrated.request.iterations = 1000000;
    ThreadPool pool(2);
    Cancellation cancellation;
    double last = 0;
    EXPECT_THROW(reconstructBlock(calibrated.request, pool, cancellation,
                                  [&](double done) {
                                      EXPECT_GE(done, 0);
                                      last = std::max(last, done);
                                      if (done > 1e-4) {
                                          cancellation.cancel();
                                      }
                                  },
                                  kernels()),
                 Error);
    EXPECT_GT(last, 0);
    EXPECT_LT(last, 0.01);
    EXPECT_TRUE(calibrated.bytes("up").empty());
}

}  // namespace
}  // namespace quantscope
