#include "transform/jobs.h"

#include <algorithm>

#include "base/error.h"
#include "packed/safetensors_writer.h"
#include "rotation/rpbh.h"

namespace quantscope {

namespace {

/// Width of a matrix that a request names.
uint64_t widthOf(const TensorRef& matrix, const std::string& name) {
    if (matrix.shape.size() != 2 || matrix.shape[0] < 1 || matrix.shape[1] < 1 || matrix.shape[1] > kMaxWidth || !isWeightDtype(matrix.dtype)) {
        failArgument(name + ": expected a matrix [rows, width] of numbers, width at most " + std::to_string(kMaxWidth));
    }
    return matrix.shape[1];
}

}  // namespace

OutlierRotationSummary runJob(const OutlierRotationRequest& request, ThreadPool& pool, const Cancellation& cancellation,
                              const Progress& progress, const Kernels& kernels) {
    const uint64_t width = widthOf(request.sample, "sample");
    const auto sample = readFloats(request.sample, kernels);
    Workers workers(pool, cancellation, progress, outlierRotationWork(sample.size(), request.block, request.steps));
    const auto fit = fitOutlierRotation(sample, width, request.block, request.steps, request.order, request.seed, workers);
    const std::vector<uint64_t> square{1, request.block, request.block};
    SafetensorsWriter file(request.out, "quantscope", {{"first", Dtype::F32, square}, {"sources", Dtype::I32, {width}}, {"second", Dtype::F32, square}});
    file.write(fit.first);
    file.write(fit.sources);
    file.write(fit.second);
    file.finish();
    return {fit.peakBefore, fit.peakAfter};
}

BasisSummary runJob(const BasisRequest& request, ThreadPool& pool, const Cancellation& cancellation, const Progress& progress,
                    const Kernels& kernels) {
    const uint64_t width = widthOf(request.secondMoments, "secondMoments");
    if (request.secondMoments.shape[0] != width) {
        failArgument("secondMoments: expected a square matrix, got " + std::to_string(request.secondMoments.shape[0]) + " rows of " +
                     std::to_string(width));
    }
    Workers workers(pool, cancellation, progress, basisWork(width, request.heads, std::min(request.high, width)));
    const auto basis = fitBasis(readFloats(request.secondMoments, kernels), width, request.heads, request.high, request.seed, workers);
    std::vector<SafetensorsWriter::Entry> entries{{"matrices", Dtype::F32, {request.heads, basis.block, basis.block}}};
    if (!basis.sources.empty()) {
        entries.push_back({"sources", Dtype::I32, {width}});
    }
    SafetensorsWriter file(request.out, "quantscope", entries);
    file.write(basis.matrices);
    file.write(basis.sources);
    file.finish();
    return {basis.block};
}

TransformSummary runJob(const TransformRequest& request, ThreadPool& pool, const Cancellation& cancellation, const Progress& progress,
                        const Kernels& kernels) {
    const uint64_t width = widthOf(request.sample, "sample");
    validate(request.transforms, width);
    const uint64_t rows = request.sample.shape[0];
    Workers workers(pool, cancellation, progress, static_cast<double>(rows));
    const Transforms transforms(request.transforms, width, workers, kernels);
    const auto sample = readFloats(request.sample, kernels);
    std::vector<float> transformed(sample.size());
    std::vector<Scratch> memory(workers.threads());
    const uint64_t each = transforms.rowsAtOnce();
    workers.tiles((rows + each - 1) / each, [&](size_t piece, unsigned worker) {
        const uint64_t first = piece * each;
        const uint64_t count = std::min(each, rows - first);
        transforms.apply(Transforms::Side::Inputs, sample.data() + first * width, count, transformed.data() + first * width, memory[worker]);
        workers.advance(static_cast<double>(count));
    });
    SafetensorsWriter file(request.out, "quantscope", {{"sample", Dtype::F32, {rows, width}}});
    file.write(transformed);
    file.finish();
    return {rows};
}

}  // namespace quantscope
