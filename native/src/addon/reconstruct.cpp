#include "addon/reconstruct.h"

#include "addon/fields.h"
#include "addon/program.h"
#include "addon/recipe.h"

namespace quantscope {

namespace {

constexpr uint64_t kMaxIterations = 1000000;

std::map<std::string, TensorRef> toTensors(const Fields& fields, const char* key) {
    std::map<std::string, TensorRef> result;
    eachField(fields.get(key), key, [&](const std::string& name, const Napi::Value& tensor) {
        result[name] = toTensorRef(tensor, std::string(key) + "." + name);
    });
    return result;
}

}  // namespace

ReconstructBlockRequest toReconstructBlockRequest(const Napi::Value& value) {
    const Fields fields(value, "");
    ReconstructBlockRequest request{toProgram(fields.get("program")), toTensors(fields, "inputs"), toTensors(fields, "outputs"), {},
                                    fields.integer("iterations", 1, kMaxIterations), fields.integer("batch", 1, kMaxSafeInteger),
                                    fields.integer("seed", 0, kMaxSafeInteger)};
    eachField(fields.get("layers"), "layers", [&](const std::string& name, const Napi::Value& layer) {
        const std::string at = "layers[\"" + name + "\"]";
        const Fields parts(layer, at);
        request.layers[name] = {toLinearRecipe(parts.get("recipe"), at + ".recipe"), toPath(parts)};
    });
    return request;
}

Napi::Value toJs(Napi::Env env, const ReconstructedBlock& block) {
    Napi::Object flipped = Napi::Object::New(env);
    for (const auto& [name, count] : block.flipped) {
        flipped.Set(name, Napi::Number::New(env, static_cast<double>(count)));
    }
    Napi::Object object = Napi::Object::New(env);
    object.Set("lossBefore", Napi::Number::New(env, block.lossBefore));
    object.Set("lossAfter", Napi::Number::New(env, block.lossAfter));
    object.Set("learned", Napi::Boolean::New(env, block.learned));
    object.Set("flipped", flipped);
    return object;
}

}  // namespace quantscope
