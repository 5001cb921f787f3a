// A row-major tensor inside a file.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tensor/dtype.h"
#include "tensor/file.h"

namespace quantscope {

/// Untrusted: comes from a checkpoint's header.
struct TensorRef {
    std::string file;
    uint64_t offset = 0;  ///< bytes from the start of the file
    Dtype dtype = Dtype::F32;
    std::vector<uint64_t> shape;  ///< outermost first; empty for a scalar
    bool operator==(const TensorRef&) const = default;
};

/// An opened tensor: the file is there and long enough for every element.
class Tensor {
public:
    /// Throws Error(Argument) when the dtype cannot be read as numbers or the shape overflows, Error(Io) when the file is
    /// missing or too short.
    explicit Tensor(const TensorRef& ref) : Tensor(ref, std::make_shared<const File>(ref.file)) {}
    /// The same in a file that is open already: many tensors share one file.
    Tensor(const TensorRef& ref, std::shared_ptr<const File> file);

    const std::string& file() const { return file_->path(); }
    Dtype dtype() const { return dtype_; }
    uint64_t rows() const { return rows_; }        ///< product of all dimensions but the last
    uint64_t columns() const { return columns_; }  ///< last dimension
    uint64_t elements() const { return rows_ * columns_; }
    uint64_t elementBytes() const { return elementBytes_; }
    uint64_t rowBytes() const { return columns_ * elementBytes_; }

    /// Copies `count` elements from flat index `first` on, as stored. Thread-safe.
    void read(uint64_t first, uint64_t count, std::byte* target) const {
        file_->read(offset_ + first * elementBytes_, target, static_cast<size_t>(count * elementBytes_));
    }

private:
    std::shared_ptr<const File> file_;
    Dtype dtype_;
    uint64_t offset_;
    uint64_t elementBytes_;
    uint64_t rows_ = 1;
    uint64_t columns_ = 1;
};

}  // namespace quantscope
