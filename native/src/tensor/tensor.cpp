#include "tensor/tensor.h"

#include <utility>

#include "base/error.h"

namespace quantscope {

namespace {

/// a * b, or Error(Argument) when it leaves 63 bits (file positions are signed).
uint64_t multiply(uint64_t a, uint64_t b, const TensorRef& ref) {
    if (a != 0 && b > (UINT64_MAX >> 1) / a) {
        failArgument(ref.file + ": the product of the tensor's dimensions overflows. Is the header damaged?");
    }
    return a * b;
}

}  // namespace

Tensor::Tensor(const TensorRef& ref, std::shared_ptr<const File> file)
    : file_(std::move(file)), dtype_(ref.dtype), offset_(ref.offset), elementBytes_(quantscope::elementBytes(ref.dtype)) {
    if (elementBytes_ == 0) {
        failArgument("tensor.dtype: " + std::string(nameOf(dtype_)) + " cannot be read as numbers here");
    }
    if (!ref.shape.empty()) {
        columns_ = ref.shape.back();
        for (size_t i = 0; i + 1 < ref.shape.size(); ++i) {
            rows_ = multiply(rows_, ref.shape[i], ref);
        }
    }
    const uint64_t bytes = multiply(multiply(rows_, columns_, ref), elementBytes_, ref);
    if (offset_ > UINT64_MAX - bytes || offset_ + bytes > file_->size()) {
        const std::string end = offset_ > UINT64_MAX - bytes ? "beyond 2^64" : "at byte " + std::to_string(offset_ + bytes);
        failIo(ref.file + ": the tensor ends " + end + ", the file has " + std::to_string(file_->size()) +
               " bytes. Is it truncated? Download or copy it again.");
    }
}

}  // namespace quantscope
