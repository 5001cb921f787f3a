// A model as data: a straight-line program over float32 buffers, as server/src/engine/graph.ts describes it (the field names are
// the same; that file says what every op computes). Untrusted until Graph has checked it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "tensor/tensor.h"

namespace quantscope {

/// Index into Program::buffers.
using Buffer = uint32_t;
/// Outermost first; empty for a scalar.
using Shape = std::vector<uint64_t>;

inline uint64_t elementsOf(const Shape& shape) {
    uint64_t count = 1;
    for (const uint64_t size : shape) {
        count *= size;
    }
    return count;
}
inline uint64_t lastOf(const Shape& shape) { return shape.empty() ? 1 : shape.back(); }

/// A tensor of the checkpoint that an op reads. Graph opens it when it checks the op.
struct Stored {
    TensorRef ref;
    std::shared_ptr<const Tensor> tensor;
};

struct LinearOp {
    std::string name;
    Buffer x;
    std::optional<Stored> weight;  ///< none for a layer that runs from packed codes alone
    std::optional<Stored> bias;
    Buffer out;
};
struct ConstantOp {
    std::vector<float> data;
    Buffer out;
};
struct TensorOp {
    Stored tensor;
    Buffer out;
};
struct RowOp {
    Stored table;
    Buffer index;
    Buffer out;
};
struct TimestepOp {
    Buffer t;
    uint64_t dim;
    double shift;
    double scale;
    Buffer out;
};
struct LayerNormOp {
    Buffer x;
    double eps;
    std::optional<Stored> weight;
    std::optional<Stored> bias;
    Buffer out;
};
struct RmsNormOp {
    Buffer x;
    double eps;
    Stored weight;
    Buffer out;
};
struct GroupNormOp {
    Buffer x;
    uint64_t groups;
    double eps;
    Stored weight;
    Stored bias;
    Buffer out;
};
struct ChannelNormOp {
    Buffer x;
    Stored weight;
    Buffer out;
};
struct ModulateOp {
    Buffer x;
    Buffer shift;
    Buffer scale;
    Buffer out;
};
struct GateAddOp {
    Buffer x;
    Buffer gate;
    Buffer y;
    Buffer out;
};
enum class BinaryKind { Add, Sub, Mul };
struct BinaryOp {
    BinaryKind kind;
    Buffer a;
    Buffer b;
    Buffer out;
};
enum class UnaryKind { Silu, GeluTanh, Tanh, Relu };
struct UnaryOp {
    UnaryKind kind;
    Buffer x;
    Buffer out;
};
struct AffineOp {
    Buffer x;
    double mul;
    double add;
    std::optional<double> low;
    std::optional<double> high;
    Buffer out;
};
struct AttentionOp {
    Buffer q;
    Buffer k;
    Buffer v;
    uint64_t heads;
    std::optional<Buffer> bias;
    Buffer out;
};
struct RopeOp {
    Buffer x;
    Buffer cos;
    Buffer sin;
    uint64_t heads;
    Buffer out;
};
struct PermuteOp {
    Buffer x;
    Shape shape;
    std::vector<uint64_t> axes;
    Buffer out;
};
struct SliceOp {
    Buffer x;
    uint64_t axis;
    uint64_t start;
    uint64_t end;
    Buffer out;
};
struct ConcatOp {
    std::vector<Buffer> xs;
    uint64_t axis;
    Buffer out;
};
struct ResizeOp {
    Buffer x;
    Buffer out;
};
struct ConvOp {
    Buffer x;
    Stored weight;
    std::optional<Stored> bias;
    Buffer out;
};

using Op = std::variant<LinearOp, ConstantOp, TensorOp, RowOp, TimestepOp, LayerNormOp, RmsNormOp, GroupNormOp, ChannelNormOp,
                        ModulateOp, GateAddOp, BinaryOp, UnaryOp, AffineOp, AttentionOp, RopeOp, PermuteOp, SliceOp, ConcatOp,
                        ResizeOp, ConvOp>;

/// The `op` field of each alternative of Op, in its order.
inline constexpr const char* kOpNames[] = {"linear",   "constant", "tensor", "row",    "timestep",  "layernorm", "rmsnorm",
                                           "groupnorm", "channelnorm", "modulate", "gateAdd", "binary", "unary", "affine",
                                           "attention", "rope", "permute", "slice", "concat", "resize", "conv"};
static_assert(std::size(kOpNames) == std::variant_size_v<Op>);

/// Buffers that an op reads, in the order of its fields.
std::vector<Buffer> inputsOf(const Op& op);
inline Buffer outOf(const Op& op) {
    return std::visit([](const auto& each) { return each.out; }, op);
}

struct Program {
    std::vector<Shape> buffers;
    std::map<std::string, Buffer> inputs;
    std::map<std::string, Buffer> outputs;
    std::vector<Op> ops;
};

}  // namespace quantscope
