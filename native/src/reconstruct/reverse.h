// Derivatives of the ops that occur inside transformer blocks, in reverse: from what the loss gains by the output of an op to what it gains by
// its inputs. Linears are in block_linear.h.
#pragma once

#include "graph/run.h"

namespace quantscope {

/// The values of a forward pass, all of them still there, and the gradients so far.
struct Reverse {
    Run& values;
    const std::vector<float*>& gradients;  ///< by buffer, shaped like it; null where nothing learned comes in. A view lies in what it views

    float* gradient(Buffer buffer) const { return gradients[buffer]; }
};

/// True where a loss can be followed back through the op.
bool isDifferentiable(const Op& op);

/// Adds to the gradients of the op's inputs, where there are any. The op's output has one.
void backward(const Op& op, const Reverse& to);

// By kind; `backward(op, to)` picks one. Results do not depend on the number of threads.
// reverse_norms.cpp
void backward(const LayerNormOp& op, const Reverse& to);
void backward(const RmsNormOp& op, const Reverse& to);
// reverse_elementwise.cpp
void backward(const ModulateOp& op, const Reverse& to);
void backward(const GateAddOp& op, const Reverse& to);
void backward(const BinaryOp& op, const Reverse& to);
void backward(const UnaryOp& op, const Reverse& to);
void backward(const AffineOp& op, const Reverse& to);
void backward(const RopeOp& op, const Reverse& to);
// reverse_attention.cpp
void backward(const AttentionOp& op, const Reverse& to);
// reverse_layout.cpp
void backward(const PermuteOp& op, const Reverse& to);
void backward(const SliceOp& op, const Reverse& to);
void backward(const ConcatOp& op, const Reverse& to);

}  // namespace quantscope
