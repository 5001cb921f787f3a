// What the machine gives at most, on one thread, for ratios within one run.
#pragma once

#include "cpu/kernels.h"
#include "integer/kernels.h"
#include "turns.h"

namespace quantscope {

/// Float32 multiply-adds, all in registers. On levels without a name for them it is the level's own product of a small panel. Operations.
Subject multiplyAddPeak(const Kernels& level);

/// Chains of products of four bytes added to 32-bit sums, all in registers: vpdpbusd, or vpmaddubsw, vpmaddwd and vpaddd. On levels without a name
/// for them it is the level's own product of a small tile.
Subject int8Chain(const ProductKernels& level);

/// Memory far larger than the caches, for the streams. Bytes count once.
inline constexpr size_t kStreamValues = size_t{1} << 25;

}  // namespace quantscope
