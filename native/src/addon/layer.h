// Requests and results of the jobs that quantize one layer.
#pragma once

#include <napi.h>

#include "solver/layer.h"

namespace quantscope {

QuantizeLayerRequest toQuantizeLayerRequest(const Napi::Value& value);
DequantizeLayerRequest toDequantizeLayerRequest(const Napi::Value& value);

struct SolvedLayer {
    LayerFit fit;
    std::optional<std::string> onProcessor;  ///< why its solver did not use the device, when there is one
};

Napi::Value toJs(Napi::Env env, const SolvedLayer& solved);
Napi::Value toJs(Napi::Env env, const DequantizedLayer& layer);

}  // namespace quantscope
