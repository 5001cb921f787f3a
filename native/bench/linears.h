// Linears x [rows, 3072] times a weight [3072, 3072] on one core: float32 by OpenBLAS first, then on integers, each also with the packing of x from its
// codes (`/pack`), which a float product has too.
#pragma once

#include "cpu/kernels.h"
#include "integer/kernels.h"
#include "turns.h"

namespace quantscope {

inline constexpr size_t kLinearWidth = 3072;

/// `names` empty: all of them; otherwise fp32 and those, without packing.
std::vector<Subject> linears(size_t rows, const ProductKernels& level, const std::vector<std::string>& names = {});

}  // namespace quantscope
