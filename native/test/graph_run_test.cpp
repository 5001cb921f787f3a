// Runs of a whole block: threads, progress, cancellation, and the first value that is not finite.
#include <gtest/gtest.h>

#include <atomic>
#include <limits>

#include "base/error.h"
#include "graph_linear_support.h"

namespace quantscope {
namespace {

using test::Model;
using test::buildBlock;
using test::rpbh;

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

}  // namespace
}  // namespace quantscope
