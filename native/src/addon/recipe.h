// Recipes of linears from JavaScript, server/src/engine/graph.ts's LinearRecipe.
#pragma once

#include <napi.h>

#include <string>
#include <vector>

#include "linear/recipe.h"

namespace quantscope {

/// Both throw Error(Argument) naming the field.
std::vector<Transform> toTransforms(const Napi::Value& value, const std::string& name);
LinearRecipe toLinearRecipe(const Napi::Value& value, const std::string& name);

}  // namespace quantscope
