// Single kernels on data in the cache: read the numbers as ratios to `Scale`, an in-place multiplication of the same data, taken in
// the same run. bytes_per_second counts the data once.
#include <benchmark/benchmark.h>

#include <cmath>
#include <string>
#include <vector>

#include "base/random.h"
#include "cpu/kernels.h"
#include "quantizer/codebook.h"
#include "rotation/rpbh.h"
#include "stats/marginal.h"

namespace quantscope {
namespace {

std::vector<float> noise(size_t n) {
    SplitMix64 random(1);
    std::vector<float> values(n);
    for (auto& value : values) {  // a sum of uniforms: bell-shaped, unit variance
        value = static_cast<float>((random.uniform() + random.uniform() + random.uniform() - 1.5) * 2);
    }
    return values;
}

void finish(benchmark::State& state, size_t n) {
    state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * n * sizeof(float)));
    state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * n));
}

void Scale(benchmark::State& state, const Kernels* k, size_t n) {
    auto x = noise(n);
    for (auto _ : state) {
        k->multiply(x.data(), n, 1.0f);
        benchmark::ClobberMemory();
    }
    finish(state, n);
}

void Hadamard(benchmark::State& state, const Kernels* k, size_t n, size_t block) {
    auto x = noise(n);
    const float factor = static_cast<float>(1 / std::sqrt(static_cast<double>(block)));
    for (auto _ : state) {
        k->hadamard(x.data(), n, block, factor);
        benchmark::ClobberMemory();
    }
    finish(state, n);
}

void Rotate(benchmark::State& state, const Kernels* k, size_t width) {
    const auto x = noise(width);
    std::vector<float> y(width);
    const auto rotation = rotationFor(width, 0);
    for (auto _ : state) {
        rotation->apply(x.data(), y.data(), *k);
        benchmark::ClobberMemory();
    }
    finish(state, width);
}

void BinAndSum(benchmark::State& state, const Kernels* k, size_t n) {
    const auto x = noise(n);
    const MarginalGrid grid(96);
    std::vector<uint32_t> counts(grid.countsSize());
    for (auto _ : state) {
        benchmark::DoNotOptimize(k->binAndSum(x.data(), n, 1.0f, grid.binning, counts.data()));
    }
    finish(state, n);
}

void CodebookError(benchmark::State& state, const Kernels* k, size_t n, int bits) {
    const auto x = noise(n);
    const auto book = codebookFor(n, bits);
    for (auto _ : state) {
        benchmark::DoNotOptimize(k->codebookError(x.data(), n, 1.0f, 1.0f, book->table));
    }
    finish(state, n);
}

void IntegerError(benchmark::State& state, const Kernels* k, size_t n) {
    const auto x = noise(n);
    for (auto _ : state) {
        benchmark::DoNotOptimize(k->integerError(x.data(), n, {0.3f, -8, 7}));
    }
    finish(state, n);
}

void DecodeBF16(benchmark::State& state, const Kernels* k, size_t n) {
    const std::vector<std::byte> stored(2 * n);
    std::vector<float> x(n);
    for (auto _ : state) {
        k->decode(Dtype::BF16, stored.data(), x.data(), n);
        benchmark::ClobberMemory();
    }
    finish(state, n);
}

[[maybe_unused]] const bool registered = [] {
    constexpr size_t kWidth = 3072;
    for (const Kernels* k : supportedKernels()) {
        const std::string suffix = std::string("/") + k->name;
        const auto add = [&](const std::string& name, auto function, auto... arguments) {
            benchmark::RegisterBenchmark((name + suffix).c_str(), [=](benchmark::State& state) { function(state, k, arguments...); });
        };
        add("Scale", Scale, kWidth);
        for (const size_t block : {64, 128, 256, 512, 1024}) {
            add("Hadamard" + std::to_string(block), Hadamard, kWidth, block);
        }
        add("Rotate", Rotate, kWidth);
        add("BinAndSum", BinAndSum, kWidth);
        for (const int bits : {2, 3, 4, 5, 6, 8}) {
            add("Codebook" + std::to_string(bits), CodebookError, kWidth, bits);
        }
        add("Integer4", IntegerError, kWidth);
        add("DecodeBF16", DecodeBF16, kWidth);
    }
    // The same transform on data far larger than the caches, where memory is the limit.
    constexpr size_t kLarge = size_t{1} << 26;
    const Kernels* k = supportedKernels().front();
    benchmark::RegisterBenchmark("ScaleDram", [=](benchmark::State& state) { Scale(state, k, kLarge); });
    for (const size_t block : {128, 512, 4096}) {
        benchmark::RegisterBenchmark(("HadamardDram" + std::to_string(block)).c_str(),
                                     [=](benchmark::State& state) { Hadamard(state, k, kLarge, block); });
    }
    return true;
}();

}  // namespace
}  // namespace quantscope
