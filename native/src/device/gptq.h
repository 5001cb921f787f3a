// GPTQ and second moments on a device: solver/gptq.h and SecondMoments of linear/second_moments.h behind the CUDA library's solvers.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "device/device.h"
#include "solver/gptq.h"

namespace quantscope {

/// Why gptqOnDevice() does not take this, as half a sentence; nothing when it does.
std::optional<std::string> gptqUnsupported(const Quantizer& quantizer, const GptqOptions& options);

/// gptq() with the factor and the sweep on a device, in float64 as there; sums are added in another order, so that now and then a weight goes to
/// the other one of two levels that are equally near but for the last bits. `codec` is that of the quantizer. Throws as gptq(), and DeviceError.
Gptq gptqOnDevice(const std::shared_ptr<Device>& device, std::vector<float> weights, const float* moments, size_t stride, const Quantizer& quantizer,
                  const RowCodec& codec, const GptqOptions& options, Workers& workers);

/// Mean x xᵀ of rows on a device. Calls are queued.
class DeviceMoments {
public:
    DeviceMoments(std::shared_ptr<Device> device, uint64_t width);
    /// x [rows, width], an address of the device, `stride` elements between rows. Rows with a NaN or an infinity are left out.
    void add(const void* x, cuda::Element element, uint64_t rows, uint64_t stride);
    /// Waits.
    uint64_t rows() const { return counted_.read()[0]; }
    /// [width, width] on the device. Zeros before the first row was added.
    DeviceArray<float> mean() const;

private:
    std::shared_ptr<Device> device_;
    uint64_t width_;
    DeviceArray<double> sums_;
    DeviceArray<uint64_t> counted_;
    DeviceArray<uint8_t> usable_;
};

}  // namespace quantscope
