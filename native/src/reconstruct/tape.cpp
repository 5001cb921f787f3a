#include "reconstruct/tape.h"

#include <algorithm>

#include "base/error.h"
#include "base/memory.h"
#include "graph/checks.h"
#include "graph/ops.h"
#include "reconstruct/reverse.h"
#include "rotation/rpbh.h"

namespace quantscope {

namespace {

template <class... Cases>
struct Overloaded : Cases... {
    using Cases::operator()...;
};

/// Buffers that gradients go back to.
std::vector<Buffer> differentiatedInputs(const Op& op) {
    using Buffers = std::vector<Buffer>;
    return std::visit(Overloaded{
                          [](const ConstantOp&) { return Buffers{}; },
                          [](const TensorOp&) { return Buffers{}; },
                          [](const RowOp& op) { return Buffers{op.index}; },
                          [](const TimestepOp& op) { return Buffers{op.t}; },
                          [](const ModulateOp& op) { return Buffers{op.x, op.shift, op.scale}; },
                          [](const GateAddOp& op) { return Buffers{op.x, op.gate, op.y}; },
                          [](const BinaryOp& op) { return Buffers{op.a, op.b}; },
                          [](const AttentionOp& op) { return Buffers{op.q, op.k, op.v}; },
                          [](const ConcatOp& op) { return op.xs; },
                          [](const auto& op) { return Buffers{op.x}; },
                      },
                      op);
}

/// Buffers that are data for the op: nothing learned may come in there.
std::vector<Buffer> dataInputs(const Op& op) {
    if (const auto* rope = std::get_if<RopeOp>(&op)) {
        return {rope->cos, rope->sin};
    }
    const auto* attention = std::get_if<AttentionOp>(&op);
    return attention != nullptr && attention->bias ? std::vector<Buffer>{*attention->bias} : std::vector<Buffer>{};
}

}  // namespace

Tape::Tape(Program program, const Recipes& recipes, const Bench& bench) : program_(std::move(program)), saved_(program_.ops.size()) {
    const std::vector<MemoryPlan::Place> plan = check(recipes);
    values_ = allocateAligned<float>(size_);
    slopes_ = allocateAligned<float>(size_);
    std::vector<float*> roots(plan.size(), values_.get());
    for (Op& op : program_.ops) {
        if (auto* constant = std::get_if<ConstantOp>(&op)) {
            roots[constant->out] = constant->data.data();
        }
    }
    for (const MemoryPlan::Place& place : plan) {
        places_.push_back((place.external ? roots[place.root] : values_.get()) + place.offset);
    }
    findGradients(recipes, plan);
    readLinears(recipes, bench);
}

/// Every buffer counts as an output here, so that nothing takes the place of anything else.
std::vector<MemoryPlan::Place> Tape::check(const Recipes& recipes) {
    const std::map<std::string, Buffer> outputs = program_.outputs;
    const auto keep = [&](Buffer buffer) { program_.outputs["buffer " + std::to_string(buffer)] = buffer; };
    for (const auto& [name, buffer] : program_.inputs) {
        keep(buffer);
    }
    Checks checks(program_);
    std::map<std::string, const LinearOp*> linears;
    uint64_t weightBytes = 0;
    for (size_t i = 0; i < program_.ops.size(); ++i) {
        Op& op = program_.ops[i];
        checks.startOp(i, op);
        std::visit([&](auto& each) { quantscope::check(each, checks); }, op);
        keep(outOf(op));
        if (const auto* linear = std::get_if<LinearOp>(&op)) {
            const auto [known, isNew] = linears.try_emplace(linear->name, linear);
            checks.require(linear->weight.has_value(), "this layer is packed already, so there is nothing to learn");
            checks.require(known->second->weight->ref == linear->weight->ref, "another linear of this name has other weights");
            const auto recipe = recipes.find(linear->name);
            if (recipe != recipes.end()) {
                const uint64_t width = lastOf(program_.buffers[linear->x]);
                checks.require(width <= kMaxWidth, "takes " + std::to_string(width) + " features; at most " + std::to_string(kMaxWidth) + " can be quantized");
                validate(recipe->second, width, "layers[\"" + linear->name + "\"]");
            }
            if (isNew) {
                weightBytes += linear->weight->tensor->elements() * (recipe != recipes.end() ? SoftRounding::kBytesPerWeight : sizeof(float));
            }
        }
    }
    checks.finish();
    program_.outputs = outputs;
    for (const auto& [name, recipe] : recipes) {
        if (!linears.contains(name)) {
            failArgument("layers: the block has no linear \"" + name + "\"");
        }
    }
    flops_ = checks.flops();
    size_ = checks.plan().size();
    const uint64_t bytes = weightBytes + 2 * size_ * sizeof(float);
    if (bytes > physicalMemory()) {
        throw Error(ErrorCode::Memory, "Learning the rounding of this block needs " + std::to_string(bytes >> 20) + " MiB; this machine has " +
                                           std::to_string(physicalMemory() >> 20) + " MiB. Use the solver gptq, which works layer by layer.");
    }
    std::vector<MemoryPlan::Place> plan;
    for (Buffer buffer = 0; buffer < program_.buffers.size(); ++buffer) {
        plan.push_back(checks.plan().placeOf(buffer));
    }
    return plan;
}

void Tape::findGradients(const Recipes& recipes, const std::vector<MemoryPlan::Place>& plan) {
    gradients_.resize(plan.size(), nullptr);
    for (size_t i = 0; i < program_.ops.size(); ++i) {
        const Op& op = program_.ops[i];
        const auto isNeeded = [&](Buffer buffer) { return gradients_[buffer] != nullptr; };
        const std::vector<Buffer> data = dataInputs(op);
        const std::vector<Buffer> inputs = differentiatedInputs(op);
        const auto* linear = std::get_if<LinearOp>(&op);
        const bool behind = std::any_of(inputs.begin(), inputs.end(), isNeeded);
        if (std::any_of(data.begin(), data.end(), isNeeded) || (behind && !isDifferentiable(op))) {
            failArgument("op " + std::to_string(i) + " (" + kOpNames[op.index()] +
                         "): a loss cannot be followed back through it to the layers that learn. Take a smaller block, or the solver gptq.");
        }
        if (behind || (linear != nullptr && recipes.contains(linear->name))) {
            gradients_[outOf(op)] = slopes_.get() + plan[outOf(op)].offset;
        }
    }
}

void Tape::readLinears(const Recipes& recipes, const Bench& bench) {
    for (const Op& op : program_.ops) {
        const auto* linear = std::get_if<LinearOp>(&op);
        if (linear == nullptr || linears_.contains(linear->name)) {
            continue;
        }
        const auto recipe = recipes.find(linear->name);
        BlockLinear::Weight weight{linear->name, *linear->weight->tensor, lastOf(program_.buffers[linear->out]), lastOf(program_.buffers[linear->x]),
                                   linear->bias ? load(*linear->bias->tensor, bench.kernels) : std::vector<float>()};
        linears_[linear->name] = std::make_unique<BlockLinear>(std::move(weight), recipe != recipes.end() ? &recipe->second : nullptr, bench);
    }
}

void Tape::forward(const Bench& bench) {
    Run in{program_, places_, bench.workers, nullptr, bench.kernels, bench.memory};
    for (size_t i = 0; i < program_.ops.size(); ++i) {
        bench.workers.checkCancelled();
        if (const auto* linear = std::get_if<LinearOp>(&program_.ops[i])) {
            linears_.at(linear->name)->forward(in.in(linear->x), in.rows(linear->x), in.out(linear->out), saved_[i], bench);
        } else {
            std::visit([&](const auto& each) { quantscope::run(each, in); }, program_.ops[i]);
        }
    }
}

void Tape::clearGradients() { std::fill_n(slopes_.get(), size_, 0.0f); }

void Tape::backward(const Bench& bench) {
    Run in{program_, places_, bench.workers, nullptr, bench.kernels, bench.memory};
    const Reverse to{in, gradients_};
    for (size_t i = program_.ops.size(); i-- > 0;) {
        bench.workers.checkCancelled();
        const Op& op = program_.ops[i];
        if (gradients_[outOf(op)] == nullptr) {
            continue;
        }
        if (const auto* linear = std::get_if<LinearOp>(&op)) {
            linears_.at(linear->name)->backward(in.in(linear->x), in.rows(linear->x), gradients_[linear->out], saved_[i], gradients_[linear->x], bench);
        } else {
            quantscope::backward(op, to);
        }
    }
    bench.workers.advance(2.0 * flops_);
}

}  // namespace quantscope
