// What a capture says of the inputs of a layer.
#include <gtest/gtest.h>

#include <limits>

#include "graph_support.h"
#include "measure/measure.h"

namespace quantscope {
namespace {

using test::Model;

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
