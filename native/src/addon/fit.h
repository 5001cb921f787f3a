// Requests and results of the jobs that fit transforms.
#pragma once

#include <napi.h>

#include "transform/jobs.h"

namespace quantscope {

OutlierRotationRequest toOutlierRotationRequest(const Napi::Value& value);
BasisRequest toBasisRequest(const Napi::Value& value);
TransformRequest toTransformRequest(const Napi::Value& value);

Napi::Value toJs(Napi::Env env, const OutlierRotationSummary& summary);
Napi::Value toJs(Napi::Env env, const BasisSummary& summary);
Napi::Value toJs(Napi::Env env, const TransformSummary& summary);

}  // namespace quantscope
