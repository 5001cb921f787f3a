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
        const Tensor& weight;  ///< outputs x inputs values, row-major
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
        : recipes_(recipes), captures_(captures), cache_(cache), workers_(workers), memory_(memory), kernels_(kernels) {}

    /// out [rows, outputs] = x Wᵀ + b as the layer's recipe says. Advances the workers by 2 · rows · inputs · outputs.
    void run(const Layer& layer, const Input& x, float* out);

    /// The first layer whose output held a NaN or an infinity.
    const std::optional<std::string>& firstNonFinite() const { return firstNonFinite_; }

private:
    const float* prepare(const Input& x, uint64_t width, const LinearRecipe& recipe);

    const Recipes& recipes_;
    Captures& captures_;
    WeightCache& cache_;
    Workers& workers_;
    std::vector<TileMemory>& memory_;
    const Kernels& kernels_;
    std::optional<std::string> firstNonFinite_;

    /// The last quantized input: query, key and value projections share theirs.
    Scratch prepared_;
    struct Prepared {
        uint32_t input;
        std::optional<uint64_t> rotationSeed;
        Quantizer activations;
        bool operator==(const Prepared&) const = default;
    };
    std::optional<Prepared> preparedFor_;
};

}  // namespace quantscope
