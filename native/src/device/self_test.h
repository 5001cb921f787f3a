// A short test of every group of kernels against the processor, before a library and a device are trusted. It runs in a process of its own
// (server/src/engine/host.ts): what it crashes is only that.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "device/device.h"

namespace quantscope {

struct SelfTest {
    const char* group;
    /// Throws Error; otherwise what is wrong, or nothing.
    std::function<std::optional<std::string>(const std::shared_ptr<Device>&)> run;
};

/// For all groups of api.h; attention and ops are tested as one graph.
const std::vector<SelfTest>& selfTests();

/// What is wrong with the library on this device, as half a sentence; nothing when all tests passed.
std::optional<std::string> runSelfTests(const std::shared_ptr<const CudaLibrary>& library, int32_t device);

}  // namespace quantscope
