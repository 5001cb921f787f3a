#include "addon/results.h"

#include <algorithm>

namespace quantscope {

Napi::Value number(Napi::Env env, double value) { return Napi::Number::New(env, value); }
Napi::Value number(Napi::Env env, uint64_t value) { return Napi::Number::New(env, static_cast<double>(value)); }
Napi::Value number(Napi::Env env, const std::optional<double>& value) { return value ? number(env, *value) : env.Null(); }

Napi::Value toJs(Napi::Env env, const std::vector<float>& values) {
    Napi::Float32Array array = Napi::Float32Array::New(env, values.size());
    std::copy(values.begin(), values.end(), array.Data());
    return array;
}

// Parts; static, since functions of an unnamed namespace would hide the others of their name.

static Napi::Value toJs(Napi::Env env, const Histogram& histogram) {
    Napi::Array counts = Napi::Array::New(env, histogram.counts.size());
    for (uint32_t i = 0; i < histogram.counts.size(); ++i) {
        counts.Set(i, number(env, histogram.counts[i]));
    }
    Napi::Object object = Napi::Object::New(env);
    object.Set("lo", number(env, histogram.lo));
    object.Set("hi", number(env, histogram.hi));
    object.Set("counts", counts);
    return object;
}

static Napi::Value toJs(Napi::Env env, const Marginal& marginal) {
    Napi::Object object = Napi::Object::New(env);
    object.Set("ks", number(env, marginal.ks));
    object.Set("wasserstein1", number(env, marginal.wasserstein1));
    object.Set("excessKurtosis", number(env, marginal.excessKurtosis));
    object.Set("maxAbs", number(env, marginal.maxAbs));
    object.Set("histogram", toJs(env, marginal.histogram));
    return object;
}

static Napi::Value toJs(Napi::Env env, const Measurement& measurement) {
    Napi::Object object = Napi::Object::New(env);
    object.Set("relativeMse", number(env, measurement.relativeMse));
    object.Set("expectedRelativeMse", number(env, measurement.expectedRelativeMse));
    object.Set("before", toJs(env, measurement.before));
    object.Set("after", toJs(env, measurement.after));
    object.Set("rho", number(env, measurement.rho));
    object.Set("rows", number(env, measurement.rows));
    object.Set("sampledRows", number(env, measurement.sampledRows));
    object.Set("zeroRows", number(env, measurement.zeroRows));
    object.Set("nonFinite", number(env, measurement.nonFinite));
    return object;
}

static Napi::Value toJs(Napi::Env env, const CapturedLayer& layer) {
    Napi::Object object = Napi::Object::New(env);
    object.Set("name", Napi::String::New(env, layer.name));
    object.Set("rows", number(env, layer.rows));
    object.Set("width", number(env, layer.width));
    object.Set("absMax", toJs(env, layer.absMax));
    object.Set("meanSquare", toJs(env, layer.meanSquare));
    object.Set("sample", toJs(env, layer.sample));
    object.Set("before", toJs(env, layer.before));
    object.Set("after", toJs(env, layer.after));
    object.Set("rho", number(env, layer.rho));
    object.Set("nonFinite", number(env, layer.nonFinite));
    return object;
}

static Napi::Value toJs(Napi::Env env, const DeviceUse& use) {
    Napi::Array processor = Napi::Array::New(env, use.processor.size());
    for (uint32_t i = 0; i < use.processor.size(); ++i) {
        Napi::Object entry = Napi::Object::New(env);
        entry.Set("name", Napi::String::New(env, use.processor[i].name));
        entry.Set("reason", Napi::String::New(env, use.processor[i].reason));
        processor.Set(i, entry);
    }
    Napi::Object object = Napi::Object::New(env);
    object.Set("name", Napi::String::New(env, use.name));
    object.Set("processor", processor);
    object.Set("weightBytes", number(env, use.weightBytes));
    object.Set("residentBytes", number(env, use.residentBytes));
    return object;
}

Napi::Value toJs(Napi::Env env, const MeasuredWeight& measured) {
    const Napi::Object object = toJs(env, measured.measurement).As<Napi::Object>();
    object.Set("onProcessor", measured.onProcessor ? Napi::Value(Napi::String::New(env, *measured.onProcessor)) : env.Null());
    return object;
}

Napi::Value toJs(Napi::Env env, const ValueStats& stats) {
    Napi::Object object = Napi::Object::New(env);
    object.Set("count", number(env, stats.count));
    object.Set("min", number(env, stats.min));
    object.Set("max", number(env, stats.max));
    object.Set("mean", number(env, stats.mean));
    object.Set("std", number(env, stats.std));
    object.Set("absMax", number(env, stats.absMax));
    object.Set("kurtosis", number(env, stats.kurtosis));
    object.Set("nan", number(env, stats.nan));
    object.Set("inf", number(env, stats.inf));
    object.Set("zeros", number(env, stats.zeros));
    object.Set("histogram", stats.histogram ? toJs(env, *stats.histogram) : env.Null());
    return object;
}

Napi::Value toJs(Napi::Env env, const ColumnRange& range) {
    Napi::Object object = Napi::Object::New(env);
    object.Set("absMax", toJs(env, range.absMax));
    return object;
}

Napi::Value toJs(Napi::Env env, const RunResult& result) {
    Napi::Object outputs = Napi::Object::New(env);
    for (const auto& [name, values] : result.outputs) {
        outputs.Set(name, toJs(env, values));
    }
    Napi::Array captured = Napi::Array::New(env, result.captured.size());
    for (uint32_t i = 0; i < result.captured.size(); ++i) {
        captured.Set(i, toJs(env, result.captured[i]));
    }
    Napi::Object object = Napi::Object::New(env);
    object.Set("outputs", outputs);
    object.Set("captured", captured);
    object.Set("firstNonFinite", result.firstNonFinite ? Napi::String::New(env, *result.firstNonFinite) : env.Null());
    Napi::Array integers = Napi::Array::New(env, result.integers.size());
    for (uint32_t i = 0; i < result.integers.size(); ++i) {
        const IntegerExecution& layer = result.integers[i];
        Napi::Object entry = Napi::Object::New(env);
        entry.Set("name", Napi::String::New(env, layer.layer));
        entry.Set("reason", layer.reason ? Napi::String::New(env, *layer.reason) : env.Null());
        entry.Set("weightSurrogate", number(env, layer.weightSurrogate));
        entry.Set("activationSurrogate", number(env, layer.activationSurrogate));
        integers.Set(i, entry);
    }
    object.Set("integers", integers);
    object.Set("flops", number(env, result.flops));
    object.Set("device", result.device ? toJs(env, *result.device) : env.Null());
    return object;
}

Napi::Value toJs(Napi::Env env, const std::vector<SecondMomentsFile>& files) {
    Napi::Array list = Napi::Array::New(env, files.size());
    for (uint32_t i = 0; i < files.size(); ++i) {
        Napi::Object object = Napi::Object::New(env);
        object.Set("layer", Napi::String::New(env, files[i].layer));
        object.Set("file", Napi::String::New(env, files[i].file));
        object.Set("rows", number(env, files[i].rows));
        list.Set(i, object);
    }
    return list;
}

}  // namespace quantscope
