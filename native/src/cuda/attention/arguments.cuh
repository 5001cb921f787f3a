// What both kernels of attention are told.
#pragma once

#include "cuda/portable.cuh"

namespace quantscope::cuda {

/// AttentionShape and AttentionRequest in elements of T.
template <class T>
struct AttentionArguments {
    const T* q;
    const T* k;
    const T* v;
    const T* bias;   ///< [keys] or null
    T* out;
    uint64_t qStride;
    uint64_t kStride;
    uint64_t vStride;
    uint64_t outStride;
    uint32_t queries;
    uint32_t keys;
    uint32_t width;  ///< of a head
    float scale;     ///< 1 / √width
    bool inPieces;   ///< width, strides and addresses of q, k and v are multiples of 16 bytes
    bool inPairs;    ///< those of out and the width are multiples of 4 bytes
};

}  // namespace quantscope::cuda
