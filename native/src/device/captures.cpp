#include "device/captures.h"

#include <algorithm>

#include "device/buffers.h"
#include "device/moments.h"

namespace quantscope {

namespace {

DeviceRows from(const DeviceRows& x, uint64_t first, uint64_t rows) {
    return {static_cast<const std::byte*>(x.data) + first * x.stride * bytesOf(x.element), x.element, rows, x.stride};
}

}  // namespace

std::optional<std::string> DeviceCaptures::unsupported(const std::string& layer, uint64_t width) const {
    MomentSums* const moments = captures_.secondMoments(layer);
    if (moments != nullptr && dynamic_cast<DeviceMoments*>(moments) == nullptr) {
        return "has inputs whose second moments the processor began to add up";
    }
    const auto reason = DeviceCoder::unsupported(KeepQuantizer{}, width, rotationFor(width, captures_.request().seed).get(), *device_);
    return reason ? std::optional("has inputs that the processor describes: " + *reason) : std::nullopt;
}

void DeviceCaptures::add(const std::string& layer, const DeviceRows& x, uint64_t width, Workers& workers, const Kernels& kernels) {
    if (auto* const moments = static_cast<DeviceMoments*>(captures_.secondMoments(layer))) {
        moments->add(x);
        workers.advance(static_cast<double>(x.rows) * static_cast<double>(width) * static_cast<double>(width));
    }
    InputSums sums(captures_.grid(), width);
    auto known = marginals_.find(width);
    if (known == marginals_.end()) {
        known = marginals_.try_emplace(width, device_, captures_.grid(), *rotationFor(width, captures_.request().seed), width).first;
    }
    DeviceMarginals& marginals = known->second;
    for (uint64_t first = 0; first < x.rows; first += marginals.mostRows()) {
        workers.checkCancelled();
        const DeviceRows piece = from(x, first, std::min(x.rows - first, marginals.mostRows()));
        for (const cuda::RowStatistics& row : marginals.measure(piece)) {
            sums.nonFinite += row.nonFinite;
            sums.counted += row.nonFinite == 0 ? 1 : 0;
            if (row.squares > 0) {
                addRow(sums.before, sums.after, sums.peak, row, width);
            }
        }
        addColumns(sums, piece, width, marginals.rows());
    }
    marginals.take(sums.beforeCounts, sums.afterCounts);
    captures_.add(layer, x.rows, sums, read(x, width, captures_.sampled(layer, x.rows), kernels));
}

void DeviceCaptures::addColumns(InputSums& sums, const DeviceRows& x, uint64_t width, const cuda::RowStatistics* rows) {
    growTo(*device_, largest_, width * (1 + cuda::kColumnParts));
    growTo(*device_, squares_, width * (1 + cuda::kColumnParts));
    const cuda::ColumnsRequest request{x.data, x.rows, width, x.stride, x.element, rows, largest_.data(), squares_.data(), largest_.data() + width, squares_.data() + width};
    device_->check(device_->api().statistics->columns(device_->context(), &request), "measuring columns");
    std::vector<float> largest(width);
    std::vector<double> squares(width);
    device_->check(device_->calls().download(device_->context(), largest.data(), largest_.data(), width * sizeof(float)), "copying from the device");
    device_->check(device_->calls().download(device_->context(), squares.data(), squares_.data(), width * sizeof(double)), "copying from the device");
    device_->synchronise();
    for (uint64_t c = 0; c < width; ++c) {
        sums.absMax[c] = std::max(sums.absMax[c], largest[c]);
        sums.sumSquares[c] += squares[c];
    }
}

std::vector<float> DeviceCaptures::read(const DeviceRows& x, uint64_t width, const std::vector<uint64_t>& rows, const Kernels& kernels) const {
    std::vector<std::byte> stored(rows.size() * width * bytesOf(x.element));
    for (size_t i = 0; i < rows.size(); ++i) {
        const uint64_t bytes = width * bytesOf(x.element);
        device_->check(device_->calls().download(device_->context(), stored.data() + i * bytes, from(x, rows[i], 1).data, bytes), "copying from the device");
    }
    device_->synchronise();
    std::vector<float> values(rows.size() * width);
    kernels.decode(x.element == cuda::Element::F32 ? Dtype::F32 : Dtype::BF16, stored.data(), values.data(), values.size());
    return values;
}

}  // namespace quantscope
