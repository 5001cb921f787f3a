// One linear of a block in memory: forward as linear/linear.h computes it, and backward. Its weight is as stored, or what rounding makes of it.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/workers.h"
#include "linear/low_rank.h"
#include "linear/recipe.h"
#include "packed/packed_weight.h"
#include "quantizer/row_codec.h"
#include "reconstruct/soft_rounding.h"
#include "tensor/tensor.h"
#include "transform/transform.h"

namespace quantscope {

/// One job's threads and what each of them works in.
struct Bench {
    Workers& workers;
    std::vector<TileMemory>& memory;
    const Kernels& kernels;
};

class BlockLinear {
public:
    struct Weight {
        const std::string& name;
        const Tensor& tensor;
        uint64_t outputs;
        uint64_t inputs;
        std::vector<float> bias;  ///< [outputs], or empty
    };
    /// What backward() needs of a forward pass.
    struct Saved {
        std::vector<float> prepared;  ///< [rows, inputs] transformed and quantized; empty where the input is used as it is
        std::vector<float> branch;    ///< [rows, rank]
    };

    /// `recipe` may be null: full precision. Reads the whole weight. Throws Error: Io; Argument when the weight holds NaN or infinite values, or its
    /// quantizer is none of integers.
    BlockLinear(Weight weight, const LinearRecipe* recipe, const Bench& bench);

    /// Null when it does not learn.
    SoftRounding* rounding() { return rounding_.get(); }
    const SoftRounding* rounding() const { return rounding_.get(); }

    /// What forward() multiplies with from now on, where it learns: the soft weights, or codes.
    void useSoft(Workers& workers);
    void use(const Rounding& rounding, Workers& workers);
    /// The codes with what belongs to them, as quantizeLayer() stores them.
    std::vector<StoredTensor> store(const Rounding& rounding) const;

    /// y [rows, outputs].
    void forward(const float* x, uint64_t rows, float* y, Saved& saved, const Bench& bench) const;
    /// Adds to dx [rows, inputs], unless it is null, and to the gradient of the weight when it learns. Quantizing the input passes gradients on as they
    /// are, but not where a fixed range cut the value off ("straight-through").
    void backward(const float* x, uint64_t rows, const float* dy, const Saved& saved, float* dx, const Bench& bench);

    /// Of the quantized columns, [outputs, inputs - tail]; empty when it does not learn.
    std::vector<float> gradient;

private:
    void addWeightGradient(const float* prepared, uint64_t rows, const float* dy, const Bench& bench);
    void addInputGradient(const float* x, uint64_t rows, const float* dy, float* dx, const Bench& bench) const;

    uint64_t outputs_;
    uint64_t inputs_;
    uint64_t quantized_;
    std::vector<float> bias_;             ///< [outputs]
    std::vector<float> weights_;          ///< [outputs, inputs]
    std::optional<LinearRecipe> recipe_;  ///< its weights are kept: rounding them is not the recipe's business here
    std::unique_ptr<const Transforms> transforms_;
    std::optional<LowRankFactors> factors_;
    // Where it learns:
    std::optional<IntQuantizer> quantizer_;
    TensorRange range_;
    std::optional<RowCodec> codec_;
    std::unique_ptr<SoftRounding> rounding_;
};

}  // namespace quantscope
