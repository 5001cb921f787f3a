// Second moments of layer inputs: sums over runs and layers, files, limits.
#include <gtest/gtest.h>

#include <limits>

#include "base/error.h"
#include "moments_support.h"

namespace quantscope {
namespace {

using test::Folder;
using test::Model;
using test::readFile;

std::vector<double> moments(const std::vector<std::vector<float>>& runs, size_t width) {
    std::vector<double> result(width * width);
    size_t rows = 0;
    for (const auto& x : runs) {
        for (size_t row = 0; row < x.size() / width; ++row, ++rows) {
            for (size_t i = 0; i < width * width; ++i) {
                result[i] += static_cast<double>(x[row * width + i / width]) * x[row * width + i % width];
            }
        }
    }
    for (double& value : result) {
        value /= static_cast<double>(rows);
    }
    return result;
}

void expectMoments(const std::vector<float>& found, const std::vector<double>& expected) {
    ASSERT_EQ(found.size(), expected.size());
    double scale = 0;
    for (const double value : expected) {
        scale = std::max(scale, std::fabs(value));
    }
    for (size_t i = 0; i < found.size(); ++i) {
        ASSERT_NEAR(found[i], expected[i], 1e-6 * scale) << "at " << i;
    }
}

/// q and k read one buffer, "out/../x" what q makes of it.
struct Attention {
    explicit Attention(uint64_t rows, uint64_t width) : model(rows) {
        x = model.input({rows, width});
        q = model.add(LinearOp{"q", x, model.tensor({20, width}), {}, 0}, {rows, 20});
        model.add(LinearOp{"k", x, model.tensor({7, width}), {}, 0}, {rows, 7});
        model.add(LinearOp{"out/../x", q, model.tensor({5, 20}), {}, 0}, {rows, 5});
        model.program.outputs["q"] = q;
        model.request.capture = CaptureRequest{{"q", "k", "out/../x"}, 0, 8, 0, uint64_t{1} << 30};
    }
    Model model;
    Buffer x = 0;
    Buffer q = 0;
};

const Progress kSilent = [](double) {};

TEST(SecondMoments, AddUpOverRunsAndAreWrittenOncePerInput) {
    for (const auto& [rows, width] : {std::pair<uint64_t, uint64_t>{1, 1}, {37, 129}, {2500, 300}}) {
        Attention attention(rows, width);
        Graph graph(attention.model.program);
        std::vector<std::vector<float>> inputs, outputs;
        for (int run = 0; run < 2; ++run) {  // say, with and without the condition
            inputs.push_back(attention.model.valuesOf(attention.x));
            outputs.push_back(attention.model.runOn(graph).outputs.at("q"));
            attention.model.valuesOf(attention.x) = test::Gaussian(99).floats(rows * width);
        }
        const Folder folder;
        ThreadPool pool(2);
        const auto files = graph.takeSecondMoments(folder.path(), pool, Cancellation{}, kSilent);
        ASSERT_EQ(files.size(), 3u);
        std::map<std::string, std::string> byLayer;
        for (const auto& file : files) {
            EXPECT_EQ(file.rows, 2 * rows);
            EXPECT_EQ(std::filesystem::path(file.file).parent_path(), folder.path());
            byLayer[file.layer] = file.file;
        }
        EXPECT_EQ(byLayer.at("q"), byLayer.at("k"));
        EXPECT_NE(byLayer.at("q"), byLayer.at("out/../x"));
        const test::MomentsFile file = readFile(byLayer.at("k"));
        EXPECT_NE(file.header.find("\"second_moments\":{\"dtype\":\"F32\",\"shape\":[" + std::to_string(width) + "," + std::to_string(width) + "]"),
                  std::string::npos);
        EXPECT_EQ((8 + file.header.size()) % 8, 0u);
        expectMoments(file.values, moments(inputs, width));
        expectMoments(readFile(byLayer.at("out/../x")).values, moments(outputs, 20));
        EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 2);
        // Taken means forgotten.
        EXPECT_TRUE(graph.takeSecondMoments(folder.path(), pool, Cancellation{}, kSilent).empty());
    }
}

TEST(SecondMoments, DoNotDependOnThreadsAndLeaveOutBrokenRows) {
    constexpr uint64_t kRows = 1500, kWidth = 300;
    std::vector<std::vector<float>> found;
    std::vector<float> good;
    for (const unsigned threads : {1u, 3u}) {
        Attention attention(kRows, kWidth);
        auto& x = attention.model.valuesOf(attention.x);
        good.clear();
        for (uint64_t row = 0; row < kRows; ++row) {
            if (row % 100 == 3) {
                x[row * kWidth + row % 7] = row % 200 == 3 ? std::numeric_limits<float>::quiet_NaN() : -std::numeric_limits<float>::infinity();
            } else {
                good.insert(good.end(), x.begin() + static_cast<ptrdiff_t>(row * kWidth), x.begin() + static_cast<ptrdiff_t>((row + 1) * kWidth));
            }
        }
        Graph graph(attention.model.program);
        attention.model.runOn(graph, threads);
        const Folder folder;
        ThreadPool pool(threads);
        const auto files = graph.takeSecondMoments(folder.path(), pool, Cancellation{}, kSilent);
        const auto k = std::find_if(files.begin(), files.end(), [](const auto& file) { return file.layer == "k"; });
        EXPECT_EQ(k->rows, kRows - 15);
        found.push_back(readFile(k->file).values);
    }
    EXPECT_EQ(found[0], found[1]);
    expectMoments(found[0], moments({good}, kWidth));
}

TEST(SecondMoments, RefuseMoreMemoryThanIsAllowed) {
    Attention attention(4, 300);
    attention.model.request.capture->secondMoments = uint64_t{1} << 20;
    Graph graph(attention.model.program);
    try {
        attention.model.runOn(graph);
        FAIL();
    } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::Memory);
        const std::string message = error.what();
        EXPECT_NE(message.find("2 different inputs, the widest of 300 channels, take 2 MiB; at most 1 MiB"), std::string::npos) << message;
    }
    // Layers of earlier runs count.
    attention.model.request.capture = CaptureRequest{{"out/../x"}, 0, 8, 0, uint64_t{1} << 20};
    attention.model.runOn(graph);
    attention.model.request.capture = CaptureRequest{{"q"}, 0, 8, 0, uint64_t{7} << 18};
    EXPECT_THROW(attention.model.runOn(graph), Error);
}

TEST(SecondMoments, ARunThatEndsEarlyForgetsAll) {
    Attention attention(4, 30);
    Graph graph(attention.model.program);
    attention.model.runOn(graph);
    ThreadPool pool(2);
    Cancellation cancelled;
    cancelled.cancel();
    EXPECT_THROW(graph.run(attention.model.request, pool, cancelled, kSilent, kernels()), Error);
    const Folder folder;
    EXPECT_TRUE(graph.takeSecondMoments(folder.path(), pool, Cancellation{}, kSilent).empty());
}

TEST(SecondMoments, KeptWhenTheFolderIsMissing) {
    Attention attention(4, 30);
    Graph graph(attention.model.program);
    attention.model.runOn(graph);
    ThreadPool pool(1);
    const Folder folder;
    try {
        graph.takeSecondMoments(folder.path() + "/missing", pool, Cancellation{}, kSilent);
        FAIL();
    } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::Io);
        EXPECT_NE(std::string(error.what()).find("missing/"), std::string::npos);
    }
    EXPECT_EQ(graph.takeSecondMoments(folder.path(), pool, Cancellation{}, kSilent).size(), 3u);
}

TEST(SecondMoments, RefuseInputsWhoseSquaresOverflow) {
    Attention attention(4, 30);
    attention.model.valuesOf(attention.x)[3] = 1e30f;
    Graph graph(attention.model.program);
    attention.model.runOn(graph);
    ThreadPool pool(1);
    const Folder folder;
    EXPECT_THROW(graph.takeSecondMoments(folder.path(), pool, Cancellation{}, kSilent), Error);
    EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

}  // namespace
}  // namespace quantscope
