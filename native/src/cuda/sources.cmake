# One file for each group of kernels, and what has none. The library (CMakeLists.txt) and its twin on the processor (test/CMakeLists.txt) are made of these.
set(CUDA_KERNELS rotate.cu rotate/tensor.cu small_floats.cu statistics.cu columns.cu linear/prepare.cu linear/product.cu linear/linear.cu solver/moments.cu solver/solver.cu attention/attention.cu ops/elementwise.cu ops/norms.cu ops/layout.cu ops/conv.cu)
# Kernels for compute capability 9.0 alone, with instructions that no other has.
set(CUDA_HOPPER linear/hopper.cu linear/hopper_codes.cu attention/hopper.cu)
set(CUDA_HOST api.cu device.cu linear/layout.cu ops/calls.cu)
# What asks the driver itself; the emulator has its own.
set(CUDA_DRIVER tensor_map.cu)
