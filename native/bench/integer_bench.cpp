// Linears on integers against OpenBLAS in float32 and the limits of the processor, on one core, for every level: `x_fp32` is the ratio to float32,
// `x_chain` that to chains of byte products in registers. OpenBLAS takes the processor's best instructions whatever the level: run with
// OPENBLAS_CORETYPE=Haswell to compare level "avx2" with float32 on AVX2.
#include <benchmark/benchmark.h>

#include <map>

#include "limits.h"
#include "linears.h"

namespace quantscope {
namespace {

/// Everything at M rows, in turns; computed once.
const std::vector<Subject>& measured(size_t rows, const ProductKernels& level) {
    static std::map<std::pair<size_t, std::string>, std::vector<Subject>> known;
    std::vector<Subject>& subjects = known[{rows, level.name}];
    if (subjects.empty()) {
        subjects = linears(rows, level);
        subjects.push_back(multiplyAddPeak(kernels()));
        subjects.push_back(int8Chain(level));
        takeTurns(subjects, 8);
        for (Subject& subject : subjects) {
            subject.run = nullptr;  // its memory
        }
    }
    return subjects;
}

void report(benchmark::State& state, size_t rows, const ProductKernels& level, const std::string& name) {
    const std::vector<Subject>& subjects = measured(rows, level);
    const auto named = [&](const std::string& wanted) {
        return *std::find_if(subjects.begin(), subjects.end(), [&](const Subject& subject) { return subject.name == wanted; });
    };
    const Subject subject = named(name);
    for (auto _ : state) {
        state.SetIterationTime(subject.best * 2.0 * static_cast<double>(rows) * kLinearWidth * kLinearWidth);
    }
    state.counters["GOP/s"] = 1e-9 * subject.rate();
    state.counters["x_fp32"] = subject.rate() / named("fp32").rate();
    state.counters["x_chain"] = subject.rate() / named("int8 chain").rate();
}

[[maybe_unused]] const bool registered = [] {
    std::vector<std::string> names = {"FMA peak", "int8 chain", "fp32"};
    for (const char* name : {"W8A8", "W4A8/g128", "W4A4/row", "W4A4/g128", "W4A4/g64", "W4A4/g32", "W4A4/codebook", "W4A8/codebook"}) {
        names.insert(names.end(), {name, name + std::string("/pack")});
    }
    for (const ProductKernels* level : supportedProductKernels()) {
        if (level == &scalarProductKernels()) {
            continue;  // minutes
        }
        for (const size_t rows : {256, 1024}) {
            for (const std::string& name : names) {
                benchmark::RegisterBenchmark(("Linear/" + std::string(level->name) + "/M" + std::to_string(rows) + "/" + name).c_str(),
                                             [=](benchmark::State& state) { report(state, rows, *level, name); })
                    ->UseManualTime()
                    ->Iterations(1)
                    ->Unit(benchmark::kMillisecond);
            }
        }
    }
    return true;
}();

}  // namespace
}  // namespace quantscope
