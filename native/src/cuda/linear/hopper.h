// The product of linears on compute capability 9.0, whose tensor cores reach their rate by products of warpgroups alone.
#pragma once

#include "cuda/linear/product.cuh"

namespace quantscope::cuda {

/// Where Context::warpgroups says so: what launchProduct() computes, for arguments without offsets and flip; integers are signed bytes. Rows or outputs may be 0.
cudaError_t launchHopper(const ProductArguments& arguments, bool integers, bool grouped, int multiprocessors, cudaStream_t stream);

/// Groups whose weights of 4 bits launchHopperCodes() multiplies.
inline bool takesGroups(uint64_t length) { return length == 64 || length % 128 == 0; }

/// The same for weights of 4 bits as they are packed and `levels` (tablesOf) that their codes stand for, with one scale for each row on both sides or such
/// groups. `bytes` and x are of bytes in halves (ByteOrder), the bytes a multiple of 32.
cudaError_t launchHopperCodes(const ProductArguments& arguments, const uint4& levels, int multiprocessors, cudaStream_t stream);

}  // namespace quantscope::cuda
