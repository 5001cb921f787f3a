// Rows on a device against their fixed marginal, before and after a rotation: what weight diagnostics and captures share.
#pragma once

#include <algorithm>
#include <memory>
#include <span>
#include <vector>

#include "device/coder.h"
#include "device/device.h"
#include "rotation/rpbh.h"
#include "stats/marginal.h"

namespace quantscope {

class DeviceMarginals {
public:
    /// Throws DeviceError. DeviceCoder::unsupported() says what rotations it takes.
    DeviceMarginals(std::shared_ptr<Device> device, const MarginalGrid& grid, const Rpbh& rotation, uint64_t width);

    /// Of a codebook whose error is measured, too: `after` says whether it is that of the rotated row.
    void setCodebook(const LevelTable& table, FloatType norm, bool after);

    /// Rows that one call takes: fewer than 2^32 values, and numbers of rows that leave room to others.
    uint64_t mostRows() const { return std::clamp<uint64_t>((uint64_t{1} << 32) / request_.width - 1, 1, 32768); }
    /// Adds at most mostRows() rows to the counts. Waits.
    std::span<const cuda::RowStatistics> measure(const DeviceRows& x);
    /// The same, left on the device. Queued.
    void queue(const DeviceRows& x);
    /// Of the last rows, an address of the device.
    const cuda::RowStatistics* rows() const { return rows_.data(); }
    /// Moves what was counted into counts of grid.countsSize() cells each.
    void take(std::vector<uint64_t>& before, std::vector<uint64_t>& after);

private:
    void flush();

    std::shared_ptr<Device> device_;
    cuda::StatisticsRequest request_{};
    DeviceArray<uint32_t> sources_;
    DeviceLevels levels_;
    DeviceArray<uint32_t> counts_;  ///< before, then after
    uint64_t counted_ = 0;          ///< values since they were cleared
    std::vector<uint64_t> before_;  ///< what is in counts_ no more
    std::vector<uint64_t> after_;
    DeviceArray<cuda::RowStatistics> rows_;
    std::vector<cuda::RowStatistics> read_;
};

/// Adds one row that is neither zero nor broken.
void addRow(MarginalSums& before, MarginalSums& after, double& peak, const cuda::RowStatistics& row, uint64_t width);

}  // namespace quantscope
