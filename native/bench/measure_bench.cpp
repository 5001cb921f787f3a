// Whole measurements of a BF16 weight from the page cache: items_per_second is weights per second. The design target is 0.5 G
// weights/s per core for the codebook diagnostics.
#include <benchmark/benchmark.h>

#include <optional>

#include "measure/measure.h"
#include "stats/values.h"
#include "weights.h"

namespace quantscope {
namespace {

void run(benchmark::State& state, const Quantizer& quantizer, std::optional<uint64_t> seed) {
    static const bench::WeightsFile weights;
    ThreadPool pool(static_cast<unsigned>(state.range(0)));
    MeasureRequest request;
    request.tensor = weights.tensor();
    request.rotationSeed = seed;
    request.weights = quantizer;
    for (auto _ : state) {
        benchmark::DoNotOptimize(measure(request, pool, Cancellation{}, [](double) {}, kernels()));
    }
    state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * bench::WeightsFile::kRows * bench::WeightsFile::kColumns));
}

void Codebook4(benchmark::State& state) { run(state, CodebookQuantizer{4, FloatType::Bf16}, 0); }
void Codebook2(benchmark::State& state) { run(state, CodebookQuantizer{2, FloatType::Bf16}, 0); }
void Codebook6(benchmark::State& state) { run(state, CodebookQuantizer{6, FloatType::Bf16}, 0); }
void IntegerGroup64(benchmark::State& state) { run(state, IntQuantizer{4, true, Granularity::Group, 64, FloatType::Fp16}, {}); }
void IntegerRow(benchmark::State& state) { run(state, IntQuantizer{4, true, Granularity::Row, 0, FloatType::Fp16}, {}); }

void Stats(benchmark::State& state) {
    static const bench::WeightsFile weights;
    ThreadPool pool(static_cast<unsigned>(state.range(0)));
    for (auto _ : state) {
        benchmark::DoNotOptimize(valueStats({weights.tensor(), 96}, pool, Cancellation{}, [](double) {}));
    }
    state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * bench::WeightsFile::kRows * bench::WeightsFile::kColumns));
}

BENCHMARK(Codebook4)->Arg(1)->Arg(2)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(Codebook2)->Arg(1)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(Codebook6)->Arg(1)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(IntegerGroup64)->Arg(1)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(IntegerRow)->Arg(1)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(Stats)->Arg(1)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace quantscope
