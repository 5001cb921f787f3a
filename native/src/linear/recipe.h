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

    bool operator==(const LinearRecipe&) const = default;
};

/// By layer name.
using Recipes = std::map<std::string, LinearRecipe>;

/// Throws Error(Argument) when the recipe cannot work on a linear with so many inputs; `name` is how messages call it. Opens no file.
void validate(const LinearRecipe& recipe, uint64_t inputs, const std::string& name);

/// True when the values stay as they are stored.
inline bool isKept(const Quantizer& quantizer) {
    const auto* keep = std::get_if<KeepQuantizer>(&quantizer);
    return keep != nullptr && !keep->type;
}

}  // namespace quantscope
