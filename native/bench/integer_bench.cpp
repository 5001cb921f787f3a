// Linears on integers against OpenBLAS in float32 and the peak of the multiply-add units, on one core: x [M, 3072] times a weight [3072, 3072].
// Other work on the machine slows all of them now and then, so they take turns, the fastest turn of each counts, and `x_fp32` is the ratio of those.
// `pack` is the same with the packing of x from its codes, which a float product has too.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <ctime>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "cpu/kernels.h"
#include "integer/operands.h"
#include "linear/gemm.h"
#include "quantizer/row_codec.h"

namespace quantscope {
namespace {

constexpr size_t kWidth = 3072;

std::vector<float> bell(size_t n, uint64_t seed) {
    SplitMix64 random(seed);
    std::vector<float> values(n);
    for (auto& value : values) {
        double sum = -6;
        for (int i = 0; i < 12; ++i) {
            sum += random.uniform();
        }
        value = static_cast<float>(sum);
    }
    return values;
}

struct Coded {
    std::vector<uint8_t> codes;
    std::vector<float> sides;
};

Coded encode(const Quantizer& quantizer, const std::vector<float>& rows) {
    const RowCodec codec(quantizer, kWidth, {}, kernels());
    const size_t count = rows.size() / kWidth;
    Coded result{std::vector<uint8_t>(rows.size()), std::vector<float>(count * codec.sides())};
    for (size_t i = 0; i < count; ++i) {
        codec.encode(rows.data() + i * kWidth, result.codes.data() + i * kWidth, result.sides.data() + i * codec.sides());
    }
    return result;
}

/// Seconds that this thread has run: what others take of the processor does not count.
double processorTime() {
    timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

/// Sums that stay in registers: what the multiply-add units give at most.
double multiplyAdds() {
    constexpr size_t kDepth = 256, kRows = 6, kTimes = 400;
    static const std::vector<float> x = bell(kRows * kDepth, 1), panel = bell(kProductColumns * kDepth, 2);
    std::vector<float> y(kRows * kProductColumns);
    for (size_t i = 0; i < kTimes; ++i) {
        kernels().addProducts(x.data(), kDepth, kRows, panel.data(), kDepth, y.data(), kProductColumns);
        benchmark::ClobberMemory();
    }
    return 2.0 * kTimes * kDepth * kRows * kProductColumns;
}

struct Subject {
    std::string name;
    std::function<double()> run;  ///< returns operations
    double best = INFINITY;       ///< seconds for one operation
};

/// Everything at M rows, in turns; the results by name, computed once.
const std::vector<Subject>& measured(size_t rows) {
    static std::map<size_t, std::vector<Subject>> known;
    std::vector<Subject>& subjects = known[rows];
    if (!subjects.empty()) {
        return subjects;
    }
    const auto x = bell(rows * kWidth, 3), w = bell(kWidth * kWidth, 4);
    std::vector<float> y(rows * kWidth);
    const double operations = 2.0 * static_cast<double>(rows) * kWidth * kWidth;
    subjects.push_back({"peak", multiplyAdds});
    subjects.push_back({"fp32", [&] {
                            multiplyTransposed(rows, kWidth, kWidth, 1.0f, x.data(), kWidth, w.data(), kWidth, 0.0f, y.data(), kWidth);
                            return operations;
                        }});
    const ProductKernels& level = productKernelsFor(kernels().name);
    const auto integers = [](int bits, uint64_t group) {
        return Quantizer(IntQuantizer{bits, true, group == 0 ? Granularity::Row : Granularity::Group, group});
    };
    const auto add = [&](const std::string& name, const Quantizer& ofW, const Quantizer& ofX) {
        const auto plan = std::get<IntegerPlan>(planInteger(ofW, ofX, kWidth, level));
        const Coded codedW = encode(ofW, w);
        const auto weight = std::make_shared<IntegerWeight>(plan, kWidth, codedW.codes.data(), codedW.sides.data());
        const auto codedX = std::make_shared<Coded>(encode(ofX, x));
        const auto packed = std::make_shared<IntegerInputs>(plan, rows, level);
        const auto scratch = std::make_shared<IntegerScratch>();
        const auto pack = [=, &level] {
            const size_t sides = codedX->sides.size() / rows;
            for (size_t t = 0; t < packed->tiles(); ++t) {
                packed->fill(t, codedX->codes.data() + packed->firstRow(t) * kWidth, codedX->sides.data() + packed->firstRow(t) * sides);
            }
            static_cast<void>(level);
        };
        const auto product = [=, &level, &y] {
            std::fill(y.begin(), y.end(), 0.0f);
            multiplyIntegers(*packed, {0, packed->tiles()}, *weight, {0, weight->panels()}, y.data(), kWidth, level, *scratch);
        };
        pack();
        subjects.push_back({name, [=] { return product(), operations; }});
        subjects.push_back({name + "/pack", [=] { return pack(), product(), operations; }});
    };
    add("W8A8", integers(8, 0), integers(8, 0));
    add("W4A8/g128", integers(4, 128), integers(8, 0));
    add("W4A4/row", integers(4, 0), integers(4, 0));
    add("W4A4/g128", integers(4, 128), integers(4, 0));
    add("W4A4/g64", integers(4, 64), integers(4, 64));
    add("W4A4/g32", integers(4, 32), integers(4, 32));
    add("W4A4/codebook", CodebookQuantizer{4}, CodebookQuantizer{4});
    add("W4A8/codebook", CodebookQuantizer{4}, integers(8, 0));
    constexpr int kTurns = 16;
    for (int turn = 0; turn < kTurns; ++turn) {
        for (Subject& subject : subjects) {
            const double start = processorTime();
            const double done = subject.run();
            subject.best = std::min(subject.best, (processorTime() - start) / done);
        }
    }
    for (Subject& subject : subjects) {
        subject.run = nullptr;  // what it refers to ends here
    }
    return subjects;
}

void report(benchmark::State& state, size_t rows, size_t index) {
    const std::vector<Subject>& subjects = measured(rows);
    const double operations = 2.0 * static_cast<double>(rows) * kWidth * kWidth;
    for (auto _ : state) {
        state.SetIterationTime(subjects[index].best * operations);
    }
    state.counters["GOP/s"] = 1e-9 / subjects[index].best;
    state.counters["x_fp32"] = subjects[1].best / subjects[index].best;
}

[[maybe_unused]] const bool registered = [] {
    const std::vector<std::string> names = {"peak", "fp32", "W8A8", "W8A8/pack", "W4A8/g128", "W4A8/g128/pack", "W4A4/row", "W4A4/row/pack", "W4A4/g128",
                                            "W4A4/g128/pack", "W4A4/g64", "W4A4/g64/pack", "W4A4/g32", "W4A4/g32/pack", "W4A4/codebook",
                                            "W4A4/codebook/pack", "W4A8/codebook", "W4A8/codebook/pack"};
    for (const size_t rows : {256, 1024}) {
        for (size_t index = 0; index < names.size(); ++index) {
            benchmark::RegisterBenchmark(("Linear/M" + std::to_string(rows) + "/" + names[index]).c_str(),
                                         [=](benchmark::State& state) { report(state, rows, index); })
                ->UseManualTime()
                ->Iterations(1)
                ->Unit(benchmark::kMillisecond);
        }
    }
    return true;
}();

}  // namespace
}  // namespace quantscope
