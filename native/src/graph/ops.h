// Every op in two functions: check() states its rule and opens its tensors, run() computes it. graph.ts says what each op means.
#pragma once

#include "graph/checks.h"
#include "graph/run.h"

namespace quantscope {

#define QUANTSCOPE_OP(Type)          \
    void check(Type& op, Checks& to); \
    void run(const Type& op, Run& in);

// linear_op.cpp
QUANTSCOPE_OP(LinearOp)
// sources.cpp
QUANTSCOPE_OP(ConstantOp)
QUANTSCOPE_OP(TensorOp)
QUANTSCOPE_OP(RowOp)
QUANTSCOPE_OP(TimestepOp)
// norms.cpp
QUANTSCOPE_OP(LayerNormOp)
QUANTSCOPE_OP(RmsNormOp)
QUANTSCOPE_OP(GroupNormOp)
QUANTSCOPE_OP(ChannelNormOp)
// elementwise.cpp
QUANTSCOPE_OP(ModulateOp)
QUANTSCOPE_OP(GateAddOp)
QUANTSCOPE_OP(BinaryOp)
QUANTSCOPE_OP(UnaryOp)
QUANTSCOPE_OP(AffineOp)
QUANTSCOPE_OP(RopeOp)
// attention.cpp
QUANTSCOPE_OP(AttentionOp)
// layout.cpp
QUANTSCOPE_OP(PermuteOp)
QUANTSCOPE_OP(SliceOp)
QUANTSCOPE_OP(ConcatOp)
QUANTSCOPE_OP(ResizeOp)
// conv.cpp
QUANTSCOPE_OP(ConvOp)

#undef QUANTSCOPE_OP

/// [dim / 2], in float32 step by step, like the models it must agree with (DDPM's sinusoidal embedding).
std::vector<float> frequenciesOf(const TimestepOp& op);

}  // namespace quantscope
