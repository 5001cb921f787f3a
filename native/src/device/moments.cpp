#include "device/moments.h"

#include <algorithm>

namespace quantscope {

namespace {

constexpr uint64_t kRowsAtOnce = 1024;  // that are added up in float32 (cuda/api.h)
constexpr uint64_t kBandValues = uint64_t{1} << 20;

}  // namespace

DeviceMoments::DeviceMoments(std::shared_ptr<Device> device, uint64_t width)
    : device_(std::move(device)), width_(width), sums_(device_->allocate<double>(width * width)), counted_(device_->allocate<uint64_t>(1)) {
    sums_.clear();
    counted_.clear();
}

void DeviceMoments::add(const DeviceRows& x) {
    mean_.clear();
    growTo(*device_, usable_, x.rows);
    const cuda::MomentsRequest request{x.data, x.element, x.rows, width_, x.stride, sums_.data(), counted_.data(), usable_.data()};
    device_->check(device_->api().solver->addMoments(device_->context(), &request), "adding second moments");
}

void DeviceMoments::add(const float* x, uint64_t rows, Workers& workers, const Kernels&) {
    for (uint64_t begin = 0; begin < rows; begin += kRowsAtOnce) {
        const uint64_t count = std::min(rows - begin, kRowsAtOnce);
        const DeviceArray<float> there = device_->upload(std::span(x + begin * width_, count * width_));
        add({there.data(), cuda::Element::F32, count, width_});
        device_->synchronise();
    }
    workers.advance(static_cast<double>(rows) * static_cast<double>(width_) * static_cast<double>(width_));
}

void DeviceMoments::meanRow(uint64_t i, float* row) {
    if (mean_.empty() || i < first_ || i >= first_ + mean_.size() / width_) {
        const uint64_t rows = std::min(width_ - i, std::max<uint64_t>(kBandValues / width_, 1));
        growTo(*device_, band_, rows * width_);
        device_->check(device_->api().solver->meanMoments(device_->context(), sums_.data(), width_, counted_.data(), i, rows, band_.data()), "mean of second moments");
        mean_ = band_.read();
        mean_.resize(rows * width_);
        first_ = i;
    }
    std::copy_n(mean_.begin() + static_cast<std::ptrdiff_t>((i - first_) * width_), width_, row);
}

}  // namespace quantscope
