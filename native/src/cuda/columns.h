// Columns of rows: StatisticsCalls::columns.
#pragma once

#include "cuda/api.h"

namespace quantscope::cuda {

Status measureColumns(Context* context, const ColumnsRequest* request);

}  // namespace quantscope::cuda
