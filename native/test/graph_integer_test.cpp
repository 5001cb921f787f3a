// Layers on integers, as they run deployed, against the same layers with fake quantization.
#include <gtest/gtest.h>

#include "graph_linear_support.h"

namespace quantscope {
namespace {

using test::Linear;
using test::Model;
using test::rpbh;

Quantizer integers(int bits, uint64_t group = 0, bool symmetric = true) {
    return IntQuantizer{bits, symmetric, group == 0 ? Granularity::Row : Granularity::Group, group};
}

/// Norm of the difference over that of the second.
double distance(const std::vector<float>& found, const std::vector<float>& expected) {
    double differences = 0, squares = 0;
    for (size_t i = 0; i < expected.size(); ++i) {
        differences += std::pow(double(found[i]) - double(expected[i]), 2);
        squares += double(expected[i]) * double(expected[i]);
    }
    return std::sqrt(differences / squares);
}

TEST(GraphInteger, EqualsFakeQuantizationUpToRounding) {
    constexpr uint64_t kWidth = 192;
    struct Case {
        const char* name;
        Quantizer weights, activations;
        double tolerance;
    };
    // Both ways round products and sums of 192 inputs to float. Each side's surrogate is off by a hundredth of its norm.
    const Case cases[] = {{"W8A8", integers(8), integers(8), 1e-6},
                          {"W4A4, groups", integers(4, 32), integers(4, 64), 1e-6},
                          {"W4A8, asymmetric", integers(4, 64, false), integers(8, 0, false), 1e-6},
                          {"one scale", IntQuantizer{8, true, Granularity::Tensor}, IntQuantizer{8, false, Granularity::Tensor}, 1e-6},
                          {"mid-rise", MidRiseQuantizer{4}, MidRiseQuantizer{4}, 1e-6},
                          {"codebooks", CodebookQuantizer{4}, CodebookQuantizer{4}, 0.03}};
    for (const Case& c : cases) {
        for (const uint64_t tail : {0, 64}) {
            for (const bool branch : {false, true}) {
                SCOPED_TRACE(c.name);
                Linear linear({301, kWidth}, 115, true);
                const Stored down = linear.model.tensor({3, kWidth}), up = linear.model.tensor({115, 3});
                LinearRecipe recipe{rpbh(3), c.weights, c.activations, tail};
                if (branch) {
                    recipe.lowRank = LowRank{down.ref, up.ref};
                }
                linear.model.request.recipes["layer"] = recipe;
                const auto fake = linear.model.runAll();
                EXPECT_TRUE(fake.integers.empty());
                linear.model.request.recipes["layer"].execution = Execution::Integer;
                Graph graph(linear.model.program);
                const auto found = linear.model.runOn(graph, 1);
                ASSERT_EQ(found.integers.size(), 1u);
                EXPECT_EQ(found.integers[0].layer, "layer");
                EXPECT_EQ(found.integers[0].reason, std::nullopt);
                EXPECT_EQ(found.integers[0].weightSurrogate > 0, std::holds_alternative<CodebookQuantizer>(c.weights));
                const double off = distance(found.outputs.at("y"), fake.outputs.at("y"));
                EXPECT_LT(off, c.tolerance);
                EXPECT_GT(off, 0) << "it is another computation";
                for (const unsigned threads : {2u, 3u}) EXPECT_EQ(linear.model.runOn(graph, threads).outputs, found.outputs) << threads << " threads";
                for (const Kernels* level : supportedKernels()) EXPECT_LT(distance(linear.model.run(2, *level), found.outputs.at("y")), 1e-6) << level->name;
                linear.model.request.recipes["layer"].execution = Execution::Fake;
                EXPECT_EQ(linear.model.runOn(graph).outputs, fake.outputs) << "and back";
            }
        }
    }
}

TEST(GraphInteger, ProjectionsOfOneInputEachGetTheirOwnIntegers) {
    Model model;
    const Buffer x = model.input({9, 64});
    const Stored weight = model.tensor({20, 64});
    const std::pair<const char*, Quantizer> layers[] = {{"a", integers(4, 32)}, {"b", integers(4, 32)}, {"c", integers(8)}, {"d", CodebookQuantizer{4}}};
    Buffer last = x;
    for (const auto& [name, weights] : layers) {
        const Buffer out = model.add(LinearOp{name, x, weight, {}, 0}, {9, 20});
        last = name == layers[0].first ? out : model.add(BinaryOp{BinaryKind::Add, last, out, 0}, {9, 20});
        model.request.recipes[name] = {{}, weights, integers(8)};
    }
    const auto fake = model.run();
    for (auto& [name, recipe] : model.request.recipes) recipe.execution = Execution::Integer;
    EXPECT_LT(distance(model.run(), fake), 0.02);
    for (auto& [name, recipe] : model.request.recipes) recipe.execution = name == "d" ? Execution::Fake : Execution::Integer;
    EXPECT_LT(distance(model.run(), fake), 1e-6);
}

TEST(GraphInteger, LayersThatDoNotFitSayWhyAndRunAsBefore) {
    const std::pair<LinearRecipe, const char*> cases[] = {{{rpbh(1), integers(4), KeepQuantizer{}}, "keeps its activations as floats"},
                                                          {{{}, FloatQuantizer{}, integers(8)}, "has weights in a small float format"}};
    for (const auto& [recipe, reason] : cases) {
        Linear linear({5, 64}, 10, true);
        linear.model.request.recipes["layer"] = recipe;
        const auto fake = linear.model.run();
        linear.model.request.recipes["layer"].execution = Execution::Integer;
        const auto found = linear.model.runAll();
        ASSERT_EQ(found.integers.size(), 1u);
        EXPECT_EQ(found.integers[0].reason, reason);
        EXPECT_EQ(found.outputs.at("y"), fake);
    }
}

TEST(GraphInteger, WeightsWithoutRoomInTheCacheAreTheSame) {
    constexpr uint64_t kOutputs = 70, kWidth = 96, kTail = 16;
    Model model;
    const Stored weight = model.tensor({kOutputs, kWidth});
    const Tensor tensor(weight.ref);
    ThreadPool pool(2);
    const Cancellation cancellation;
    const Progress progress = [](double) {};
    Workers workers(pool, cancellation, progress, 1);
    std::vector<TileMemory> memory(2);
    const ProductKernels& level = productKernelsFor(kernels().name);
    const LinearRecipe recipe{rpbh(5), integers(4), integers(8), kTail, {}, {}, {}, Execution::Integer};
    const auto plan = std::get<IntegerPlan>(planInteger(recipe.weights, recipe.activations, kWidth - kTail, level));
    const Transforms transforms(recipe.transforms, kWidth, workers, kernels());
    const WeightRows::Parts parts{recipe, transforms, nullptr, &plan};
    const auto expanded = [&](WeightCache& cache, uint64_t first, uint64_t count) {
        std::vector<float> tail(count * kTail);
        const WeightRows rows("layer", &tensor, kOutputs, kWidth, &parts, cache, workers, memory, kernels());
        const auto found = rows.readIntegers(first, count, tail.data(), memory[0]);
        std::vector<std::vector<uint8_t>> panels;
        for (size_t panel = 0; panel < (count + kPanelColumns - 1) / kPanelColumns; ++panel) {
            const auto target = allocateAligned<uint8_t>(found.weight->expandedBytes());
            found.weight->expand(found.firstPanel + panel, level, target.get());
            panels.emplace_back(target.get(), target.get() + found.weight->expandedBytes());
        }
        return std::pair(tail, panels);
    };
    WeightCache roomy, full(0);
    for (const auto& [first, count] : {std::pair<uint64_t, uint64_t>{0, 48}, {48, 22}}) EXPECT_EQ(expanded(roomy, first, count), expanded(full, first, count));
    EXPECT_EQ(full.bytes(), 0u);
    EXPECT_LT(roomy.bytes(), kOutputs * kWidth);  // four bits each, not eight
}

}  // namespace
}  // namespace quantscope
