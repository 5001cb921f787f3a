// Second moments of rows on a device: linear/second_moments.h behind the CUDA library's solvers.
#pragma once

#include <memory>
#include <vector>

#include "device/coder.h"
#include "device/device.h"
#include "linear/second_moments.h"

namespace quantscope {

class DeviceMoments : public MomentSums {
public:
    /// Throws DeviceError.
    DeviceMoments(std::shared_ptr<Device> device, uint64_t width);

    uint64_t width() const override { return width_; }
    uint64_t rows() const override { return counted_.read()[0]; }
    static uint64_t bytes(uint64_t width) { return width * width * sizeof(double); }

    /// Queued.
    void add(const DeviceRows& x);
    /// Copied in pieces that beside weights there is room for.
    void add(const float* x, uint64_t rows, Workers& workers, const Kernels& kernels) override;
    void meanRow(uint64_t i, float* row) override;

private:
    std::shared_ptr<Device> device_;
    uint64_t width_;
    DeviceArray<double> sums_;
    DeviceArray<uint64_t> counted_;
    DeviceArray<uint8_t> usable_;
    DeviceArray<float> band_;  ///< rows of the mean that came to the host at once
    std::vector<float> mean_;
    uint64_t first_ = 0;
};

}  // namespace quantscope
