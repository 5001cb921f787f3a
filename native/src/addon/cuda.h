// What is known of CUDA, for the engine's host.
#pragma once

#include <napi.h>

#include <atomic>
#include <memory>

#include "device/device.h"

namespace quantscope {

/// { library, devices, device, reason, message }: see CudaState in server/src/engine/addon.ts. Runs nothing on a device.
Napi::Value cudaState(const Napi::CallbackInfo& info);

/// What is wrong with the library on the device of that number, or null. Blocks; for a process that may crash.
Napi::Value cudaSelfTest(const Napi::CallbackInfo& info);

/// The device that an environment's jobs use. It is chosen before the first of them and opened by the first one that wants it.
class JobDevice {
public:
    /// JavaScript thread.
    void choose(int32_t number) { number_.store(number); }
    /// Null when none was chosen. Job thread. Throws DeviceError.
    std::shared_ptr<Device> get();

private:
    static constexpr int32_t kNone = -1;
    std::atomic<int32_t> number_{kNone};
    std::shared_ptr<Device> device_;
};

}  // namespace quantscope
