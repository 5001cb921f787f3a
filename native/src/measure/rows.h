// The rows a measurement reads, cut into tiles of about a mebibyte: the unit of work, of cancellation and of progress.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/sampling.h"
#include "tensor/tensor.h"

namespace quantscope {

class RowTiles {
public:
    static constexpr uint64_t kTileBytes = uint64_t{1} << 20;

    /// sampleRows 0, or at least the number of rows, takes every row.
    RowTiles(const Tensor& tensor, uint64_t sampleRows)
        : tensor_(tensor),
          count_(sampleRows == 0 ? tensor.rows() : std::min(sampleRows, tensor.rows())),
          rowsPerTile_(std::clamp<uint64_t>(kTileBytes / std::max<uint64_t>(tensor.rowBytes(), 1), 1, uint64_t{1} << 16)) {
        if (tensor.columns() == 0) {
            count_ = 0;
        }
    }

    uint64_t count() const { return count_; }
    uint64_t tiles() const { return (count_ + rowsPerTile_ - 1) / rowsPerTile_; }
    uint64_t tileBytes() const { return std::min(rowsPerTile_, std::max<uint64_t>(count_, 1)) * tensor_.rowBytes(); }
    uint64_t begin(uint64_t tile) const { return tile * rowsPerTile_; }
    uint64_t end(uint64_t tile) const { return std::min(count_, (tile + 1) * rowsPerTile_); }

    /// Row of the tensor that is measured as number `i`.
    uint64_t row(uint64_t i) const { return count_ == tensor_.rows() ? i : sampledRow(i, tensor_.rows(), count_); }

    /// Reads the tile's rows one behind the other; neighbouring rows come in one call.
    void read(uint64_t tile, std::byte* target) const {
        for (uint64_t i = begin(tile); i < end(tile);) {
            uint64_t run = 1;
            while (i + run < end(tile) && row(i + run) == row(i) + run) {
                ++run;
            }
            tensor_.read(row(i) * tensor_.columns(), run * tensor_.columns(), target);
            target += run * tensor_.rowBytes();
            i += run;
        }
    }

private:
    const Tensor& tensor_;
    uint64_t count_;
    uint64_t rowsPerTile_;
};

}  // namespace quantscope
