#include "reconstruct/block_linear.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "base/error.h"
#include "linear/activations.h"
#include "linear/gemm.h"
#include "linear/weights.h"

namespace quantscope {

namespace {

constexpr uint64_t kPanel = 96;      ///< outputs or inputs that a thread computes at once
constexpr uint64_t kRowBlock = 256;  ///< rows between two looks at the cancellation

/// Calls body(first, count, worker) for pieces of `total`.
template <class Body>
void panels(uint64_t total, Workers& workers, Body body) {
    workers.tiles((total + kPanel - 1) / kPanel,
                  [&](size_t tile, unsigned worker) { body(tile * kPanel, std::min(kPanel, total - tile * kPanel), worker); });
}

}  // namespace

BlockLinear::BlockLinear(Weight weight, const LinearRecipe* recipe, const Bench& bench)
    : outputs_(weight.outputs), inputs_(weight.inputs), quantized_(weight.inputs), bias_(std::move(weight.bias)), weights_(outputs_ * inputs_) {
    bias_.resize(outputs_, 0.0f);  // none is zeros
    std::optional<WeightRows::Parts> parts;
    if (recipe != nullptr) {
        if (!std::holds_alternative<IntQuantizer>(recipe->weights)) {
            failArgument(weight.name + ": AdaRound learns which of two neighbouring integers a weight becomes; this layer's weights are quantized "
                                       "otherwise. Give them integers, or another solver (rtn, gptq).");
        }
        recipe_ = *recipe;
        quantized_ = inputs_ - recipe->tail;
        transforms_ = std::make_unique<Transforms>(recipe->transforms, inputs_, bench.workers, bench.kernels);
        if (recipe->lowRank) {
            factors_ = load(*recipe->lowRank, outputs_, inputs_, weight.name, bench.kernels);
        }
        recipe_->weights = KeepQuantizer{};
        quantizer_ = std::get<IntQuantizer>(recipe->weights);
        parts.emplace(WeightRows::Parts{*recipe_, *transforms_, factors_ ? &*factors_ : nullptr});
    }
    WeightCache none(0);
    const WeightRows rows(weight.name, &weight.tensor, outputs_, inputs_, parts ? &*parts : nullptr, none, bench.workers, bench.memory, bench.kernels);
    panels(outputs_, bench.workers, [&](uint64_t first, uint64_t count, unsigned worker) {
        rows.read(first, count, weights_.data() + first * inputs_, bench.memory[worker]);
    });
    if (recipe == nullptr) {
        return;
    }
    for (uint64_t row = 0; row < outputs_; ++row) {
        const float* const values = weights_.data() + row * inputs_;
        if (bench.kernels.maxMagnitude(values, inputs_) >= 0x7F800000) {
            failArgument(weight.name + ": row " + std::to_string(row) + " of the weight holds NaN or infinite values, which cannot be rounded. "
                                                                       "Repair the checkpoint or keep this layer.");
        }
        if (needsTensorRange(*quantizer_)) {
            observe(*quantizer_, values, quantized_, 0, bench.kernels, range_);
        }
    }
    codec_.emplace(*quantizer_, quantized_, range_, bench.kernels);
    rounding_ = std::make_unique<SoftRounding>(weights_.data(), outputs_, inputs_, *codec_, bench.workers);
    gradient.resize(outputs_ * quantized_);
}

void BlockLinear::useSoft(Workers& workers) { rounding_->writeSoft(weights_.data(), inputs_, workers); }

void BlockLinear::use(const Rounding& rounding, Workers& workers) {
    workers.rows(outputs_, inputs_, [&](uint64_t begin, uint64_t end) {
        for (uint64_t row = begin; row < end; ++row) {
            codec_->decode(rounding.codes.data() + row * quantized_, rounding.sides.data() + row * codec_->sides(), weights_.data() + row * inputs_);
        }
    });
}

std::vector<StoredTensor> BlockLinear::store(const Rounding& rounding) const {
    std::vector<StoredTensor> tensors{storeCodes(*codec_, outputs_, rounding.codes)};
    for (StoredTensor& side : storeSides(*quantizer_, *codec_, range_, outputs_, rounding.sides)) {
        tensors.push_back(std::move(side));
    }
    if (recipe_->tail > 0) {
        std::vector<float> tail;
        for (uint64_t row = 0; row < outputs_; ++row) {
            tail.insert(tail.end(), weights_.begin() + static_cast<std::ptrdiff_t>(row * inputs_ + quantized_),
                        weights_.begin() + static_cast<std::ptrdiff_t>((row + 1) * inputs_));
        }
        tensors.push_back(storeAs(FloatType::Bf16, "tail", {outputs_, recipe_->tail}, tail.data()));
    }
    if (factors_) {
        tensors.push_back(storeAs(FloatType::Bf16, "low_rank.down", {factors_->rank, inputs_}, factors_->down.data()));
        tensors.push_back(storeAs(FloatType::Bf16, "low_rank.up", {outputs_, factors_->rank}, factors_->up.data()));
    }
    return tensors;
}

void BlockLinear::forward(const float* x, uint64_t rows, float* y, Saved& saved, const Bench& bench) const {
    if (recipe_ && (!recipe_->transforms.empty() || factors_ || !isKept(recipe_->activations))) {
        saved.prepared.resize(rows * inputs_);
        saved.branch.resize(factors_ ? rows * factors_->rank : 0);
        prepareActivations(x, rows, inputs_, *recipe_, *transforms_, factors_ ? &*factors_ : nullptr, saved.prepared.data(), saved.branch.data(), nullptr,
                           bench.workers, bench.memory, bench.kernels);
        x = saved.prepared.data();
    }
    panels(outputs_, bench.workers, [&](uint64_t first, uint64_t count, unsigned) {
        for (uint64_t begin = 0; begin < rows; begin += kRowBlock) {
            const uint64_t block = std::min(kRowBlock, rows - begin);
            float* const target = y + begin * outputs_ + first;
            for (uint64_t i = 0; i < block; ++i) {
                std::copy_n(bias_.data() + first, count, target + i * outputs_);
            }
            bench.workers.checkCancelled();
            multiplyTransposed(block, count, inputs_, 1.0f, x + begin * inputs_, inputs_, weights_.data() + first * inputs_, inputs_, 1.0f, target,
                               outputs_);
            if (factors_) {
                multiplyTransposed(block, count, factors_->rank, 1.0f, saved.branch.data() + begin * factors_->rank, factors_->rank,
                                   factors_->up.data() + first * factors_->rank, factors_->rank, 1.0f, target, outputs_);
            }
            bench.workers.advance(2.0 * static_cast<double>(block) * static_cast<double>(count) * static_cast<double>(inputs_));
        }
    });
}

void BlockLinear::backward(const float* x, uint64_t rows, const float* dy, const Saved& saved, float* dx, const Bench& bench) {
    if (rounding_ != nullptr) {
        addWeightGradient(saved.prepared.empty() ? x : saved.prepared.data(), rows, dy, bench);
    }
    if (dx != nullptr) {
        addInputGradient(x, rows, dy, dx, bench);
    }
}

/// dW̃ = dyᵀ x.
void BlockLinear::addWeightGradient(const float* prepared, uint64_t rows, const float* dy, const Bench& bench) {
    panels(outputs_, bench.workers, [&](uint64_t first, uint64_t count, unsigned worker) {
        float* const product = bench.memory[worker].panel.get<float>(kPanel * quantized_);
        float* const target = gradient.data() + first * quantized_;
        for (uint64_t begin = 0; begin < rows; begin += kRowBlock) {
            bench.workers.checkCancelled();
            multiplyColumns(count, quantized_, std::min(kRowBlock, rows - begin), dy + begin * outputs_ + first, outputs_, prepared + begin * inputs_,
                            inputs_, product, quantized_);
            for (uint64_t i = 0; i < count * quantized_; ++i) {
                target[i] += product[i];
            }
        }
    });
}

/// dx = Tᵀ (dy W̃ + (dy up) down): the weights' way back is the transpose of the inputs' way in.
void BlockLinear::addInputGradient(const float* x, uint64_t rows, const float* dy, float* dx, const Bench& bench) const {
    std::vector<float> inner(rows * inputs_);
    std::vector<float> branch;
    if (factors_) {
        const uint64_t rank = factors_->rank;
        branch.resize(rows * rank);
        multiply(rows, rank, outputs_, dy, outputs_, factors_->up.data(), rank, 0.0f, branch.data(), rank);
    }
    panels(inputs_, bench.workers, [&](uint64_t first, uint64_t count, unsigned) {
        for (uint64_t begin = 0; begin < rows; begin += kRowBlock) {
            const uint64_t block = std::min(kRowBlock, rows - begin);
            float* const target = inner.data() + begin * inputs_ + first;
            bench.workers.checkCancelled();
            multiply(block, count, outputs_, dy + begin * outputs_, outputs_, weights_.data() + first, inputs_, 0.0f, target, inputs_);
        }
    });
    const uint64_t each = transforms_ ? transforms_->rowsAtOnce() : kRowBlock;
    bench.workers.tiles((rows + each - 1) / each, [&](size_t piece, unsigned worker) {
        const uint64_t begin = piece * each;
        const uint64_t count = std::min(each, rows - begin);
        float* gradients = inner.data() + begin * inputs_;
        if (recipe_ && recipe_->activationRange) {
            float* const values = bench.memory[worker].decoded.get<float>(count * inputs_);
            transforms_->apply(Transforms::Side::Inputs, x + begin * inputs_, count, values, bench.memory[worker].spare);
            const auto low = static_cast<float>(std::min(recipe_->activationRange->low, 0.0));
            const auto high = static_cast<float>(std::max(recipe_->activationRange->high, 0.0));
            for (uint64_t i = 0; i < count; ++i) {
                for (uint64_t j = i * inputs_; j < i * inputs_ + quantized_; ++j) {
                    gradients[j] = values[j] < low || values[j] > high ? 0.0f : gradients[j];
                }
            }
        }
        if (factors_) {
            multiply(count, inputs_, factors_->rank, branch.data() + begin * factors_->rank, factors_->rank, factors_->down.data(), inputs_, 1.0f,
                     gradients, inputs_);
        }
        if (transforms_ && !transforms_->empty()) {
            float* const restored = bench.memory[worker].decoded.get<float>(count * inputs_);
            transforms_->restoreWeights(gradients, count, restored, bench.memory[worker].spare);
            gradients = restored;
        }
        for (uint64_t i = 0; i < count * inputs_; ++i) {
            dx[begin * inputs_ + i] += gradients[i];
        }
    });
}

}  // namespace quantscope
