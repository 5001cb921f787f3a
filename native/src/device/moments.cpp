#include "device/moments.h"

#include <algorithm>

namespace quantscope {

DeviceMoments::DeviceMoments(std::shared_ptr<Device> device, uint64_t width)
    : device_(std::move(device)), width_(width), sums_(device_->allocate<double>(width * width)), counted_(device_->allocate<uint64_t>(1)) {
    sums_.clear();
    counted_.clear();
}

void DeviceMoments::add(const DeviceRows& x) {
    mean_.clear();
    if (usable_.size() < x.rows) {
        usable_ = device_->allocate<uint8_t>(x.rows);
    }
    const cuda::MomentsRequest request{x.data, x.element, x.rows, width_, x.stride, sums_.data(), counted_.data(), usable_.data()};
    device_->check(device_->api().solver->addMoments(device_->context(), &request), "adding second moments");
}

void DeviceMoments::add(const float* x, uint64_t rows, Workers& workers, const Kernels&) {
    const DeviceArray<float> there = device_->upload(std::span(x, rows * width_));
    add({there.data(), cuda::Element::F32, rows, width_});
    device_->synchronise();
    workers.advance(static_cast<double>(rows) * static_cast<double>(width_) * static_cast<double>(width_));
}

void DeviceMoments::meanRow(uint64_t i, float* row) {
    if (mean_.empty()) {
        const auto mean = device_->allocate<float>(width_ * width_);
        device_->check(device_->api().solver->meanMoments(device_->context(), sums_.data(), width_, counted_.data(), mean.data()), "mean of second moments");
        mean_ = mean.read();
    }
    std::copy_n(mean_.begin() + static_cast<std::ptrdiff_t>(i * width_), width_, row);
}

}  // namespace quantscope
