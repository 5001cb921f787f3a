#include "device/measure.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/sampling.h"
#include "device/coder.h"
#include "device/marginals.h"
#include "device/slots.h"
#include "quantizer/codebook.h"
#include "quantizer/expected.h"
#include "rotation/rpbh.h"
#include "tensor/tensor.h"

namespace quantscope {

namespace {

constexpr size_t kPieceBytes = size_t{32} << 20;

/// Rows are added in order.
struct Totals : RowSums {
    void add(const cuda::RowStatistics& row, uint64_t width) {
        nonFinite += row.nonFinite;
        if (row.squares == 0) {
            zeroRows += row.nonFinite == 0 ? 1 : 0;
            return;
        }
        const double square = std::ldexp(row.squares, 2 * row.exponent);
        energy += square;
        error += row.errors / static_cast<double>(width) * square;
        addRow(before, after, peak, row, width);
    }
};

}  // namespace

std::optional<std::string> notMeasuredOnDevice(const MeasureRequest& request, const Device& device) {
    const auto* keep = std::get_if<KeepQuantizer>(&request.weights);
    if (!std::holds_alternative<CodebookQuantizer>(request.weights) && (keep == nullptr || keep->type)) {
        return "only the error of codebooks is measured on a device";
    }
    if (request.tensor.dtype == Dtype::F64) {
        return "F64 weights are measured with all their bits";
    }
    const uint64_t width = request.tensor.shape.empty() ? 1 : request.tensor.shape.back();
    return width == 0 ? std::nullopt : DeviceCoder::unsupported(request.weights, width, rotationFor(width, request.rotationSeed.value_or(request.diagnosticSeed)).get(), device);
}

Measurement measureOnDevice(const MeasureRequest& request, const std::shared_ptr<Device>& device, const Cancellation& cancellation, const Progress& progress,
                            const Kernels& kernels) {
    if (const auto reason = notMeasuredOnDevice(request, *device)) {
        failArgument("Not on " + std::string(device->description().name) + ": " + *reason);
    }
    const Tensor tensor(request.tensor);
    const uint64_t width = tensor.columns();
    if (!isWeightDtype(tensor.dtype())) {
        failArgument("tensor.dtype: " + std::string(nameOf(tensor.dtype())) + " weights cannot be measured");
    }
    validate(request.weights, std::max<uint64_t>(width, 1));
    const MarginalGrid grid(request.histogramBins);
    Measurement result;
    result.rows = tensor.rows();
    const bool all = request.sampleRows == 0 || request.sampleRows >= tensor.rows();
    const uint64_t rows = width == 0 ? 0 : all ? tensor.rows() : request.sampleRows;
    result.sampledRows = rows;
    if (width > 0) {
        result.expectedRelativeMse = expectedDistortion(request.weights, width, result.rows);
    }
    Totals totals;
    std::vector<uint64_t> before(grid.countsSize());
    std::vector<uint64_t> after(grid.countsSize());
    if (rows > 0) {
        const auto rotation = rotationFor(width, request.rotationSeed.value_or(request.diagnosticSeed), &cancellation);
        DeviceMarginals marginals(device, grid, *rotation, width);
        if (const auto* codebook = std::get_if<CodebookQuantizer>(&request.weights)) {
            marginals.setCodebook(codebookFor(width, codebook->bits)->table, codebook->norm, request.rotationSeed.has_value());
        }

        // BF16 goes to the device as it is, everything else as float32.
        const bool asStored = tensor.dtype() == Dtype::BF16;
        const cuda::Element element = asStored ? cuda::Element::BF16 : cuda::Element::F32;
        const uint64_t rowBytes = width * (asStored ? 2 : 4);
        const auto slots = DeviceSlots::fitting(device, std::min<uint64_t>(std::max<uint64_t>(kPieceBytes, rowBytes), rows * rowBytes), rowBytes);
        const uint64_t each = std::min<uint64_t>(slots->bytes() / rowBytes, marginals.mostRows());
        std::vector<std::byte> stored(asStored ? 0 : tensor.rowBytes());
        int slot = 0;
        for (uint64_t begin = 0; begin < rows; begin += each) {
            cancellation.check();
            const uint64_t end = std::min(rows, begin + each);
            std::byte* const host = slots->host(slot);
            for (uint64_t i = begin; i < end; ++i) {
                const uint64_t row = all ? i : sampledRow(i, tensor.rows(), rows);
                std::byte* const target = host + (i - begin) * rowBytes;
                tensor.read(row * width, width, asStored ? target : stored.data());
                if (!asStored) {
                    kernels.decode(tensor.dtype(), stored.data(), reinterpret_cast<float*>(target), width);
                }
            }
            slots->fetch(slot, (end - begin) * rowBytes);
            for (const cuda::RowStatistics& row : marginals.measure({slots->acquire(slot), element, end - begin, width})) {
                totals.add(row, width);
            }
            slots->release(slot);
            slot = (slot + 1) % slots->count();
            progress(static_cast<double>(end) / static_cast<double>(rows));
        }
        marginals.take(before, after);
    }
    finish(result, totals, before, after, grid, width, cancellation);
    return result;
}

}  // namespace quantscope
