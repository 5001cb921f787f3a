// Second moments on the device (SolverCalls).
#pragma once

#include "cuda/api.h"

namespace quantscope::cuda {

Status addMoments(Context* context, const MomentsRequest* request);
Status meanMoments(Context* context, const double* sums, uint64_t width, const uint64_t* counted, uint64_t first, uint64_t rows, float* mean);

}  // namespace quantscope::cuda
