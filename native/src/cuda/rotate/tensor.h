// Rotated rows to codes on tensor cores: the common requests of rotate() at the speed of memory.
#pragma once

#include "cuda/context.cuh"

namespace quantscope::cuda {

/// Whether rotateOnTensorCores() takes a request that rotate() has found to make sense: bfloat16 rows and codes at multiples of 16 bytes, a rotation, widths
/// that are multiples of 32 and fit the shared memory of the device, codebooks of up to 4 bits, symmetric integers of 4 or 8 bits with one scale for the row
/// or for 32, 64 or 128 values, no values beside the codes, bytes in the place of those of 4 bits.
bool rotatesOnTensorCores(const Context& context, const RotateRequest& request);
Status rotateOnTensorCores(Context* context, const RotateRequest& request);

}  // namespace quantscope::cuda
