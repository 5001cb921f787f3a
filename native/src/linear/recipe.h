// How one linear runs.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "quantizer/quantizer.h"

namespace quantscope {

/// What a recipe does to weights and activations (LinearRecipe of server/src/engine/graph.ts). Both sides are rotated when there
/// is a rotation, also a side that is kept: the product is the same, x Wᵀ = (x Πᵀ)(W Πᵀ)ᵀ. Activations are quantized per row of x
/// (token) from that row's own values (OrbitQuant Eq 7-8 for codebooks), or over all of x with Granularity::Tensor.
struct LinearRecipe {
    std::optional<uint64_t> rotationSeed;
    Quantizer weights;
    Quantizer activations;

    bool operator==(const LinearRecipe&) const = default;
};

/// By layer name.
using Recipes = std::map<std::string, LinearRecipe>;

/// True when the values stay as they are stored.
inline bool isKept(const Quantizer& quantizer) {
    const auto* keep = std::get_if<KeepQuantizer>(&quantizer);
    return keep != nullptr && !keep->type;
}

}  // namespace quantscope
