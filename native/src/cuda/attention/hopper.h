// Attention on compute capability 9.0, whose tensor cores reach their rate by products of warpgroups alone.
#pragma once

#include "cuda/attention/arguments.cuh"
#include "cuda/context.cuh"

namespace quantscope::cuda {

/// Whether launchHopperAttention() runs on this device, and takes these rows: heads of up to 128 values, in whole pieces of 16 bytes, and rows that are a
/// number of heads apart; out aligned to 8 bytes.
bool takesHopperAttention(const Context& context, const AttentionArguments<Bf16>& arguments);

/// What flash.cuh computes.
cudaError_t launchHopperAttention(const Context& context, const AttentionArguments<Bf16>& arguments, uint32_t heads);

}  // namespace quantscope::cuda
