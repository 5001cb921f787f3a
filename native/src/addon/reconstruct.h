// Request and result of the job that learns the rounding of a block.
#pragma once

#include <napi.h>

#include "reconstruct/reconstruct.h"

namespace quantscope {

ReconstructBlockRequest toReconstructBlockRequest(const Napi::Value& value);
Napi::Value toJs(Napi::Env env, const ReconstructedBlock& block);

}  // namespace quantscope
