// JavaScript requests to engine requests. Every complaint names the field, so that a wrong message can be traced from its error.
#pragma once

#include <napi.h>

#include <cstdint>
#include <string>

#include "measure/measure.h"
#include "stats/values.h"

namespace quantscope {

inline constexpr uint64_t kMaxSafeInteger = (uint64_t{1} << 53) - 1;

/// Integer argument or field called `name`. Throws Error(Argument) when it is none or out of range.
uint64_t toInteger(const Napi::Value& value, const std::string& name, uint64_t least, uint64_t most);

MeasureRequest toMeasureRequest(const Napi::Value& value);
StatsRequest toStatsRequest(const Napi::Value& value);
Quantizer toQuantizer(const Napi::Value& value, const std::string& name);

}  // namespace quantscope
