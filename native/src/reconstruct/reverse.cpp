#include "reconstruct/reverse.h"

#include <stdexcept>

namespace quantscope {

namespace {

template <class OpType>
concept Differentiable = requires(const OpType& op, const Reverse& to) { static_cast<void (*)(const OpType&, const Reverse&)>(backward); };

}  // namespace

bool isDifferentiable(const Op& op) {
    return std::visit([]<class OpType>(const OpType&) { return Differentiable<OpType> || std::is_same_v<OpType, LinearOp>; }, op);
}

void backward(const Op& op, const Reverse& to) {
    std::visit(
        [&]<class OpType>(const OpType& each) {
            if constexpr (Differentiable<OpType>) {
                backward(each, to);
            } else {
                throw std::logic_error("no derivative of this op");
            }
        },
        op);
}

}  // namespace quantscope
