// Work that a device may do, and the processor otherwise.
#pragma once

#include <optional>
#include <string>
#include <utility>

#include "device/device.h"

namespace quantscope {

/// onDevice(), or onProcessor() where the device does not take this (`unsupported` says why) or has not the memory; `reason` is then why, as half a
/// sentence. Both give the same type. What else fails on a device fails.
template <class OnDevice, class OnProcessor>
auto onEither(std::optional<std::string> unsupported, std::optional<std::string>& reason, OnDevice onDevice, OnProcessor onProcessor) {
    reason = std::move(unsupported);
    if (!reason) {
        try {
            return onDevice();
        } catch (const DeviceError& error) {
            if (error.status() != cuda::Status::OutOfMemory) {
                throw;
            }
            reason = error.what();
        }
    }
    return onProcessor();
}

}  // namespace quantscope
