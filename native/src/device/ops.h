// The ops of a program beside linears on a device: graph/ops.h behind the CUDA library's ops.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cpu/kernels.h"
#include "device/buffers.h"
#include "device/device.h"

namespace quantscope {

class DeviceOps {
public:
    /// Uploads the small tensors of norms and convolutions, which stay, and tensors that are buffers. Throws DeviceError, Error(Io).
    DeviceOps(std::shared_ptr<Device> device, const Program& program, DeviceBuffers& buffers, const Kernels& kernels);

    /// Why this op does not run on the device, as half a sentence; nothing when it does. Linears are not asked for.
    std::optional<std::string> unsupported(const Op& op) const;
    /// Memory that any op needs for its own time.
    uint64_t scratchBytes() const { return scratchBytes_; }
    /// Queues op `index` of the program, for which unsupported() has no reason. A layer norm that a modulation alone reads is done with that.
    void run(size_t index, std::byte* scratch);
    /// Queues a look at a buffer: *found becomes 1 when it holds a NaN or an infinity.
    void findNonFinite(Buffer buffer, uint32_t* found) const;

private:
    void load(const Op& op, std::vector<DeviceArray<std::byte>>& to, DeviceBuffers& buffers, const Kernels& kernels);
    void foldNorms();
    DeviceArray<std::byte> upload(const std::vector<float>& values, cuda::Element element = cuda::Element::F32) const;

    std::shared_ptr<Device> device_;
    const Program& program_;
    const DeviceBuffers& buffers_;
    std::vector<std::vector<DeviceArray<std::byte>>> tensors_;  ///< by op
    std::vector<std::optional<size_t>> with_;  ///< by op: of a layer norm the modulation that it is done with, of that the norm
    uint64_t scratchBytes_ = 0;
};

}  // namespace quantscope
