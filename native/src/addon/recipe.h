// Recipes of linears from JavaScript, server/src/engine/graph.ts's LinearRecipe.
#pragma once

#include <napi.h>

#include <string>

#include "linear/recipe.h"

namespace quantscope {

/// Throws Error(Argument) naming the field.
LinearRecipe toLinearRecipe(const Napi::Value& value, const std::string& name);

}  // namespace quantscope
