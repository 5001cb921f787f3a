#include "addon/recipe.h"

#include "addon/fields.h"
#include "base/error.h"

namespace quantscope {

namespace {

Transform toTransform(const Napi::Value& value, const std::string& name) {
    const Fields fields(value, name);
    const auto tensor = [&](const char* key) { return toTensorRef(fields.get(key), fields.path(key)); };
    const auto seed = [&] { return fields.integer("seed", 0, kMaxSafeInteger); };
    const std::string kind = fields.string("kind");
    if (kind == "scale") {
        return ScaleTransform{tensor("values")};
    }
    if (kind == "permute") {
        return PermuteTransform{tensor("sources")};
    }
    if (kind == "rpbh") {
        return RpbhTransform{seed()};
    }
    if (kind == "hadamard") {
        return HadamardTransform{seed()};
    }
    if (kind == "random") {
        return RandomTransform{seed()};
    }
    if (kind == "blocks") {
        return BlocksTransform{tensor("matrices")};
    }
    expected(fields.path("kind"), "scale, permute, rpbh, hadamard, random or blocks", fields.get("kind"));
}

double toNumber(const Fields& fields, const char* key) {
    if (!fields.get(key).IsNumber()) {
        expected(fields.path(key), "a number", fields.get(key));
    }
    return fields.get(key).As<Napi::Number>().DoubleValue();
}

PackedWeight toPackedWeight(const Fields& fields) {
    PackedWeight packed{toTensorRef(fields.get("codes"), fields.path("codes")), {}, {}};
    eachField(fields.get("sides"), fields.path("sides"), [&](const std::string& side, const Napi::Value& tensor) {
        packed.sides[side] = toTensorRef(tensor, fields.path("sides") + "." + side);
    });
    if (!fields.get("tail").IsNull()) {
        packed.tail = toTensorRef(fields.get("tail"), fields.path("tail"));
    }
    return packed;
}

}  // namespace

std::vector<Transform> toTransforms(const Napi::Value& value, const std::string& name) {
    std::vector<Transform> list;
    eachEntry(value, name, [&](uint32_t i, const Napi::Value& transform) {
        list.push_back(toTransform(transform, name + "[" + std::to_string(i) + "]"));
    });
    return list;
}

LinearRecipe toLinearRecipe(const Napi::Value& value, const std::string& name) {
    const Fields fields(value, name);
    LinearRecipe recipe;
    recipe.transforms = toTransforms(fields.get("transforms"), fields.path("transforms"));
    recipe.tail = fields.integer("tail", 0, kMaxSafeInteger);
    recipe.weights = toQuantizer(fields.get("weights"), fields.path("weights"));
    recipe.activations = toQuantizer(fields.get("activations"), fields.path("activations"));
    if (!fields.get("lowRank").IsNull()) {
        const Fields lowRank(fields.get("lowRank"), fields.path("lowRank"));
        recipe.lowRank = LowRank{toTensorRef(lowRank.get("down"), lowRank.path("down")), toTensorRef(lowRank.get("up"), lowRank.path("up"))};
    }
    if (!fields.get("activationRange").IsNull()) {
        const Fields range(fields.get("activationRange"), fields.path("activationRange"));
        recipe.activationRange = ActivationRange{toNumber(range, "low"), toNumber(range, "high")};
    }
    if (!fields.get("packed").IsNull()) {
        recipe.packed = toPackedWeight(Fields(fields.get("packed"), fields.path("packed")));
    }
    const Napi::Value execution = fields.get("execution");
    if (!execution.IsUndefined()) {
        if (!execution.IsString() || execution.As<Napi::String>().Utf8Value() != "integer") {
            failArgument(fields.path("execution") + ": expected \"integer\", or nothing");
        }
        recipe.execution = Execution::Integer;
    }
    return recipe;
}

}  // namespace quantscope
