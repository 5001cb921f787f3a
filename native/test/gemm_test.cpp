#include "linear/gemm.h"

#include <cstring>
#include <random>
#include <thread>
#include <vector>

namespace quantscope {
namespace {

std::vector<float> randomValues(size_t count, unsigned seed) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    std::vector<float> values(count);
    for (float& value : values) value = normal(random);
    return values;
}

TEST(Gemm, FollowsTheDefinitionOnOddShapes) {
    for (const auto& [rows, columns, width] : {std::array<size_t, 3>{1, 1, 1}, {1, 7, 33}, {5, 3, 1}, {17, 31, 129}, {64, 66, 128}}) {
        const auto x = randomValues(rows * width, 1);
        const auto w = randomValues(columns * width, 2);
        std::vector<float> y(rows * columns);
        multiplyTransposed(rows, columns, width, 1.0f, x.data(), width, w.data(), width, 0.0f, y.data(), columns);
        for (size_t i = 0; i < rows; i++) {
            for (size_t j = 0; j < columns; j++) {
                double sum = 0;
                for (size_t k = 0; k < width; k++) sum += double(x[i * width + k]) * w[j * width + k];
                EXPECT_NEAR(y[i * columns + j], sum, 1e-5 * double(width)) << rows << " " << columns << " " << width;
            }
        }
    }
}

TEST(Gemm, AlikeFollowsTheDefinitionAndDoesNotDependOnTheRowsAtOnce) {
    for (const auto& [rows, columns, width] : {std::array<size_t, 3>{1, 1, 1}, {37, 36, 36}, {65, 17, 257}, {130, 31, 600}}) {
        const auto x = randomValues(rows * width, 1);
        const auto w = randomValues(columns * width, 2);
        const auto start = randomValues(rows * columns, 3);
        auto y = start;
        multiplyTransposedAlike(rows, columns, width, -2.0f, x.data(), width, w.data(), width, 0.5f, y.data(), columns, kernels());
        for (size_t i = 0; i < rows; i++) {
            std::vector<float> alone(start.begin() + ptrdiff_t(i * columns), start.begin() + ptrdiff_t((i + 1) * columns));
            multiplyTransposedAlike(1, columns, width, -2.0f, x.data() + i * width, width, w.data(), width, 0.5f, alone.data(), columns, kernels());
            for (size_t j = 0; j < columns; j++) {
                double sum = 0;
                for (size_t k = 0; k < width; k++) sum += double(x[i * width + k]) * w[j * width + k];
                EXPECT_NEAR(y[i * columns + j], 0.5 * start[i * columns + j] - 2 * sum, 1e-5 * double(width)) << rows << " " << columns << " " << width;
                EXPECT_EQ(y[i * columns + j], alone[j]) << "row " << i;
            }
        }
    }
}

// A BLAS built without locks passes every other test and is wrong in a few products of a thousand when threads call it at once.
TEST(Gemm, IsRightWhenSeveralThreadsCallAtOnce) {
    constexpr size_t size = 64, width = 128;
    const auto x = randomValues(size * width, 3);
    const auto w = randomValues(size * width, 4);
    std::vector<float> expected(size * size);
    multiplyTransposed(size, size, width, 1.0f, x.data(), width, w.data(), width, 0.0f, expected.data(), size);
    std::vector<size_t> wrong(4);
    std::vector<std::thread> threads;
    for (size_t& mine : wrong) {
        threads.emplace_back([&] {
            std::vector<float> y(size * size);
            for (int i = 0; i < 20000; i++) {
                multiplyTransposed(size, size, width, 1.0f, x.data(), width, w.data(), width, 0.0f, y.data(), size);
                if (std::memcmp(y.data(), expected.data(), y.size() * sizeof(float)) != 0) mine++;
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(wrong, std::vector<size_t>(4));
}

}  // namespace
}  // namespace quantscope
