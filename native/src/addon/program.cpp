#include "addon/program.h"

#include <algorithm>

#include "addon/fields.h"
#include "addon/recipe.h"
#include "base/error.h"

namespace quantscope {

namespace {

constexpr uint64_t kMostBuffers = 0xFFFFFFFF;

std::vector<float> toFloats(const Napi::Value& value, const std::string& name) {
    if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_float32_array) {
        expected(name, "a Float32Array", value);
    }
    const auto array = value.As<Napi::Float32Array>();
    return {array.Data(), array.Data() + array.ElementLength()};
}

/// The fields of one op.
class OpFields : public Fields {
public:
    using Fields::Fields;

    Buffer buffer(const char* key) const { return static_cast<Buffer>(integer(key, 0, kMostBuffers)); }
    std::optional<Buffer> optionalBuffer(const char* key) const {
        return get(key).IsNull() ? std::nullopt : std::optional(buffer(key));
    }
    uint64_t count(const char* key) const { return integer(key, 0, kMaxSafeInteger); }
    double number(const char* key) const {
        if (!get(key).IsNumber()) {
            expected(path(key), "a number", get(key));
        }
        return get(key).As<Napi::Number>().DoubleValue();
    }
    std::optional<double> optionalNumber(const char* key) const {
        return get(key).IsNull() ? std::nullopt : std::optional(number(key));
    }
    Stored tensor(const char* key) const { return {toTensorRef(get(key), path(key)), nullptr}; }
    std::optional<Stored> optionalTensor(const char* key) const {
        return get(key).IsNull() ? std::nullopt : std::optional(tensor(key));
    }
    std::vector<uint64_t> integers(const char* key) const { return toIntegers(get(key), path(key), kMaxSafeInteger); }

    /// One of the names, by its position.
    template <class Enum, size_t n>
    Enum oneOf(const char* key, const char* const (&names)[n]) const {
        const std::string text = string(key);
        const auto* found = std::find(std::begin(names), std::end(names), text);
        if (found == std::end(names)) {
            std::string known;
            for (const char* name : names) {
                known += (known.empty() ? "" : ", ") + std::string(name);
            }
            expected(path(key), "one of " + known, get(key));
        }
        return static_cast<Enum>(found - names);
    }
};

constexpr const char* kBinaryNames[] = {"add", "sub", "mul"};
/// In the order of cuda::Element.
constexpr const char* kElementNames[] = {"float32", "bfloat16"};
constexpr const char* kUnaryNames[] = {"silu", "gelu_tanh", "tanh", "relu"};

Op toOp(const OpFields& f) {
    const std::string kind = f.string("op");
    const auto x = [&] { return f.buffer("x"); };
    const auto out = [&] { return f.buffer("out"); };
    if (kind == "linear") {
        return LinearOp{f.string("name"), x(), f.optionalTensor("weight"), f.optionalTensor("bias"), out()};
    }
    if (kind == "constant") {
        return ConstantOp{toFloats(f.get("data"), f.path("data")), out()};
    }
    if (kind == "tensor") {
        return TensorOp{f.tensor("tensor"), out()};
    }
    if (kind == "row") {
        return RowOp{f.tensor("table"), f.buffer("index"), out()};
    }
    if (kind == "timestep") {
        return TimestepOp{f.buffer("t"), f.count("dim"), f.number("shift"), f.number("scale"), out()};
    }
    if (kind == "layernorm") {
        return LayerNormOp{x(), f.number("eps"), f.optionalTensor("weight"), f.optionalTensor("bias"), out()};
    }
    if (kind == "rmsnorm") {
        return RmsNormOp{x(), f.number("eps"), f.tensor("weight"), out()};
    }
    if (kind == "groupnorm") {
        return GroupNormOp{x(), f.count("groups"), f.number("eps"), f.tensor("weight"), f.tensor("bias"), out()};
    }
    if (kind == "channelnorm") {
        return ChannelNormOp{x(), f.tensor("weight"), out()};
    }
    if (kind == "modulate") {
        return ModulateOp{x(), f.buffer("shift"), f.buffer("scale"), out()};
    }
    if (kind == "gateAdd") {
        return GateAddOp{x(), f.buffer("gate"), f.buffer("y"), out()};
    }
    if (kind == "binary") {
        return BinaryOp{f.oneOf<BinaryKind>("kind", kBinaryNames), f.buffer("a"), f.buffer("b"), out()};
    }
    if (kind == "unary") {
        return UnaryOp{f.oneOf<UnaryKind>("kind", kUnaryNames), x(), out()};
    }
    if (kind == "affine") {
        return AffineOp{x(), f.number("mul"), f.number("add"), f.optionalNumber("low"), f.optionalNumber("high"), out()};
    }
    if (kind == "attention") {
        return AttentionOp{f.buffer("q"), f.buffer("k"), f.buffer("v"), f.count("heads"), f.optionalBuffer("bias"), out()};
    }
    if (kind == "rope") {
        return RopeOp{x(), f.buffer("cos"), f.buffer("sin"), f.count("heads"), out()};
    }
    if (kind == "permute") {
        return PermuteOp{x(), f.integers("shape"), f.integers("axes"), out()};
    }
    if (kind == "slice") {
        return SliceOp{x(), f.count("axis"), f.count("start"), f.count("end"), out()};
    }
    if (kind == "concat") {
        ConcatOp op{{}, f.count("axis"), out()};
        eachEntry(f.get("xs"), f.path("xs"), [&](uint32_t i, const Napi::Value& value) {
            op.xs.push_back(static_cast<Buffer>(toInteger(value, f.path("xs") + "[" + std::to_string(i) + "]", 0, kMostBuffers)));
        });
        return op;
    }
    if (kind == "resize") {
        return ResizeOp{x(), out()};
    }
    if (kind == "conv") {
        return ConvOp{x(), f.tensor("weight"), f.optionalTensor("bias"), out()};
    }
    failArgument(f.path("op") + ": there is no op \"" + kind + "\"");
}

std::map<std::string, Buffer> toBuffers(const Napi::Value& value, const std::string& name) {
    std::map<std::string, Buffer> result;
    eachField(value, name, [&](const std::string& key, const Napi::Value& buffer) {
        result[key] = static_cast<Buffer>(toInteger(buffer, name + "." + key, 0, kMostBuffers));
    });
    return result;
}

}  // namespace

Program toProgram(const Napi::Value& value) {
    const Fields fields(value, "program");
    Program program;
    eachEntry(fields.get("buffers"), "program.buffers", [&](uint32_t i, const Napi::Value& shape) {
        program.buffers.push_back(toIntegers(shape, "program.buffers[" + std::to_string(i) + "]", kMaxSafeInteger));
    });
    program.inputs = toBuffers(fields.get("inputs"), "program.inputs");
    program.outputs = toBuffers(fields.get("outputs"), "program.outputs");
    eachEntry(fields.get("ops"), "program.ops", [&](uint32_t i, const Napi::Value& op) {
        program.ops.push_back(toOp(OpFields(op, "program.ops[" + std::to_string(i) + "]")));
    });
    return program;
}

JobRunRequest toRunRequest(const Napi::Value& value) {
    const OpFields fields(value, "");
    JobRunRequest result;
    RunRequest& request = result.run;
    eachField(fields.get("inputs"), "inputs",
              [&](const std::string& name, const Napi::Value& data) { request.inputs[name] = toFloats(data, "inputs." + name); });
    eachField(fields.get("recipes"), "recipes", [&](const std::string& layer, const Napi::Value& recipe) {
        request.recipes[layer] = toLinearRecipe(recipe, "recipes[\"" + layer + "\"]");
    });
    if (!fields.get("capture").IsNull()) {
        const Fields capture(fields.get("capture"), "capture");
        request.capture.emplace();
        eachEntry(capture.get("layers"), "capture.layers", [&](uint32_t i, const Napi::Value& layer) {
            if (!layer.IsString()) {
                expected("capture.layers[" + std::to_string(i) + "]", "a layer's name", layer);
            }
            request.capture->layers.push_back(layer.As<Napi::String>().Utf8Value());
        });
        request.capture->seed = capture.integer("seed", 0, kMaxSafeInteger);
        request.capture->histogramBins = static_cast<uint32_t>(capture.integer("histogramBins", 1, 4096));
        request.capture->sampleRows = capture.integer("sampleRows", 0, kMaxSafeInteger);
        if (!capture.get("secondMoments").IsNull()) {
            request.capture->secondMoments = Fields(capture.get("secondMoments"), "capture.secondMoments").integer("maxBytes", 0, kMaxSafeInteger);
        }
    }
    if (!fields.get("device").IsUndefined()) {
        result.element = fields.oneOf<cuda::Element>("device", kElementNames);
    }
    return result;
}

}  // namespace quantscope
