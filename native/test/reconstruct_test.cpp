// What a block gains by learned rounding, and what it refuses.
#include <gtest/gtest.h>

#include <filesystem>
#include <limits>

#include "packed_support.h"
#include "reconstruct/reconstruct.h"
#include "reconstruct_support.h"

namespace quantscope {
namespace {

using test::Block;
using test::bytesOf;
using test::Gaussian;
using test::integers;
using test::kTokens;
using test::kWidth;
using test::messageOf;
using test::Model;
using test::TemporaryFile;

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
