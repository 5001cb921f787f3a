// Where the buffers of a program lie on a device: one block as the memory plan has it, and memory of their own for what is there before the run.
#pragma once

#include <vector>

#include "device/device.h"
#include "graph/graph.h"

namespace quantscope {

inline size_t bytesOf(cuda::Element element) { return element == cuda::Element::F32 ? 4 : 2; }

/// Values as they lie on a device; bfloat16 to nearest, ties to even.
std::vector<std::byte> toElements(const float* values, size_t count, cuda::Element element);

class DeviceBuffers {
public:
    /// `element` is that of activations. What says where something is, angles of rope, timesteps and indices, stays float32 where inputs or constants bring
    /// it. Uploads constants. Throws DeviceError.
    DeviceBuffers(std::shared_ptr<Device> device, const Graph& graph, cuda::Element element);

    cuda::Element element(Buffer buffer) const { return own_[places_[buffer].root].element; }
    std::byte* at(Buffer buffer) const;
    /// True for buffers that are part of another.
    bool isView(Buffer buffer) const { return places_[buffer].root != buffer; }

    /// Gives a buffer memory of its own that keeps what is in it from run to run.
    void keep(Buffer buffer, const float* values);
    /// Copies; done when they return.
    void write(Buffer buffer, const float* values);
    void read(Buffer buffer, float* values) const;

private:
    struct Own {
        DeviceArray<std::byte> memory{};
        cuda::Element element{};
    };
    void findAngles(const Program& program);

    std::shared_ptr<Device> device_;
    const std::vector<Shape>& shapes_;
    const std::vector<MemoryPlan::Place>& places_;
    cuda::Element element_;
    DeviceArray<std::byte> arena_;
    std::vector<Own> own_;  ///< by buffer; views have none
};

}  // namespace quantscope
