// A short test of every group of kernels against the processor, before a library and a device are trusted. It runs in a process of its own
// (server/src/engine/host.ts): what it crashes is only that.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "device/device.h"
#include "quantizer/row_codec.h"

namespace quantscope {

/// Codes and sides that a device made of `values` [rows, width], which are rotated already, against RowCodec's. Sums of float32 are added up in another
/// order there, so that a value at a threshold may fall to either side and a norm to the next number of its type. What is beyond that, in words with the
/// place; nothing when all is well. `packed` [rows, packedBytes(width, bits)], `sides` [rows, codec.sides()].
std::optional<std::string> compareCodes(const RowCodec& codec, const float* values, size_t rows, const uint8_t* packed, const float* sides);

struct SelfTest {
    const char* group;
    /// Throws Error; otherwise what is wrong, or nothing.
    std::function<std::optional<std::string>(const std::shared_ptr<Device>&)> run;
};

/// One for each group of api.h.
const std::vector<SelfTest>& selfTests();

/// What is wrong with the library on this device, as half a sentence; nothing when all tests passed.
std::optional<std::string> runSelfTests(const std::shared_ptr<const CudaLibrary>& library, int32_t device);

}  // namespace quantscope
