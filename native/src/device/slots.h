// What does not stay on the device passes through it: memory for a few pieces, and copies that run beside the kernels.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <vector>

#include "device/device.h"

namespace quantscope {

/// Up to cuda::kSlots pieces of `bytes` on the device, each with memory on the host to copy from. For each piece: write to host(), fetch(), acquire() before
/// kernels that read it are queued, release() behind them.
class DeviceSlots {
public:
    /// Throws DeviceError, OutOfMemory where they do not fit.
    DeviceSlots(std::shared_ptr<Device> device, size_t bytes, int count = 2);
    ~DeviceSlots();
    DeviceSlots(const DeviceSlots&) = delete;
    DeviceSlots& operator=(const DeviceSlots&) = delete;

    /// The same with pieces of at least `least` bytes, halved from `wanted` on until they fit.
    static std::unique_ptr<DeviceSlots> fitting(const std::shared_ptr<Device>& device, size_t wanted, size_t least, int count = 2);

    int count() const { return static_cast<int>(slots_.size()); }
    size_t bytes() const { return bytes_; }
    /// Waits until the copy that read it last is done.
    std::byte* host(int slot);
    void fetch(int slot, size_t bytes);
    const void* acquire(int slot);
    void release(int slot);

private:
    struct Slot {
        DeviceArray<std::byte> device;
        void* host = nullptr;
    };
    void free();

    std::shared_ptr<Device> device_;
    size_t bytes_;
    std::vector<Slot> slots_;
};

/// The weights of a model on a device: resident as far as they fit, the others read and copied each time they are used, one ahead of the kernels.
class DeviceWeights {
public:
    /// Writes the bytes of a weight; may be called again and again.
    using Read = std::function<void(size_t index, std::byte* target)>;

    /// Leaves `reserve` bytes of the device's memory free. Reads the resident weights. Throws DeviceError OutOfMemory when not even two of the largest
    /// weight that has to be streamed fit.
    DeviceWeights(std::shared_ptr<Device> device, std::vector<uint64_t> bytes, Read read, uint64_t reserve);

    size_t count() const { return bytes_.size(); }
    size_t resident() const { return resident_; }  ///< weights that stay, the first ones
    /// Starts to copy a streamed weight that will be acquired soon. At most one may be on its way.
    void prefetch(size_t index);
    /// The address for kernels that are queued from now on, until release().
    const void* acquire(size_t index);
    /// Behind the kernels that read it.
    void release(size_t index);

private:
    int load(size_t index);

    std::shared_ptr<Device> device_;
    std::vector<uint64_t> bytes_;
    Read read_;
    size_t resident_ = 0;
    std::vector<DeviceArray<std::byte>> arrays_;
    std::unique_ptr<DeviceSlots> slots_;
    std::vector<size_t> held_;  ///< by slot: the weight in it, or count()
    int next_ = 0;
};

}  // namespace quantscope
