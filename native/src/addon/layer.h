// Requests and results of the jobs that quantize one layer.
#pragma once

#include <napi.h>

#include "solver/layer.h"

namespace quantscope {

QuantizeLayerRequest toQuantizeLayerRequest(const Napi::Value& value);
DequantizeLayerRequest toDequantizeLayerRequest(const Napi::Value& value);

Napi::Value toJs(Napi::Env env, const LayerFit& fit);
Napi::Value toJs(Napi::Env env, const DequantizedLayer& layer);

}  // namespace quantscope
