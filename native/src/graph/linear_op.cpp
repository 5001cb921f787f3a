// y = x Wᵀ + b. What a recipe or a capture adds is in linear/.
#include "graph/ops.h"

namespace quantscope {

void check(LinearOp& op, Checks& to) {
    const Shape& x = to.read(op.x, "x");
    const Shape& out = to.write(op.out);
    to.require(!x.empty() && !out.empty(), "x is " + describe(x) + " and out " + describe(out) + "; neither may be a scalar");
    const uint64_t outputs = out.back();
    if (op.weight) {
        const Shape& weight = op.weight->ref.shape;
        to.require(weight.size() >= 2 && weight[0] == outputs, "weight: expected [" + std::to_string(outputs) + ", in], found " + describe(weight));
        to.open(*op.weight, "weight");
        const uint64_t inputs = op.weight->tensor->elements() / outputs;
        to.require(x.back() == inputs, "x is " + describe(x) + ", the weight " + describe(weight) + " takes " + std::to_string(inputs) + " features");
    }
    if (op.bias) {
        to.open(*op.bias, "bias", outputs);
    }
    Shape expected = x;
    expected.back() = outputs;
    to.require(out == expected, "out is " + describe(out) + ", expected " + describe(expected));
    to.addFlops(2.0 * static_cast<double>(elementsOf(x)) * static_cast<double>(outputs));
}

void run(const LinearOp& op, Run& in) {
    const uint64_t inputs = lastOf(in.shape(op.x));
    const uint64_t outputs = lastOf(in.shape(op.out));
    const auto bias = op.bias ? load(*op.bias->tensor, in.kernels) : std::vector<float>();
    in.linears->run({op.name, op.weight ? op.weight->tensor.get() : nullptr, outputs, inputs, bias}, {in.in(op.x), in.rows(op.x), op.x}, in.out(op.out));
}

}  // namespace quantscope
