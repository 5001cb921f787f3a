#include "device/small_floats.h"

#include "quantizer/coder.h"
#include "quantizer/small_float.h"

namespace quantscope {

DeviceSmallFloats::DeviceSmallFloats(std::shared_ptr<Device> device, const FloatQuantizer& quantizer, uint64_t width) : device_(std::move(device)) {
    validate(quantizer, width);
    const bool mx = quantizer.format == FloatFormat::Mxfp4 || quantizer.format == FloatFormat::Mxfp8;
    const bool nvfp4 = quantizer.format == FloatFormat::Nvfp4;
    request_.width = width;
    request_.group = quantizer.granularity == Granularity::Group ? quantizer.group : width;
    request_.mantissa = elementBits(quantizer.format) == 8 ? 3 : 1;
    request_.scale = mx ? cuda::FloatScale::PowerOfTwo : nvfp4 ? cuda::FloatScale::Nvfp4 : cuda::FloatScale::Fp16;
    if (needsTensorRange(quantizer)) {
        largest_ = device_->allocate<uint32_t>(1);
        request_.largest = largest_.data();
    }
}

void DeviceSmallFloats::round(const DeviceRows& x, uint16_t* y) const {
    const auto& calls = *device_->api().smallFloats;
    cuda::SmallFloatRequest request = request_;
    request.x = x.data;
    request.element = x.element;
    request.rows = x.rows;
    request.stride = x.stride;
    request.y = y;
    if (request.largest != nullptr) {
        device_->check(device_->calls().clear(device_->context(), largest_.data(), largest_.bytes()), "rounding to small floats");
        request.observes = 1;
        device_->check(calls.round(device_->context(), &request), "rounding to small floats");
        request.observes = 0;
    }
    device_->check(calls.round(device_->context(), &request), "rounding to small floats");
}

}  // namespace quantscope
