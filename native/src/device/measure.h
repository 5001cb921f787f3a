// The per-layer report of measure/measure.h, made on a device.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/cancellation.h"
#include "device/device.h"
#include "measure/measure.h"

namespace quantscope {

/// Why this request is measured on the processor, as half a sentence; nothing when a device measures it: codebooks, and weights that are kept as they are.
std::optional<std::string> notMeasuredOnDevice(const MeasureRequest& request, const Device& device);

/// The numbers of measure(), up to the rounding of float32 sums within a row; those of all rows are added up in double, in order. The weight streams
/// through the device in pieces. Throws Error: Io, Argument, Cancelled, and DeviceError.
Measurement measureOnDevice(const MeasureRequest& request, const std::shared_ptr<Device>& device, const Cancellation& cancellation, const Progress& progress,
                            const Kernels& kernels);

}  // namespace quantscope
