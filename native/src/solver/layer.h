// Jobs on one layer: find codes that are worth keeping in a file, and write out what a recipe makes of a weight.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <variant>

#include "linear/recipe.h"
#include "solver/gptq.h"
#include "tensor/tensor.h"

namespace quantscope {

struct RtnSolver {};
struct GptqSolver {
    double damping = 0.01;
    bool actOrder = true;
    bool staticGroups = true;
};
using Solver = std::variant<RtnSolver, GptqSolver>;

struct LowRankRequest {
    uint64_t rank;
    uint64_t iterations;
};

struct QuantizeLayerRequest {
    std::string layer;  ///< for messages
    TensorRef weight;   ///< [outputs, inputs], or with more axes that are the inputs together
    LinearRecipe recipe;  ///< without codes
    Solver solver;
    /// F32 [inputs, inputs], mean x xᵀ of the layer's inputs as they come, before the recipe's transforms.
    std::optional<TensorRef> secondMoments;
    std::optional<LowRankRequest> lowRank;
    std::string out;  ///< codes, side tensors, `tail`, `low_rank.down` and `low_rank.up`, see packed/packed_weight.h
};

struct LayerFit {
    double relativeMse = 0;          ///< of the coordinates that are quantized, behind the transforms
    std::optional<ProxyLoss> loss;   ///< when second moments were given
    std::optional<double> damping;   ///< GPTQ's, as added to the diagonal
    unsigned retries = 0;            ///< times it was doubled
    unsigned lowRankIterations = 0;  ///< branches tried
};

/// gptq(), or what does the same elsewhere.
using SolveGptq = std::function<Gptq(std::vector<float> weights, const float* moments, size_t stride, const RowCodec& codec, const GptqOptions& options, Workers& workers)>;

/// Throws Error: Argument when the request does not fit together, the weight holds NaN or infinities or the moments are none; Io,
/// Memory, Cancelled. A file appears only when all went well.
LayerFit quantizeLayer(const QuantizeLayerRequest& request, ThreadPool& pool, const Cancellation& cancellation, const Progress& progress,
                       const Kernels& kernels, const SolveGptq& solve = gptq);

struct DequantizeLayerRequest {
    std::string layer;
    TensorRef weight;
    LinearRecipe recipe;
    std::string out;  ///< `weight` BF16, of the shape of the weight
};

struct DequantizedLayer {
    double relativeMse = 0;  ///< in the original coordinates, BF16 rounding included
};

/// The weight that computes in full precision what the recipe computes with full-precision activations: codes decoded, tail and
/// low-rank branch put together, transforms undone.
DequantizedLayer dequantizeLayer(const DequantizeLayerRequest& request, ThreadPool& pool, const Cancellation& cancellation,
                                 const Progress& progress, const Kernels& kernels);

}  // namespace quantscope
