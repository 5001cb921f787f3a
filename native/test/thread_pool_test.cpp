#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>

#include "base/lru_cache.h"

namespace quantscope {
namespace {

TEST(ThreadPool, EveryTileOnce) {
    for (const unsigned threads : {1u, 2u, 5u}) {
        ThreadPool pool(threads);
        EXPECT_EQ(pool.threads(), threads);
        for (const size_t tiles : {size_t{0}, size_t{1}, size_t{3}, size_t{1000}}) {
            std::vector<std::atomic<int>> seen(tiles);
            pool.run(tiles, [&](size_t tile, unsigned worker) {
                ASSERT_LT(worker, threads);
                ++seen[tile];
            });
            for (const auto& count : seen) {
                EXPECT_EQ(count, 1);
            }
        }
    }
}

TEST(ThreadPool, ExceptionsReachTheCallerAndThePoolLives) {
    ThreadPool pool(3);
    std::atomic<int> calls{0};
    try {
        pool.run(100000, [&](size_t tile, unsigned) {
            ++calls;
            if (tile == 5) {
                throw std::runtime_error("tile five");
            }
        });
        FAIL() << "no exception";
    } catch (const std::runtime_error& error) {
        EXPECT_STREQ(error.what(), "tile five");
    }
    EXPECT_LT(calls, 100000);
    std::atomic<int> after{0};
    pool.run(10, [&](size_t, unsigned) { ++after; });
    EXPECT_EQ(after, 10);
}

TEST(ThreadPool, ZeroMeansOnePerProcessor) {
    EXPECT_GE(ThreadPool::resolve(0), 1u);
    EXPECT_EQ(ThreadPool::resolve(7), 7u);
}

TEST(LruCache, KeepsTheRecentlyUsedWithinItsBound) {
    LruCache<int, int> cache(3);
    int made = 0;
    const auto get = [&](int key) { return *cache.get(key, 1, [&] { return ++made, key * 10; }); };
    EXPECT_EQ(get(1), 10);
    EXPECT_EQ(get(2), 20);
    EXPECT_EQ(get(3), 30);
    EXPECT_EQ(get(1), 10);  // used again: 2 is now the oldest
    EXPECT_EQ(made, 3);
    EXPECT_EQ(get(4), 40);
    EXPECT_EQ(get(1), 10);
    EXPECT_EQ(made, 4);
    EXPECT_EQ(get(2), 20);
    EXPECT_EQ(made, 5);
}

TEST(LruCache, AnOversizedValueIsStillReturned) {
    LruCache<int, int> cache(3);
    EXPECT_EQ(*cache.get(1, 100, [] { return 7; }), 7);
    EXPECT_EQ(*cache.get(2, 1, [] { return 8; }), 8);
}

}  // namespace
}  // namespace quantscope
