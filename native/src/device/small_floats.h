// Activations in small floats on a device: what RowCodec's codes of a FloatQuantizer decode to, rounded to bfloat16.
#pragma once

#include <memory>

#include "device/coder.h"
#include "device/device.h"
#include "quantizer/quantizer.h"

namespace quantscope {

/// A format for rows of one width, ready on a device. Calls are queued.
class DeviceSmallFloats {
public:
    /// Throws DeviceError, and Error(Argument) where the quantizer is none for this width.
    DeviceSmallFloats(std::shared_ptr<Device> device, const FloatQuantizer& quantizer, uint64_t width);

    /// y [x.rows, width] bfloat16, an address of the device.
    void round(const DeviceRows& x, uint16_t* y) const;

private:
    std::shared_ptr<Device> device_;
    cuda::SmallFloatRequest request_{};
    DeviceArray<uint32_t> largest_;  ///< of all rows, where the format or one scale for the whole tensor asks for it
};

}  // namespace quantscope
