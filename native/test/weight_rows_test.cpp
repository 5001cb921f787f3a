// Quantized weights of a linear: with codes in the cache, without room there, and row by row.
#include <gtest/gtest.h>

#include "graph_linear_support.h"
#include "quantizer/row_codec.h"

namespace quantscope {
namespace {

using test::expectClose;
using test::kQuantizers;
using test::Linear;
using test::Model;
using test::product;
using test::rpbh;

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

}  // namespace
}  // namespace quantscope
