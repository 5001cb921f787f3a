// How one linear runs.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "quantizer/quantizer.h"
#include "tensor/tensor.h"
#include "transform/transform.h"

namespace quantscope {

/// W ≈ up · down + Q(W - up · down) in the coordinates behind the transforms: down [r, inputs], up [outputs, r], BF16 or F32.
struct LowRank {
    TensorRef down;
    TensorRef up;
    bool operator==(const LowRank&) const = default;
};

/// Of calibration, for activations that are quantized with one range for the whole tensor.
struct ActivationRange {
    double low;
    double high;
    bool operator==(const ActivationRange&) const = default;
};

/// Codes that a solver found. Files that a recipe names do not change while a graph is open.
struct PackedWeight {
    TensorRef codes;
    std::map<std::string, TensorRef> sides;
    std::optional<TensorRef> tail;
    bool operator==(const PackedWeight&) const = default;
};

/// Fake: what codes decode to is multiplied as floats. Integer: the codes themselves are, as a deployed model would (integer/plan.h), where the recipe
/// fits; where it does not, the layer runs as Fake and says why.
enum class Execution { Fake, Integer };

/// What a recipe does to weights and activations (LinearRecipe of server/src/engine/graph.ts). Both sides are transformed, also a side that is
/// kept: the product is the same. The last `tail` coordinates behind the transforms stay in high precision: weights in BF16, activations as they
/// are. Activations are quantized per row of x (token) from that row's own values (OrbitQuant Eq 7-8 for codebooks), or over all of x with
/// Granularity::Tensor.
struct LinearRecipe {
    std::vector<Transform> transforms;
    Quantizer weights;
    Quantizer activations;
    uint64_t tail = 0;
    std::optional<LowRank> lowRank{};
    std::optional<ActivationRange> activationRange{};
    std::optional<PackedWeight> packed{};
    Execution execution = Execution::Fake;

    bool operator==(const LinearRecipe&) const = default;
};

/// By layer name.
using Recipes = std::map<std::string, LinearRecipe>;

/// How a layer with Execution::Integer ran.
struct IntegerExecution {
    std::string layer;
    std::optional<std::string> reason;  ///< why it ran as Execution::Fake: half a sentence after its name
    double weightSurrogate = 0;         ///< IntegerCodes::surrogateError of both sides
    double activationSurrogate = 0;
};

/// Throws Error(Argument) when the recipe cannot work on a linear with so many inputs; `name` is how messages call it. Opens no file.
void validate(const LinearRecipe& recipe, uint64_t inputs, const std::string& name);

/// True when the values stay as they are stored.
inline bool isKept(const Quantizer& quantizer) {
    const auto* keep = std::get_if<KeepQuantizer>(&quantizer);
    return keep != nullptr && !keep->type;
}

}  // namespace quantscope
