#include "graph/program.h"

namespace quantscope {

namespace {

using Buffers = std::vector<Buffer>;

Buffers inputs(const ConstantOp&) { return {}; }
Buffers inputs(const TensorOp&) { return {}; }
Buffers inputs(const RowOp& op) { return {op.index}; }
Buffers inputs(const TimestepOp& op) { return {op.t}; }
Buffers inputs(const ModulateOp& op) { return {op.x, op.shift, op.scale}; }
Buffers inputs(const GateAddOp& op) { return {op.x, op.gate, op.y}; }
Buffers inputs(const BinaryOp& op) { return {op.a, op.b}; }
Buffers inputs(const AttentionOp& op) { return op.bias ? Buffers{op.q, op.k, op.v, *op.bias} : Buffers{op.q, op.k, op.v}; }
Buffers inputs(const RopeOp& op) { return {op.x, op.cos, op.sin}; }
Buffers inputs(const ConcatOp& op) { return op.xs; }
template <class OpType>
Buffers inputs(const OpType& op) { return {op.x}; }

}  // namespace

std::vector<Buffer> inputsOf(const Op& op) {
    return std::visit([](const auto& each) { return inputs(each); }, op);
}

}  // namespace quantscope
