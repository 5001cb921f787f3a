#include "addon/fields.h"

#include <cmath>

#include "base/error.h"

namespace quantscope {

namespace {

std::string describe(const Napi::Value& value) {
    switch (value.Type()) {
        case napi_undefined: return "nothing";
        case napi_null: return "null";
        case napi_boolean: return value.As<Napi::Boolean>().Value() ? "true" : "false";
        case napi_number: return value.ToString().Utf8Value();
        case napi_string: {
            const std::string text = value.As<Napi::String>().Utf8Value();
            return "\"" + (text.size() > 40 ? text.substr(0, 40) + "..." : text) + "\"";
        }
        default: return value.IsArray() ? "an array" : value.IsFunction() ? "a function" : "an object";
    }
}

[[noreturn]] void expected(const std::string& name, const std::string& what, const Napi::Value& value) {
    failArgument(name + ": expected " + what + ", got " + describe(value));
}

/// An object of the request and its place in it.
class Fields {
public:
    Fields(const Napi::Value& value, std::string name) : name_(std::move(name)) {
        if (!value.IsObject() || value.IsArray() || value.IsFunction()) {
            expected(name_, "an object", value);
        }
        object_ = value.As<Napi::Object>();
    }

    Napi::Value get(const char* key) const { return object_.Get(key); }
    std::string path(const char* key) const { return name_.empty() ? key : name_ + "." + key; }

    uint64_t integer(const char* key, uint64_t least, uint64_t most) const { return toInteger(get(key), path(key), least, most); }

    std::string string(const char* key) const {
        const Napi::Value value = get(key);
        if (!value.IsString()) {
            expected(path(key), "a string", value);
        }
        return value.As<Napi::String>().Utf8Value();
    }

    bool boolean(const char* key) const {
        const Napi::Value value = get(key);
        if (!value.IsBoolean()) {
            expected(path(key), "true or false", value);
        }
        return value.As<Napi::Boolean>().Value();
    }

private:
    Napi::Object object_;
    std::string name_;
};

std::optional<FloatType> parseFloatType(const std::string& text) {
    if (text == "fp16") {
        return FloatType::Fp16;
    }
    if (text == "bf16") {
        return FloatType::Bf16;
    }
    if (text == "fp32") {
        return FloatType::Fp32;
    }
    return std::nullopt;
}

FloatType toFloatType(const Fields& fields, const char* key) {
    const auto type = parseFloatType(fields.string(key));
    if (!type) {
        expected(fields.path(key), "fp16, bf16 or fp32", fields.get(key));
    }
    return *type;
}

IntQuantizer toIntQuantizer(const Fields& fields) {
    IntQuantizer quantizer;
    quantizer.bits = static_cast<int>(fields.integer("bits", 1, 8));
    quantizer.symmetric = fields.boolean("symmetric");
    quantizer.scale = toFloatType(fields, "scale");
    const Napi::Value group = fields.get("group");
    if (group.IsNumber()) {
        quantizer.granularity = Granularity::Group;
        quantizer.group = fields.integer("group", 1, kMaxSafeInteger);
    } else if (group.IsString() && group.As<Napi::String>().Utf8Value() == "row") {
        quantizer.granularity = Granularity::Row;
    } else if (group.IsString() && group.As<Napi::String>().Utf8Value() == "tensor") {
        quantizer.granularity = Granularity::Tensor;
    } else {
        expected(fields.path("group"), "\"row\", \"tensor\" or a group size", group);
    }
    return quantizer;
}

TensorRef toTensorRef(const Napi::Value& value) {
    const Fields fields(value, "tensor");
    TensorRef tensor;
    tensor.file = fields.string("file");
    if (tensor.file.empty() || tensor.file.find('\0') != std::string::npos) {
        failArgument("tensor.file: expected the path of a file");
    }
    tensor.offset = fields.integer("offset", 0, kMaxSafeInteger);
    const std::optional<Dtype> dtype = parseDtype(fields.string("dtype"));
    if (!dtype) {
        expected("tensor.dtype", "a safetensors dtype such as BF16", fields.get("dtype"));
    }
    tensor.dtype = *dtype;
    const Napi::Value shape = fields.get("shape");
    if (!shape.IsArray()) {
        expected("tensor.shape", "an array of dimensions", shape);
    }
    const Napi::Array dimensions = shape.As<Napi::Array>();
    constexpr uint32_t kMostDimensions = 64;
    if (dimensions.Length() > kMostDimensions) {
        failArgument("tensor.shape: expected at most " + std::to_string(kMostDimensions) + " dimensions");
    }
    for (uint32_t i = 0; i < dimensions.Length(); ++i) {
        tensor.shape.push_back(toInteger(dimensions.Get(i), "tensor.shape[" + std::to_string(i) + "]", 0, kMaxSafeInteger));
    }
    return tensor;
}

}  // namespace

uint64_t toInteger(const Napi::Value& value, const std::string& name, uint64_t least, uint64_t most) {
    const std::string what = "an integer from " + std::to_string(least) + " to " + std::to_string(most);
    if (!value.IsNumber()) {
        expected(name, what, value);
    }
    const double number = value.As<Napi::Number>().DoubleValue();
    // Negated, so that NaN is refused too.
    if (!(number >= static_cast<double>(least) && number <= static_cast<double>(most) && std::floor(number) == number)) {
        expected(name, what, value);
    }
    return static_cast<uint64_t>(number);
}

Quantizer toQuantizer(const Napi::Value& value, const std::string& name) {
    const Fields fields(value, name);
    const std::string kind = fields.string("kind");
    if (kind == "int") {
        return toIntQuantizer(fields);
    }
    if (kind == "codebook") {
        return CodebookQuantizer{static_cast<int>(fields.integer("bits", 1, 8)), toFloatType(fields, "norm")};
    }
    if (kind == "keep") {
        const std::string type = fields.string("dtype");
        if (type == "original") {
            return KeepQuantizer{};
        }
        if (const auto known = parseFloatType(type)) {
            return KeepQuantizer{known};
        }
        expected(fields.path("dtype"), "original, bf16, fp16 or fp32", fields.get("dtype"));
    }
    expected(fields.path("kind"), "int, codebook or keep", fields.get("kind"));
}

MeasureRequest toMeasureRequest(const Napi::Value& value) {
    const Fields fields(value, "");
    MeasureRequest request;
    request.tensor = toTensorRef(fields.get("tensor"));
    const Napi::Value rotate = fields.get("rotate");
    if (!rotate.IsNull()) {
        const Fields rotation(rotate, "rotate");
        if (rotation.string("kind") != "rpbh") {
            expected("rotate.kind", "rpbh", rotation.get("kind"));
        }
        request.rotationSeed = rotation.integer("seed", 0, kMaxSafeInteger);
    }
    request.diagnosticSeed = fields.integer("diagnosticSeed", 0, kMaxSafeInteger);
    request.weights = toQuantizer(fields.get("weights"), "weights");
    request.histogramBins = static_cast<uint32_t>(fields.integer("histogramBins", 1, 4096));
    request.sampleRows = fields.integer("sampleRows", 0, kMaxSafeInteger);
    return request;
}

StatsRequest toStatsRequest(const Napi::Value& value) {
    const Fields fields(value, "");
    return {toTensorRef(fields.get("tensor")), static_cast<uint32_t>(fields.integer("histogramBins", 1, 4096))};
}

}  // namespace quantscope
