#include "cuda/linear/product.cuh"

namespace quantscope::cuda {

namespace {

template <int kColumns, Form kForm, bool kGrouped, bool kOffsets>
cudaError_t start(const ProductArguments& p, cudaStream_t stream) {
    const dim3 grid(divideUp(p.rows, product::kRows), divideUp(p.outputs, kColumns));
    constexpr size_t kShared = product::kStages * product::stageBytes<kColumns>(kGrouped);
    return launch(product::multiply<kColumns, kForm, kGrouped, kOffsets>, grid, product::kThreads, kShared, stream, p);
}

}  // namespace

cudaError_t launchProduct(const ProductArguments& p, Form form, bool grouped, int multiprocessors, cudaStream_t stream) {
    if (p.rows == 0 || p.outputs == 0) {
        return cudaSuccess;
    }
    // Wide tiles read less, narrow ones give work to more multiprocessors.
    const bool wide = static_cast<uint64_t>(divideUp(p.rows, product::kRows)) * divideUp(p.outputs, 256) >= static_cast<uint64_t>(multiprocessors);
    const bool offsets = p.xOffsets != nullptr || p.wOffsets != nullptr;
    switch (form) {
        case Form::None: return wide ? start<256, Form::None, false, false>(p, stream) : start<128, Form::None, false, false>(p, stream);
        case Form::Bytes:
            // In groups two sets of sums, integers and floats, leave room for half the columns.
            return !grouped  ? (wide ? start<256, Form::Bytes, false, false>(p, stream) : start<128, Form::Bytes, false, false>(p, stream))
                   : offsets ? start<128, Form::Bytes, true, true>(p, stream)
                             : start<128, Form::Bytes, true, false>(p, stream);
        case Form::Nibbles: return grouped ? start<128, Form::Nibbles, true, false>(p, stream) : start<128, Form::Nibbles, false, false>(p, stream);
        case Form::NativeNibbles:
            return grouped ? start<128, Form::NativeNibbles, true, false>(p, stream) : start<128, Form::NativeNibbles, false, false>(p, stream);
    }
    return cudaErrorInvalidValue;
}

}  // namespace quantscope::cuda
