#include "addon/layer.h"

#include "addon/fields.h"
#include "addon/recipe.h"
#include "base/error.h"

namespace quantscope {

namespace {

/// Far beyond any use: the published programs take ranks to 64 and 100 iterations.
constexpr uint64_t kMaxRank = 4096;
constexpr uint64_t kMaxIterations = 10000;

Solver toSolver(const Napi::Value& value) {
    const Fields fields(value, "solver");
    const std::string kind = fields.string("kind");
    if (kind == "rtn") {
        return RtnSolver{};
    }
    if (kind != "gptq") {
        expected("solver.kind", "rtn or gptq", fields.get("kind"));
    }
    const Napi::Value damping = fields.get("damping");
    if (!damping.IsNumber() || !(damping.As<Napi::Number>().DoubleValue() >= 0 && damping.As<Napi::Number>().DoubleValue() <= 1e6)) {
        expected("solver.damping", "a number from 0 on", damping);
    }
    return GptqSolver{damping.As<Napi::Number>().DoubleValue(), fields.boolean("actOrder"), fields.boolean("staticGroups")};
}

Napi::Value number(Napi::Env env, double value) { return Napi::Number::New(env, value); }

}  // namespace

QuantizeLayerRequest toQuantizeLayerRequest(const Napi::Value& value) {
    const Fields fields(value, "");
    QuantizeLayerRequest request{fields.string("layer"), toTensorRef(fields.get("weight"), "weight"), toLinearRecipe(fields.get("recipe"), "recipe"),
                                 toSolver(fields.get("solver")), {}, {}, toPath(fields)};
    if (!fields.get("secondMoments").IsNull()) {
        request.secondMoments = toTensorRef(fields.get("secondMoments"), "secondMoments");
    }
    if (!fields.get("lowRank").IsNull()) {
        const Fields lowRank(fields.get("lowRank"), "lowRank");
        request.lowRank = LowRankRequest{lowRank.integer("rank", 1, kMaxRank), lowRank.integer("iterations", 1, kMaxIterations)};
    }
    return request;
}

DequantizeLayerRequest toDequantizeLayerRequest(const Napi::Value& value) {
    const Fields fields(value, "");
    return {fields.string("layer"), toTensorRef(fields.get("weight"), "weight"), toLinearRecipe(fields.get("recipe"), "recipe"), toPath(fields)};
}

Napi::Value toJs(Napi::Env env, const SolvedLayer& solved) {
    const LayerFit& fit = solved.fit;
    Napi::Object object = Napi::Object::New(env);
    object.Set("relativeMse", number(env, fit.relativeMse));
    object.Set("proxyLoss", env.Null());
    if (fit.loss) {
        Napi::Object loss = Napi::Object::New(env);
        loss.Set("rtn", number(env, fit.loss->rtn));
        loss.Set("solver", number(env, fit.loss->solver));
        object.Set("proxyLoss", loss);
    }
    object.Set("damping", fit.damping ? number(env, *fit.damping) : env.Null());
    object.Set("retries", number(env, fit.retries));
    object.Set("lowRankIterations", number(env, fit.lowRankIterations));
    object.Set("onProcessor", solved.onProcessor ? Napi::Value(Napi::String::New(env, *solved.onProcessor)) : env.Null());
    return object;
}

Napi::Value toJs(Napi::Env env, const DequantizedLayer& layer) {
    Napi::Object object = Napi::Object::New(env);
    object.Set("relativeMse", number(env, layer.relativeMse));
    return object;
}

}  // namespace quantscope
