#include "addon/fit.h"

#include "addon/fields.h"
#include "addon/recipe.h"
#include "base/error.h"
#include "rotation/rpbh.h"

namespace quantscope {

namespace {

/// More steps than this find nothing that fewer did not, and the published programs take 256.
constexpr uint64_t kMaxSteps = 4096;

Napi::Value number(Napi::Env env, double value) { return Napi::Number::New(env, value); }

}  // namespace

OutlierRotationRequest toOutlierRotationRequest(const Napi::Value& value) {
    const Fields fields(value, "");
    const std::string order = fields.string("order");
    if (order != "zigzag" && order != "round-robin") {
        expected("order", "zigzag or round-robin", fields.get("order"));
    }
    return {toTensorRef(fields.get("sample"), "sample"),
            fields.integer("block", 2, kMaxBasis),
            fields.integer("steps", 1, kMaxSteps),
            order == "zigzag" ? DealOrder::Zigzag : DealOrder::RoundRobin,
            fields.integer("seed", 0, kMaxSafeInteger - 1),
            toPath(fields)};
}

BasisRequest toBasisRequest(const Napi::Value& value) {
    const Fields fields(value, "");
    return {toTensorRef(fields.get("secondMoments"), "secondMoments"), fields.integer("heads", 1, kMaxWidth), fields.integer("high", 0, kMaxWidth),
            fields.integer("seed", 0, kMaxSafeInteger), toPath(fields)};
}

TransformRequest toTransformRequest(const Napi::Value& value) {
    const Fields fields(value, "");
    return {toTensorRef(fields.get("sample"), "sample"), toTransforms(fields.get("transforms"), "transforms"), toPath(fields)};
}

Napi::Value toJs(Napi::Env env, const OutlierRotationSummary& summary) {
    Napi::Object object = Napi::Object::New(env);
    object.Set("peakBefore", number(env, summary.peakBefore));
    object.Set("peakAfter", number(env, summary.peakAfter));
    return object;
}

Napi::Value toJs(Napi::Env env, const BasisSummary& summary) {
    Napi::Object object = Napi::Object::New(env);
    object.Set("block", number(env, static_cast<double>(summary.block)));
    return object;
}

Napi::Value toJs(Napi::Env env, const TransformSummary& summary) {
    Napi::Object object = Napi::Object::New(env);
    object.Set("rows", number(env, static_cast<double>(summary.rows)));
    return object;
}

}  // namespace quantscope
