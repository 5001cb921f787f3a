// The instructions of compute capability 9.0 alone, for devices and for the emulator, as portable.cuh has those of all.
#pragma once

#include "cuda/portable.cuh"

#if defined(QUANTSCOPE_CUDA_EMULATION)
#include "hopper.h"
#else
#include "cuda/hopper_ptx.cuh"
#endif
