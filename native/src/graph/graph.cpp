#include "graph/graph.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/memory.h"
#include "graph/ops.h"
#include "rotation/rpbh.h"

namespace quantscope {

Graph::Graph(Program program) : program_(std::move(program)) {
    Checks checks(program_);
    for (size_t i = 0; i < program_.ops.size(); ++i) {
        Op& op = program_.ops[i];
        checks.startOp(i, op);
        std::visit([&](auto& each) { check(each, checks); }, op);
        if (const auto* linear = std::get_if<LinearOp>(&op)) {
            const Shape& x = program_.buffers[linear->x];
            Captures::Expected& expected = linears_.try_emplace(linear->name, Captures::Expected{0, x.back(), {}}).first->second;
            checks.require(expected.width == x.back(),
                           "another linear of this name takes " + std::to_string(expected.width) + " features");
            expected.rows += elementsOf(x) / x.back();
            expected.buffers.push_back(linear->x);
        }
    }
    checks.finish();
    flops_ = checks.flops();
    arenaSize_ = checks.plan().size();
    if (bufferBytes() > physicalMemory()) {
        throw Error(ErrorCode::Memory, "The model needs " + std::to_string(bufferBytes() >> 20) +
                                           " MiB for its activations; this machine has " +
                                           std::to_string(physicalMemory() >> 20) + " MiB. Choose a smaller size.");
    }
    for (Buffer buffer = 0; buffer < program_.buffers.size(); ++buffer) {
        plan_.push_back(checks.plan().placeOf(buffer));
    }
}

void Graph::checkRequest(const RunRequest& request) const {
    for (const auto& [name, buffer] : program_.inputs) {
        const auto given = request.inputs.find(name);
        const uint64_t expected = elementsOf(program_.buffers[buffer]);
        if (given == request.inputs.end()) {
            failArgument("inputs: \"" + name + "\" is missing; it has " + std::to_string(expected) + " values");
        }
        if (given->second.size() != expected) {
            failArgument("inputs: \"" + name + "\" has " + std::to_string(given->second.size()) + " values, expected " +
                         std::to_string(expected));
        }
    }
    for (const auto& [name, values] : request.inputs) {
        if (!program_.inputs.contains(name)) {
            failArgument("inputs: the model has no input \"" + name + "\"");
        }
    }
    for (const auto& [name, recipe] : request.recipes) {
        const auto linear = linears_.find(name);
        if (linear == linears_.end()) {
            failArgument("recipes: the model has no linear \"" + name + "\"");
        }
        validate(recipe, linear->second.width, "recipes[\"" + name + "\"]");
    }
    for (const auto& [name, linear] : linears_) {
        if ((request.capture || request.recipes.contains(name)) && linear.width > kMaxWidth) {
            failArgument("recipes: \"" + name + "\" takes " + std::to_string(linear.width) + " features; at most " +
                         std::to_string(kMaxWidth));
        }
    }
}

void Graph::allocate() {
    arena_ = allocateAligned<float>(arenaSize_);
    preferLargePages(arena_.get(), arenaSize_ * sizeof(float));
    std::vector<float*> roots(plan_.size(), arena_.get());
    for (Op& op : program_.ops) {
        if (auto* constant = std::get_if<ConstantOp>(&op)) {
            roots[constant->out] = constant->data.data();
        }
    }
    std::vector<float*> places;
    for (const MemoryPlan::Place& place : plan_) {
        places.push_back((place.external ? roots[place.root] : arena_.get()) + place.offset);
    }
    places_ = std::move(places);
}

RunResult Graph::run(const RunRequest& request, ThreadPool& pool, const Cancellation& cancellation, const Progress& progress,
                     const Kernels& kernels) {
    const std::lock_guard one(oneRun_);
    checkRequest(request);
    Captures captures(request.capture.value_or(CaptureRequest{}), linears_, secondMoments_);
    if (places_.empty()) {
        allocate();
    }
    memory_.resize(std::max<size_t>(memory_.size(), pool.threads()));
    cache_.startRun();

    Workers workers(pool, cancellation, progress, flops_ + captures.work());
    Linears linears(request.recipes, captures, cache_, workers, memory_, kernels);
    Run context{program_, places_, workers, &linears, kernels, memory_};
    for (const auto& [name, values] : request.inputs) {
        std::copy(values.begin(), values.end(), context.out(program_.inputs.at(name)));
    }
    try {
        for (const Op& op : program_.ops) {
            workers.checkCancelled();
            std::visit([&](const auto& each) { quantscope::run(each, context); }, op);
        }
    } catch (...) {
        secondMoments_.forget();  // half of a run would count some layers more often than others
        throw;
    }

    RunResult result;
    for (const auto& [name, buffer] : program_.outputs) {
        result.outputs.emplace(name, std::vector<float>(context.in(buffer), context.in(buffer) + context.elements(buffer)));
    }
    if (request.capture) {
        result.captured = captures.finish();
    }
    result.firstNonFinite = linears.firstNonFinite();
    result.integers = linears.integers();
    result.flops = flops_;
    return result;
}

std::vector<SecondMomentsFile> Graph::takeSecondMoments(const std::string& folder, ThreadPool& pool, const Cancellation& cancellation,
                                                        const Progress& progress) {
    const std::lock_guard one(oneRun_);
    Workers workers(pool, cancellation, progress, static_cast<double>(secondMoments_.size()));
    return secondMoments_.take(folder, workers);
}

}  // namespace quantscope
