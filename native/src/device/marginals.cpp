#include "device/marginals.h"

#include <algorithm>
#include <utility>

namespace quantscope {

namespace {

void addSums(MarginalSums& sums, const double* powers, const double* excess, float largest, uint64_t width) {
    sums.count += width;
    sums.powers.s1 += powers[0];
    sums.powers.s2 += powers[1];
    sums.powers.s3 += powers[2];
    sums.powers.s4 += powers[3];
    sums.powers.maxAbs = std::max(sums.powers.maxAbs, largest);
    sums.excessBelow += excess[0];
    sums.excessAbove += excess[1];
}

}  // namespace

void addRow(MarginalSums& before, MarginalSums& after, double& peak, const cuda::RowStatistics& row, uint64_t width) {
    peak = std::max(peak, static_cast<double>(width) * row.peak * row.peak / row.squares);
    addSums(before, row.before, row.excess, row.largest[0], width);
    addSums(after, row.after, row.excess + 2, row.largest[1], width);
}

DeviceMarginals::DeviceMarginals(std::shared_ptr<Device> device, const MarginalGrid& grid, const Rpbh& rotation, uint64_t width)
    : device_(std::move(device)), sources_(device_->upload(rotation.signedSources())), counts_(device_->allocate<uint32_t>(2 * grid.countsSize())),
      before_(grid.countsSize()), after_(grid.countsSize()) {
    counts_.clear();
    request_.width = width;
    request_.sources = sources_.data();
    request_.block = static_cast<uint32_t>(rotation.block());
    request_.perUnit = grid.binning.perUnit;
    request_.shift = grid.binning.shift;
    request_.last = grid.binning.last;
    request_.limit = static_cast<float>(MarginalGrid::kLimit);
    request_.before = counts_.data();
    request_.after = counts_.data() + grid.countsSize();
}

void DeviceMarginals::setCodebook(const LevelTable& table, FloatType norm, bool after) {
    levels_ = DeviceLevels(*device_, table);
    request_.levels = levels_.count;
    request_.level = levels_.levels.data();
    request_.thresholds = levels_.thresholds.data();
    request_.stored = storedOf(norm);
    request_.errorAfter = after ? 1 : 0;
}

void DeviceMarginals::queue(const DeviceRows& x) {
    const uint64_t values = x.rows * request_.width;
    if (counted_ + values >= uint64_t{1} << 32) {
        flush();
    }
    counted_ += values;
    growTo(*device_, rows_, x.rows);
    request_.x = x.data;
    request_.element = x.element;
    request_.rows = x.rows;
    request_.xStride = x.stride;
    request_.statistics = rows_.data();
    device_->check(device_->api().statistics->measure(device_->context(), &request_), "measuring rows");
}

std::span<const cuda::RowStatistics> DeviceMarginals::measure(const DeviceRows& x) {
    queue(x);
    read_.resize(std::max<size_t>(read_.size(), x.rows));
    device_->check(device_->calls().download(device_->context(), read_.data(), rows_.data(), x.rows * sizeof(cuda::RowStatistics)), "copying from the device");
    device_->synchronise();
    return {read_.data(), x.rows};
}

void DeviceMarginals::flush() {
    const std::vector<uint32_t> found = counts_.read();
    for (size_t i = 0; i < before_.size(); ++i) {
        before_[i] += found[i];
        after_[i] += found[before_.size() + i];
    }
    counts_.clear();
    counted_ = 0;
}

void DeviceMarginals::take(std::vector<uint64_t>& before, std::vector<uint64_t>& after) {
    flush();
    for (size_t i = 0; i < before_.size(); ++i) {
        before[i] += std::exchange(before_[i], 0);
        after[i] += std::exchange(after_[i], 0);
    }
}

}  // namespace quantscope
