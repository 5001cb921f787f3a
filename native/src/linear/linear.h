// Every linear of a model runs here, so this is the one place for quantized weights, activation quantizers, capture, progress,
// cancellation, and the search for the first value that is not finite.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/workers.h"
#include "cpu/kernels.h"
#include "integer/operands.h"
#include "linear/capture.h"
#include "linear/recipe.h"
#include "linear/weights.h"
#include "tensor/tensor.h"

namespace quantscope {

/// The linears of one run.
class Linears {
public:
    struct Layer {
        const std::string& name;
        const Tensor* weight;  ///< outputs x inputs values, row-major; null when there are packed codes alone
        uint64_t outputs;
        uint64_t inputs;
        const std::vector<float>& bias;  ///< [outputs], or empty
    };
    struct Input {
        const float* values;  ///< [rows, inputs]
        uint64_t rows;
        uint32_t id;  ///< equal ids mean equal values
    };

    Linears(const Recipes& recipes, Captures& captures, WeightCache& cache, Workers& workers, std::vector<TileMemory>& memory,
            const Kernels& kernels)
        : recipes_(recipes), captures_(captures), cache_(cache), workers_(workers), memory_(memory), kernels_(kernels),
          products_(productKernelsFor(kernels.name)), scratch_(workers.threads()) {}

    /// out [rows, outputs] = x Wᵀ + b as the layer's recipe says. Advances the workers by 2 · rows · inputs · outputs.
    void run(const Layer& layer, const Input& x, float* out);

    /// The first layer whose output held a NaN or an infinity.
    const std::optional<std::string>& firstNonFinite() const { return firstNonFinite_; }
    /// Of the layers that asked for integers, in the order in which they ran.
    const std::vector<IntegerExecution>& integers() const { return integers_; }

private:
    /// Of the last layer that had any: query, key and value projections share theirs.
    const Transforms& transformsFor(const LinearRecipe& recipe, uint64_t width);
    const float* prepare(const Input& x, uint64_t width, const WeightRows::Parts& parts);
    /// Null where the recipe does not ask for integers, or does not fit them.
    std::optional<IntegerPlan> planFor(const Layer& layer, const LinearRecipe& recipe);

    const Recipes& recipes_;
    Captures& captures_;
    WeightCache& cache_;
    Workers& workers_;
    std::vector<TileMemory>& memory_;
    const Kernels& kernels_;
    std::optional<std::string> firstNonFinite_;
    std::vector<IntegerExecution> integers_;
    const ProductKernels& products_;
    std::vector<IntegerScratch> scratch_;  ///< by worker

    struct Loaded {
        std::vector<Transform> list;
        uint64_t width;
        Transforms transforms;
    };
    std::unique_ptr<const Loaded> loaded_;

    /// The last prepared input, shared likewise, and what it gives for a low-rank branch.
    Scratch prepared_;
    Scratch branch_;
    struct Prepared {
        uint32_t input;
        LinearRecipe recipe;  ///< what of it concerns the input
        bool operator==(const Prepared&) const = default;
    };
    std::optional<Prepared> preparedFor_;
    std::optional<IntegerInputs> integerRows_;  ///< of that input, where the layer runs on integers
};

}  // namespace quantscope
