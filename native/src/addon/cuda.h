// What is known of CUDA, for the engine's host.
#pragma once

#include <napi.h>

namespace quantscope {

/// { library, devices, device, reason, message }: see CudaState in server/src/engine/addon.ts. Runs nothing on a device.
Napi::Value cudaState(const Napi::CallbackInfo& info);

/// What is wrong with the library on the device of that number, or null. Blocks; for a process that may crash.
Napi::Value cudaSelfTest(const Napi::CallbackInfo& info);

}  // namespace quantscope
