// GPTQ on a device: solver/gptq.h behind the CUDA library's solvers.
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

}  // namespace quantscope
