// The CPU kernels against limits measured in the same run, one row for each target: `quantscope_table`, or with another level
// `QUANTSCOPE_CPU=avx2 OPENBLAS_CORETYPE=Haswell quantscope_table` (OpenBLAS does not read our variable). Nothing passes or fails here: machines are noisy.
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include "base/aligned.h"
#include "graph/ops.h"
#include "graph/run.h"
#include "limits.h"
#include "linears.h"
#include "measure/measure.h"
#include "solver/dense.h"
#include "solver/feedback.h"
#include "stats/values.h"
#include "weights.h"

extern "C" {
char* openblas_get_corename();
void dpotrf_(const char* triangle, const int* n, double* a, const int* stride, int* info);
}

namespace quantscope {
namespace {

const Cancellation kNever;
const Progress kQuiet = [](double) {};

struct Row {
    std::string kernel;
    std::string measured;
    double value;
    const char* unit;
    double target;
    std::string against;
};

std::vector<Row>& rows() {
    static std::vector<Row> all;
    return all;
}

template <class... Values>
std::string text(const char* format, Values... values) {
    char buffer[200];
    std::snprintf(buffer, sizeof buffer, format, values...);
    return buffer;
}

/// In memory as the engine has it: no vector straddles two lines of the cache.
std::shared_ptr<float[]> aligned(const std::vector<float>& values) {
    std::shared_ptr<float[]> result = allocateAligned<float>(values.size());
    std::copy(values.begin(), values.end(), result.get());
    return result;
}

void hadamard() {
    const std::shared_ptr<float[]> x = aligned(bell(kStreamValues, 5));
    constexpr double kBytes = kStreamValues * sizeof(float);
    std::vector<Subject> subjects = {{"scale", [x] {
                                          kernels().multiply(x.get(), kStreamValues, 1.0f);
                                          return kBytes;
                                      }}};
    for (size_t block = 32; block <= 4096; block *= 2) {
        subjects.push_back({std::to_string(block), [x, block] {
                                kernels().hadamard(x.get(), kStreamValues, block, static_cast<float>(1 / std::sqrt(static_cast<double>(block))));
                                return kBytes;
                            }});
    }
    takeTurns(subjects, 10);
    double least = INFINITY;
    std::string list;
    for (size_t i = 1; i < subjects.size(); ++i) {
        const double ratio = subjects[i].rate() / subjects[0].rate();
        least = std::min(least, ratio);
        list += text(" %s: %.2f", subjects[i].name.c_str(), ratio);
    }
    rows().push_back({"block Hadamard from DRAM", "block" + list, least, "x", 0.9, text("in-place scale, %.1f GB/s", 1e-9 * subjects[0].rate())});

    const Kernels* level = &kernels();
    for (const Kernels* candidate : supportedKernels()) {
        level = std::string_view(candidate->name) == "avx2" ? candidate : level;
    }
    std::vector<Subject> small;
    const std::shared_ptr<float[]> y = aligned(bell(4096, 6));
    for (size_t block = 32; block <= 4096; block *= 2) {
        small.push_back({std::to_string(block), [y, block, level] {
                             for (int i = 0; i < 200; ++i) {
                                 level->hadamard(y.get(), 4096, block, static_cast<float>(1 / std::sqrt(static_cast<double>(block))));
                             }
                             return 200.0 * 4096 * sizeof(float);
                         }});
    }
    takeTurns(small, 40);
    list.clear();
    least = INFINITY;
    for (const Subject& subject : small) {
        least = std::min(least, 1e-9 * subject.rate());
        list += text(" %s: %.0f", subject.name.c_str(), 1e-9 * subject.rate());
    }
    rows().push_back({text("block Hadamard in L1, %s", level->name), "block" + list, least, "GB/s", 20, ""});
}

void diagnostics() {
    const bench::WeightsFile file;
    ThreadPool one(1), two(2);
    MeasureRequest request;
    request.tensor = file.tensor();
    request.rotationSeed = 0;
    request.weights = CodebookQuantizer{4, FloatType::Bf16};
    const double count = bench::WeightsFile::kRows * bench::WeightsFile::kColumns;
    // Bytes of the statistics are those of the BF16 file. Rates count the time of both threads, so both together do twice as much.
    const auto stream = std::make_shared<std::vector<float>>(kStreamValues, 1.0f);
    const auto read = std::make_shared<std::vector<std::byte>>(size_t{1} << 20);
    std::vector<Subject> subjects = {
        {"measure", [&] { return measure(request, one, kNever, kQuiet, kernels()), count; }},
        {"statistics", [&] { return valueStats({file.tensor(), 96}, two, kNever, kQuiet), count * sizeof(uint16_t); }},
        {"read", [&] {
             constexpr size_t kPieces = 256, kPiece = kStreamValues / kPieces;
             two.run(kPieces, [&](size_t piece, unsigned) {
                 if (kernels().maxMagnitude(stream->data() + piece * kPiece, kPiece) == 0) {
                     std::abort();
                 }
             });
             return static_cast<double>(kStreamValues * sizeof(float));
         }},
        {"file", [&] {
             const Tensor tensor(file.tensor());
             const size_t piece = read->size() / 2 / sizeof(uint16_t);
             two.run(tensor.elements() / piece, [&](size_t i, unsigned worker) { tensor.read(i * piece, piece, read->data() + worker * piece * sizeof(uint16_t)); });
             return count * sizeof(uint16_t);
         }},
    };
    takeTurns(subjects, 10);
    rows().push_back({"weight diagnostics, 4-bit codebook, BF16 file", "sign, permute, Hadamard, norm, assignment, both marginals", 1e-9 * subjects[0].rate(), "G weights/s", 0.5, ""});
    rows().push_back({"statistics-only pass, BF16 file, 2 threads", text("%.1f GB/s of BF16; the file alone is read at %.1f GB/s", 2e-9 * subjects[1].rate(), 2e-9 * subjects[3].rate()),
                      subjects[1].rate() / subjects[2].rate(), "x", 0.8, text("read stream, %.1f GB/s", 2e-9 * subjects[2].rate())});
}

/// Returns float32's rate at 1,024 rows.
double products() {
    const ProductKernels& level = productKernelsFor(kernels().name);
    double last = 0;
    for (const size_t m : {256, 1024}) {
        std::vector<Subject> subjects = linears(m, level, {"W8A8", "W4A4/g128", "W4A4/codebook"});
        subjects.push_back(multiplyAddPeak(kernels()));
        subjects.push_back(int8Chain(level));
        takeTurns(subjects, 10);
        const double fp32 = subjects[0].rate(), chain = subjects[5].rate();
        const std::string at = text("M = %d, ", static_cast<int>(m));
        rows().push_back({"fp32 linear (OpenBLAS)", at + text("%.0f GFLOP/s", 1e-9 * fp32), fp32 / subjects[4].rate(), "x", 0.9, text("FMA peak, %.0f GFLOP/s", 1e-9 * subjects[4].rate())});
        const char* names[] = {"W8A8 linear", "W4A4 linear, group 128", "W4A4 codebook linear"};
        const double targets[] = {1.8, 2.3, 1.7};
        for (size_t i = 0; i < 3; ++i) {
            const double rate = subjects[i + 1].rate();
            rows().push_back({names[i] + text(" (%s)", level.name), at + text("%.0f Gop/s, %.2f of the int8 chain", 1e-9 * rate, rate / chain), rate / fp32, "x", targets[i], "fp32 linear"});
        }
        last = fp32;
    }
    return last;
}

void attention(double fp32) {
    constexpr size_t kTokens = 1024, kWidth = 1152;
    ThreadPool pool(1);
    Workers workers(pool, kNever, kQuiet, 1);
    std::vector<TileMemory> memory(1);
    std::vector<std::vector<float>> values(4);
    for (size_t i = 0; i < 4; ++i) {
        values[i] = bell(kTokens * kWidth, 7 + i);
    }
    const std::vector<float*> places = {values[0].data(), values[1].data(), values[2].data(), values[3].data()};
    Program program;
    program.buffers.assign(4, Shape{kTokens, kWidth});
    quantscope::Run run{program, places, workers, nullptr, kernels(), memory};
    std::vector<Subject> subjects;
    for (const uint64_t heads : {18, 16, 9}) {
        subjects.push_back({std::to_string(kWidth / heads), [&, heads] {
                                quantscope::run(AttentionOp{0, 1, 2, heads, {}, 3}, run);
                                return 4.0 * kTokens * kTokens * kWidth;
                            }});
    }
    subjects.push_back(linears(1024, productKernelsFor(kernels().name), {"fp32"})[0]);
    takeTurns(subjects, 10);
    fp32 = std::max(fp32, subjects.back().rate());
    for (size_t i = 0; i + 1 < subjects.size(); ++i) {
        rows().push_back({"attention, 1,024 tokens, head size " + subjects[i].name, text("%.0f GFLOP/s", 1e-9 * subjects[i].rate()), subjects[i].rate() / fp32, "x", 0.6,
                          text("fp32 linear, %.0f GFLOP/s", 1e-9 * fp32)});
    }
}

void factorisation() {
    constexpr size_t kSize = 3072;
    // Second moments of bell-shaped inputs: the diagonal outweighs the rest.
    std::vector<float> moments(kSize * kSize);
    const std::vector<float> noise = bell(kSize * kSize, 11);
    for (size_t i = 0; i < kSize; ++i) {
        for (size_t j = 0; j < kSize; ++j) {
            moments[i * kSize + j] = i == j ? 1.0f : 0.003f * (i < j ? noise[i * kSize + j] : noise[j * kSize + i]);
        }
    }
    ThreadPool pool(1);
    Workers workers(pool, kNever, kQuiet, 1);
    std::vector<double> a(moments.size());
    constexpr double kOperations = double(kSize) * kSize * kSize / 3;
    std::vector<Subject> subjects = {
        {"Feedback", [&] { return static_cast<void>(Feedback(moments.data(), kSize, kSize, {}, false, workers)), kOperations; }},
        {"factorLower", [&] { return static_cast<void>(factorLower(a.data(), kSize, workers)), kOperations; }, [&] { std::copy(moments.begin(), moments.end(), a.begin()); }},
        {"potrf", [&] {
             const int n = kSize;
             int info = 0;
             dpotrf_("U", &n, a.data(), &n, &info);
             return info == 0 ? kOperations : 0.0;
         }, [&] { std::copy(moments.begin(), moments.end(), a.begin()); }},
    };
    takeTurns(subjects, 8);
    rows().push_back({"GPTQ factorisation, d = 3072, float64", text("%.0f GFLOP/s; %.0f from float32 moments to the factor in memory touched first; no inverse", 1e-9 * subjects[1].rate(), 1e-9 * subjects[0].rate()),
                      subjects[1].rate() / subjects[2].rate(), "x", 0.8, text("potrf, %.0f GFLOP/s", 1e-9 * subjects[2].rate())});
}

std::string valueOf(const Row& row) {
    return row.unit[0] == 'x' ? text("%.2f x", row.value) : text(row.unit[1] == 'B' ? "%.0f %s" : "%.2f %s", row.value, row.unit);
}

std::string targetOf(const Row& row) { return text(row.unit[1] == 'B' ? "%.0f %s" : "%.1f %s", row.target, row.unit); }

void print() {
    std::printf("\nCPU kernels, per core unless said: level %s, integers %s, OpenBLAS %s. Processor time, kernels take turns, best of 8 to 40.\n\n", kernels().name,
                productKernelsFor(kernels().name).name, openblas_get_corename());
    size_t widths[] = {0, 0};
    for (const Row& row : rows()) {
        widths[0] = std::max(widths[0], row.kernel.size());
        widths[1] = std::max(widths[1], row.against.size());
    }
    for (const Row& row : rows()) {
        std::printf("%-*s  %16s  (target %15s)  %-*s  %s\n", static_cast<int>(widths[0]), row.kernel.c_str(), valueOf(row).c_str(), targetOf(row).c_str(),
                    static_cast<int>(widths[1]), row.against.c_str(), row.measured.c_str());
    }
}

/// Lines of JSON for the table that `npm run bench` closes with. None of the texts has a character that JSON would escape.
void handOver(const char* path) {
    std::FILE* const file = std::fopen(path, "a");
    if (file == nullptr) {
        std::perror(path);
        std::exit(1);
    }
    for (const Row& row : rows()) {
        const std::string of = row.against.empty() ? "" : " of " + row.against;
        std::fprintf(file, "{\"what\":\"%s, CPU level %s\",\"measured\":\"%s%s; %s\",\"target\":\"≥ %s\",\"met\":%s}\n", row.kernel.c_str(), kernels().name,
                     valueOf(row).c_str(), of.c_str(), row.measured.c_str(), targetOf(row).c_str(), row.value >= row.target ? "true" : "false");
    }
    std::fclose(file);
}

}  // namespace
}  // namespace quantscope

int main() {
    using namespace quantscope;
    hadamard();
    diagnostics();
    const double fp32 = products();
    attention(fp32);
    factorisation();
    print();
    if (const char* const path = std::getenv("QUANTSCOPE_BENCH_ROWS")) {
        handOver(path);
    }
}
