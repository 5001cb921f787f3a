// Whole measurements of a BF16 weight from the page cache: items_per_second is weights per second. The design target is 0.5 G
// weights/s per core for the codebook diagnostics.
#include <benchmark/benchmark.h>

#include <unistd.h>

#include <bit>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <numbers>
#include <optional>
#include <string>
#include <vector>

#include "base/random.h"
#include "measure/measure.h"
#include "stats/values.h"

namespace quantscope {
namespace {

constexpr uint64_t kRows = 4096;
constexpr uint64_t kColumns = 3072;

/// A file of Gaussian BF16 numbers, removed at exit.
class Weights {
public:
    Weights() : path_(std::filesystem::temp_directory_path() / ("quantscope-bench-" + std::to_string(::getpid()))) {
        SplitMix64 random(1);
        std::vector<uint16_t> values(kRows * kColumns);
        for (auto& value : values) {
            const double radius = 0.02 * std::sqrt(-2 * std::log(1 - random.uniform()));
            const auto gaussian = static_cast<float>(radius * std::cos(2 * std::numbers::pi * random.uniform()));
            value = static_cast<uint16_t>(std::bit_cast<uint32_t>(gaussian) >> 16);
        }
        std::ofstream out(path_, std::ios::binary);
        out.write(reinterpret_cast<const char*>(values.data()), static_cast<std::streamsize>(values.size() * sizeof(uint16_t)));
    }
    ~Weights() { std::filesystem::remove(path_); }
    TensorRef tensor() const { return {path_.string(), 0, Dtype::BF16, {kRows, kColumns}}; }

private:
    std::filesystem::path path_;
};

void run(benchmark::State& state, const Quantizer& quantizer, std::optional<uint64_t> seed) {
    static const Weights weights;
    ThreadPool pool(static_cast<unsigned>(state.range(0)));
    MeasureRequest request;
    request.tensor = weights.tensor();
    request.rotationSeed = seed;
    request.weights = quantizer;
    for (auto _ : state) {
        benchmark::DoNotOptimize(measure(request, pool, Cancellation{}, [](double) {}, kernels()));
    }
    state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * kRows * kColumns));
}

void Codebook4(benchmark::State& state) { run(state, CodebookQuantizer{4, FloatType::Bf16}, 0); }
void Codebook2(benchmark::State& state) { run(state, CodebookQuantizer{2, FloatType::Bf16}, 0); }
void Codebook6(benchmark::State& state) { run(state, CodebookQuantizer{6, FloatType::Bf16}, 0); }
void IntegerGroup64(benchmark::State& state) { run(state, IntQuantizer{4, true, Granularity::Group, 64, FloatType::Fp16}, {}); }
void IntegerRow(benchmark::State& state) { run(state, IntQuantizer{4, true, Granularity::Row, 0, FloatType::Fp16}, {}); }

void Stats(benchmark::State& state) {
    static const Weights weights;
    ThreadPool pool(static_cast<unsigned>(state.range(0)));
    for (auto _ : state) {
        benchmark::DoNotOptimize(valueStats({weights.tensor(), 96}, pool, Cancellation{}, [](double) {}));
    }
    state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * kRows * kColumns));
}

BENCHMARK(Codebook4)->Arg(1)->Arg(2)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(Codebook2)->Arg(1)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(Codebook6)->Arg(1)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(IntegerGroup64)->Arg(1)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(IntegerRow)->Arg(1)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(Stats)->Arg(1)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace quantscope
