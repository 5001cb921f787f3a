// A checked program on a device. Activations are float32 or bfloat16 throughout; what a device does not take runs on the processor, for that op alone, and
// is named.
#pragma once

#include <memory>
#include <vector>

#include "device/buffers.h"
#include "device/linears.h"
#include "device/ops.h"
#include "graph/graph.h"

namespace quantscope {

/// Of the device's memory, left to the driver, to others and to captures.
inline constexpr uint64_t kDeviceReserve = uint64_t{64} << 20;

class DeviceGraph {
public:
    /// Allocates the buffers and uploads the small tensors. Throws DeviceError, OutOfMemory where they do not fit, and Error(Io).
    DeviceGraph(std::shared_ptr<Device> device, std::shared_ptr<Graph> graph, cuda::Element element, const Kernels& kernels, uint64_t reserve = kDeviceReserve);

    /// As Graph::run(). Weights stay on the device for the next run with the same recipes, as far as there is room; the others are copied while kernels run,
    /// and results are the same. Looks at the cancellation several times a second. Throws DeviceError, too.
    RunResult run(const RunRequest& request, ThreadPool& pool, const Cancellation& cancellation, const Progress& progress, const Kernels& kernels);

private:
    struct Pass;

    SecondMomentsStore::Place momentsPlace();

    std::shared_ptr<Device> device_;
    std::shared_ptr<Graph> graph_;
    DeviceBuffers buffers_;
    DeviceOps ops_;
    DeviceLinears linears_;
    DeviceArray<uint32_t> nonFinite_;  ///< by op
    std::vector<TileMemory> memory_;
    WeightCache cache_;                ///< of layers on the processor
};

}  // namespace quantscope
