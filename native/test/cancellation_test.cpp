// Long jobs stop when asked. The files are sparse: large for the engine, nothing on the disk.
#include <gtest/gtest.h>

#include <atomic>

#include "base/error.h"
#include "measure/measure.h"
#include "stats/values.h"
#include "support.h"

namespace quantscope {
namespace {

constexpr uint64_t kRows = 1 << 20;
constexpr uint64_t kColumns = 4096;

class LongJob : public ::testing::Test {
protected:
    LongJob() : file_({}) { std::filesystem::resize_file(file_.path(), kRows * kColumns * sizeof(float)); }

    TensorRef tensor() const { return test::tensorIn(file_, Dtype::F32, {kRows, kColumns}); }

    /// Cancels from inside the progress callback at the third tile and counts what still ran.
    template <class Job>
    void expectCancelled(Job job) {
        ThreadPool pool(2);
        Cancellation cancellation;
        std::atomic<int> tiles{0};
        try {
            job(pool, cancellation, [&](double fraction) {
                EXPECT_GT(fraction, 0.0);
                if (++tiles == 3) {
                    cancellation.cancel();
                }
            });
            FAIL() << "ran to its end";
        } catch (const Error& error) {
            EXPECT_EQ(error.code(), ErrorCode::Cancelled);
        }
        EXPECT_LE(tiles, 3 + 2);  // at most the tile each thread was in
    }

private:
    test::TemporaryFile file_;
};

TEST_F(LongJob, MeasureStops) {
    const MeasureRequest request{tensor(), 0, 0, CodebookQuantizer{4, FloatType::Bf16}, 96, 0};
    expectCancelled([&](ThreadPool& pool, const Cancellation& cancellation, const Progress& progress) {
        measure(request, pool, cancellation, progress, kernels());
    });
}

TEST_F(LongJob, WholeTensorScaleStopsInItsFirstPass) {
    const MeasureRequest request{tensor(), {}, 0, IntQuantizer{4, true, Granularity::Tensor, 0, FloatType::Fp16}, 96, 0};
    expectCancelled([&](ThreadPool& pool, const Cancellation& cancellation, const Progress& progress) {
        measure(request, pool, cancellation, progress, kernels());
    });
}

TEST_F(LongJob, StatsStop) {
    expectCancelled([&](ThreadPool& pool, const Cancellation& cancellation, const Progress& progress) {
        valueStats({tensor(), 16}, pool, cancellation, progress);
    });
}

}  // namespace
}  // namespace quantscope
