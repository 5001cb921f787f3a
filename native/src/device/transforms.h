// What a recipe does to the inputs of a linear, on a device: transform/transform.h on the side of inputs.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/workers.h"
#include "device/coder.h"
#include "device/linear.h"
#include "transform/transform.h"

namespace quantscope {

class DeviceTransforms {
public:
    /// Why these are not done on the device, as half a sentence; nothing when they are. validate() has passed.
    static std::optional<std::string> unsupported(const std::vector<Transform>& list, uint64_t width, const Device& device);

    /// Throws DeviceError, and Error as Transforms does.
    DeviceTransforms(std::shared_ptr<Device> device, const std::vector<Transform>& list, uint64_t width, Workers& workers, const Kernels& kernels);

    /// Rows of float32 that apply() needs beside its target.
    uint64_t spareRows(uint64_t rows) const { return steps_.size() > 1 ? rows : 0; }
    /// y [rows, width] in float32, steps in order, each rounded once. Queued.
    void apply(const DeviceRows& x, float* y, float* spare) const;

private:
    /// One pass over the rows: a signed permutation with Hadamard blocks, a factor for each column, or products with matrices along the diagonal.
    struct Step {
        DeviceArray<uint32_t> sources{};
        uint32_t block = 1;
        DeviceArray<float> scale{};
        std::optional<DeviceLinear> product{};
        DeviceArray<uint8_t> matrices{};
        uint64_t count = 0;  ///< of matrices; one is for all blocks
    };
    void add(const Transform& transform, Workers& workers, const Kernels& kernels);
    void addSources(const std::vector<uint32_t>& sources, uint64_t block);
    void addMatrices(const float* values, uint64_t count, uint64_t size);
    void run(const Step& step, const DeviceRows& x, float* y) const;

    std::shared_ptr<Device> device_;
    uint64_t width_;
    std::vector<Step> steps_;
};

}  // namespace quantscope
