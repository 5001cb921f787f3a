#include "linear/linear.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "linear/activations.h"
#include "linear/gemm.h"

namespace quantscope {

namespace {

/// Outputs a thread computes at once: their weights are a panel of at most 16 MiB. OpenBLAS reaches within 3 % of its full speed
/// from 96 on, and the number of panels of a usual layer divides well among a few threads.
uint64_t panelRows(uint64_t inputs) { return std::clamp<uint64_t>((uint64_t{1} << 22) / inputs, 1, 96); }

/// Rows of x between two looks at the cancellation: a few milliseconds.
constexpr uint64_t kRowBlock = 256;

/// Outputs a thread computes at once on integers: whole panels.
constexpr uint64_t kIntegerRows = 6 * kPanelColumns;

}  // namespace

const Transforms& Linears::transformsFor(const LinearRecipe& recipe, uint64_t width) {
    if (loaded_ == nullptr || loaded_->width != width || loaded_->list != recipe.transforms) {
        loaded_.reset();
        loaded_.reset(new Loaded{recipe.transforms, width, Transforms(recipe.transforms, width, workers_, kernels_)});
    }
    return loaded_->transforms;
}

const float* Linears::prepare(const Input& x, uint64_t width, const WeightRows::Parts& parts) {
    const LinearRecipe& recipe = parts.recipe;
    if (recipe.transforms.empty() && isKept(recipe.activations) && parts.factors == nullptr) {
        return x.values;
    }
    float* prepared = prepared_.get<float>(x.rows * width);
    float* branch = branch_.get<float>(parts.factors == nullptr ? 0 : x.rows * parts.factors->rank);
    Prepared wanted{x.id, recipe};
    if (parts.plan == nullptr) {  // integers are laid out for both sides
        wanted.recipe.weights = KeepQuantizer{};
        wanted.recipe.execution = Execution::Fake;
    }
    wanted.recipe.packed.reset();
    if (preparedFor_ != wanted) {
        preparedFor_.reset();
        integerRows_.reset();
        if (parts.plan != nullptr) {
            integerRows_.emplace(*parts.plan, x.rows, products_);
        }
        prepareActivations(x.values, x.rows, width, recipe, parts.transforms, parts.factors, prepared, branch, integerRows_ ? &*integerRows_ : nullptr,
                           workers_, memory_, kernels_);
        preparedFor_ = std::move(wanted);
    }
    return prepared;
}

std::optional<IntegerPlan> Linears::planFor(const Layer& layer, const LinearRecipe& recipe) {
    if (recipe.execution != Execution::Integer) {
        return std::nullopt;
    }
    auto found = planInteger(recipe.weights, recipe.activations, layer.inputs - recipe.tail, products_);
    if (auto* reason = std::get_if<std::string>(&found)) {
        integers_.push_back({layer.name, std::move(*reason)});
        return std::nullopt;
    }
    auto& plan = std::get<IntegerPlan>(found);
    integers_.push_back({layer.name, std::nullopt, plan.w.surrogateError, plan.x.surrogateError});
    return std::move(plan);
}

void Linears::run(const Layer& layer, const Input& x, float* out) {
    captures_.add(layer.name, x.values, x.rows, layer.inputs, workers_, kernels_);
    const auto found = recipes_.find(layer.name);
    const LinearRecipe* recipe = found == recipes_.end() ? nullptr : &found->second;
    std::optional<LowRankFactors> factors;
    std::optional<IntegerPlan> plan;
    std::optional<WeightRows::Parts> parts;
    if (recipe != nullptr) {
        if (recipe->lowRank) {
            factors = load(*recipe->lowRank, layer.outputs, layer.inputs, layer.name, kernels_);
        }
        plan = planFor(layer, *recipe);
        parts.emplace(WeightRows::Parts{*recipe, transformsFor(*recipe, layer.inputs), factors ? &*factors : nullptr, plan ? &*plan : nullptr});
    }
    const float* input = parts ? prepare(x, layer.inputs, *parts) : x.values;
    const float* branch = factors ? branch_.get<float>(x.rows * factors->rank) : nullptr;
    const WeightRows weights(layer.name, layer.weight, layer.outputs, layer.inputs, parts ? &*parts : nullptr, cache_, workers_, memory_,
                             kernels_);
    const uint64_t panel = plan ? kIntegerRows : panelRows(layer.inputs);
    const uint64_t tail = plan ? recipe->tail : 0;
    // Rows between two looks: whole tiles of integers.
    const uint64_t rowBlock = plan ? (kRowBlock + products_.rows - 1) / products_.rows * products_.rows : kRowBlock;
    std::atomic<bool> finite{true};
    workers_.tiles((layer.outputs + panel - 1) / panel, [&](size_t tile, unsigned worker) {
        const uint64_t first = tile * panel;
        const uint64_t count = std::min(panel, layer.outputs - first);
        float* rows = memory_[worker].panel.get<float>(panel * (plan ? tail : layer.inputs));
        WeightRows::Integers integers{};
        if (plan) {
            integers = weights.readIntegers(first, count, rows, memory_[worker]);
        } else {
            weights.read(first, count, rows, memory_[worker]);
        }
        for (uint64_t begin = 0; begin < x.rows; begin += rowBlock) {
            const uint64_t block = std::min(rowBlock, x.rows - begin);
            float* target = out + begin * layer.outputs + first;
            for (uint64_t i = 0; i < block; ++i) {
                if (layer.bias.empty()) {
                    std::fill_n(target + i * layer.outputs, count, 0.0f);
                } else {
                    std::copy_n(layer.bias.data() + first, count, target + i * layer.outputs);
                }
            }
            workers_.checkCancelled();
            if (plan) {
                const size_t tile = begin / products_.rows;
                multiplyIntegers(*integerRows_, {tile, tile + (block + products_.rows - 1) / products_.rows}, *integers.weight,
                                 {integers.firstPanel, integers.firstPanel + (count + kPanelColumns - 1) / kPanelColumns}, target, layer.outputs, products_,
                                 scratch_[worker]);
                if (tail > 0) {
                    multiplyTransposed(block, count, tail, 1.0f, input + begin * layer.inputs + (layer.inputs - tail), layer.inputs, rows, tail, 1.0f,
                                       target, layer.outputs);
                }
            } else {
                multiplyTransposed(block, count, layer.inputs, 1.0f, input + begin * layer.inputs, layer.inputs, rows, layer.inputs, 1.0f, target,
                                   layer.outputs);
            }
            if (factors) {
                multiplyTransposed(block, count, factors->rank, 1.0f, branch + begin * factors->rank, factors->rank,
                                   factors->up.data() + first * factors->rank, factors->rank, 1.0f, target, layer.outputs);
            }
            uint32_t largest = 0;
            for (uint64_t i = 0; i < block; ++i) {
                largest = std::max(largest, kernels_.maxMagnitude(target + i * layer.outputs, count));
            }
            if (largest >= std::bit_cast<uint32_t>(std::numeric_limits<float>::infinity())) {
                finite.store(false, std::memory_order_relaxed);
            }
            workers_.advance(2.0 * static_cast<double>(block) * static_cast<double>(count) * static_cast<double>(layer.inputs));
        }
    });
    if (!finite.load() && !firstNonFinite_) {
        firstNonFinite_ = layer.name;
    }
}

}  // namespace quantscope
