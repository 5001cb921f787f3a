// Programs and run requests of server/src/engine/graph.ts, and their results.
#pragma once

#include <napi.h>

#include "addon/job_graph.h"

namespace quantscope {

/// Copies the program's data. What the fields mean together is for Graph to check. Throws Error(Argument).
Program toProgram(const Napi::Value& value);
JobRunRequest toRunRequest(const Napi::Value& value);

}  // namespace quantscope
