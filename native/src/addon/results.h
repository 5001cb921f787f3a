// What jobs give, as the objects of server/src/engine/addon.ts and graph.ts.
#pragma once

#include <napi.h>

#include <optional>
#include <string>
#include <vector>

#include "graph/graph.h"
#include "linear/second_moments.h"
#include "measure/measure.h"
#include "stats/columns.h"
#include "stats/values.h"

namespace quantscope {

struct MeasuredWeight {
    Measurement measurement;
    std::optional<std::string> onProcessor;  ///< why, when there is a device
};

Napi::Value number(Napi::Env env, double value);
Napi::Value number(Napi::Env env, uint64_t value);
Napi::Value number(Napi::Env env, const std::optional<double>& value);

template <class Array, class Element>
Array toTypedArray(Napi::Env env, size_t n, Element element) {
    Array array = Array::New(env, n);
    for (size_t i = 0; i < n; ++i) {
        array[i] = element(i);
    }
    return array;
}

Napi::Value toJs(Napi::Env env, const std::vector<float>& values);
Napi::Value toJs(Napi::Env env, const MeasuredWeight& measured);
Napi::Value toJs(Napi::Env env, const ValueStats& stats);
Napi::Value toJs(Napi::Env env, const ColumnRange& range);
Napi::Value toJs(Napi::Env env, const RunResult& result);
Napi::Value toJs(Napi::Env env, const std::vector<SecondMomentsFile>& files);

}  // namespace quantscope
