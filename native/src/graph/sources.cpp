// Ops whose values come from the program, the checkpoint or a number: constant, tensor, row, timestep.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "graph/ops.h"

namespace quantscope {

namespace {

/// Reads `count` values from flat index `first` on.
void decodeRange(const Tensor& tensor, uint64_t first, uint64_t count, float* target, Scratch& scratch, const Kernels& kernels) {
    std::byte* stored = scratch.get<std::byte>(count * tensor.elementBytes());
    tensor.read(first, count, stored);
    kernels.decode(tensor.dtype(), stored, target, count);
}

}  // namespace

std::vector<float> load(const Tensor& tensor, const Kernels& kernels) {
    std::vector<float> values(tensor.elements());
    Scratch scratch;
    decodeRange(tensor, 0, tensor.elements(), values.data(), scratch, kernels);
    return values;
}

void check(ConstantOp& op, Checks& to) {
    const uint64_t elements = elementsOf(to.write(op.out));
    to.require(op.data.size() == elements,
               "data has " + std::to_string(op.data.size()) + " values, its buffer " + std::to_string(elements));
    to.constant(op.out);
}

void run(const ConstantOp&, Run&) {}

void check(TensorOp& op, Checks& to) { to.open(op.tensor, "tensor", elementsOf(to.write(op.out))); }

void run(const TensorOp& op, Run& in) {
    const Tensor& tensor = *op.tensor.tensor;
    constexpr uint64_t kPiece = uint64_t{1} << 18;
    in.workers.tiles((tensor.elements() + kPiece - 1) / kPiece, [&](size_t piece, unsigned worker) {
        const uint64_t first = piece * kPiece;
        decodeRange(tensor, first, std::min(kPiece, tensor.elements() - first), in.out(op.out) + first, in.memory[worker].stored,
                    in.kernels);
    });
}

void check(RowOp& op, Checks& to) {
    to.open(op.table, "table");
    to.require(op.table.ref.shape.size() == 2, "table: expected [rows, width], found " + describe(op.table.ref.shape));
    to.require(elementsOf(to.read(op.index, "index")) == 1, "index: expected one value");
    const Shape& out = to.write(op.out);
    to.require(elementsOf(out) == op.table.tensor->columns(),
               "out is " + describe(out) + ", rows of the table have " + std::to_string(op.table.tensor->columns()) + " values");
}

void run(const RowOp& op, Run& in) {
    const Tensor& table = *op.table.tensor;
    const float index = std::nearbyint(*in.in(op.index));
    // Negated, so that NaN is refused too.
    if (!(index >= 0 && static_cast<double>(index) < static_cast<double>(table.rows()))) {
        failArgument("row: index " + std::to_string(*in.in(op.index)) + " is outside of the table in " + table.file() +
                     ", which has rows 0 to " + std::to_string(table.rows() - 1));
    }
    decodeRange(table, static_cast<uint64_t>(index) * table.columns(), table.columns(), in.out(op.out), in.memory[0].stored,
                in.kernels);
}

void check(TimestepOp& op, Checks& to) {
    to.require(elementsOf(to.read(op.t, "t")) == 1, "t: expected one value");
    const Shape& out = to.write(op.out);
    to.require(op.dim >= 2 && op.dim % 2 == 0, "dim: expected an even number, got " + std::to_string(op.dim));
    to.require(elementsOf(out) == op.dim, "out is " + describe(out) + ", dim is " + std::to_string(op.dim));
    to.require(op.shift < static_cast<double>(op.dim / 2), "shift: expected less than half of dim");
}

std::vector<float> frequenciesOf(const TimestepOp& op) {
    const float logPeriod = static_cast<float>(-std::log(10000.0));
    const float count = static_cast<float>(static_cast<double>(op.dim / 2) - op.shift);
    std::vector<float> frequencies(op.dim / 2);
    for (uint64_t k = 0; k < frequencies.size(); ++k) {
        frequencies[k] = std::exp(logPeriod * static_cast<float>(k) / count);
    }
    return frequencies;
}

void run(const TimestepOp& op, Run& in) {
    const std::vector<float> frequencies = frequenciesOf(op);
    const float t = static_cast<float>(op.scale) * *in.in(op.t);
    float* out = in.out(op.out);
    for (size_t k = 0; k < frequencies.size(); ++k) {
        const float argument = t * frequencies[k];
        out[k] = static_cast<float>(std::cos(static_cast<double>(argument)));
        out[frequencies.size() + k] = static_cast<float>(std::sin(static_cast<double>(argument)));
    }
}

}  // namespace quantscope
