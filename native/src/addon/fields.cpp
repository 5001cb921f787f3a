#include "addon/fields.h"

#include <algorithm>
#include <cmath>
#include <initializer_list>

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

}  // namespace

void expected(const std::string& name, const std::string& what, const Napi::Value& value) {
    failArgument(name + ": expected " + what + ", got " + describe(value));
}

namespace {

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

/// A field that is one of these words, as its place in the list.
size_t toChoice(const Fields& fields, const char* key, std::initializer_list<const char*> words) {
    const std::string text = fields.string(key);
    const auto found = std::find(words.begin(), words.end(), text);
    if (found == words.end()) {
        std::string list;
        for (const char* word : words) {
            list += (list.empty() ? "" : ", ") + std::string(word);
        }
        expected(fields.path(key), "one of " + list, fields.get(key));
    }
    return static_cast<size_t>(found - words.begin());
}

int toBits(const Fields& fields) { return static_cast<int>(fields.integer("bits", 1, 8)); }

/// "row", "tensor" or a group size.
template <class T>
void readGranularity(const Fields& fields, T& quantizer) {
    const Napi::Value group = fields.get("group");
    if (group.IsNumber()) {
        quantizer.granularity = Granularity::Group;
        quantizer.group = fields.integer("group", 1, kMaxSafeInteger);
        return;
    }
    quantizer.group = 0;
    if (group.IsString() && group.As<Napi::String>().Utf8Value() == "row") {
        quantizer.granularity = Granularity::Row;
    } else if (group.IsString() && group.As<Napi::String>().Utf8Value() == "tensor") {
        quantizer.granularity = Granularity::Tensor;
    } else {
        expected(fields.path("group"), "\"row\", \"tensor\" or a group size", group);
    }
}

std::optional<double> toOptionalNumber(const Fields& fields, const char* key) {
    const Napi::Value value = fields.get(key);
    if (value.IsUndefined()) {
        return std::nullopt;
    }
    if (!value.IsNumber()) {
        expected(fields.path(key), "a number", value);
    }
    return value.As<Napi::Number>().DoubleValue();
}

IntQuantizer toIntQuantizer(const Fields& fields) {
    IntQuantizer quantizer;
    quantizer.bits = toBits(fields);
    quantizer.symmetric = fields.boolean("symmetric");
    quantizer.scale = toFloatType(fields, "scale");
    readGranularity(fields, quantizer);
    if (fields.get("clip").IsString()) {
        quantizer.clipSearch = toChoice(fields, "clip", {"mse"}) == 0;
    } else {
        quantizer.clip = toOptionalNumber(fields, "clip");
    }
    quantizer.staticRange = !fields.get("range").IsUndefined() && toChoice(fields, "range", {"static"}) == 0;
    quantizer.shift = toOptionalNumber(fields, "shift");
    return quantizer;
}

FloatQuantizer toFloatQuantizer(const Fields& fields) {
    constexpr FloatFormat kFormats[] = {FloatFormat::Fp4, FloatFormat::Nvfp4, FloatFormat::Mxfp4, FloatFormat::Fp8, FloatFormat::Mxfp8};
    FloatQuantizer quantizer;
    quantizer.format = kFormats[toChoice(fields, "format", {"fp4", "nvfp4", "mxfp4", "fp8", "mxfp8"})];
    readGranularity(fields, quantizer);
    return quantizer;
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

std::vector<uint64_t> toIntegers(const Napi::Value& value, const std::string& name, uint64_t most) {
    if (!value.IsArray()) {
        expected(name, "an array of integers", value);
    }
    const Napi::Array list = value.As<Napi::Array>();
    constexpr uint32_t kMostEntries = 64;
    if (list.Length() > kMostEntries) {
        failArgument(name + ": expected at most " + std::to_string(kMostEntries) + " entries");
    }
    std::vector<uint64_t> result;
    for (uint32_t i = 0; i < list.Length(); ++i) {
        result.push_back(toInteger(list.Get(i), name + "[" + std::to_string(i) + "]", 0, most));
    }
    return result;
}

std::string toPath(const Fields& fields) {
    const std::string path = fields.string("out");
    if (path.empty() || path.find('\0') != std::string::npos) {
        failArgument(fields.path("out") + ": expected the path of a file");
    }
    return path;
}

TensorRef toTensorRef(const Napi::Value& value, const std::string& name) {
    const Fields fields(value, name);
    TensorRef tensor;
    tensor.file = fields.string("file");
    if (tensor.file.empty() || tensor.file.find('\0') != std::string::npos) {
        failArgument(fields.path("file") + ": expected the path of a file");
    }
    tensor.offset = fields.integer("offset", 0, kMaxSafeInteger);
    const std::optional<Dtype> dtype = parseDtype(fields.string("dtype"));
    if (!dtype) {
        expected(fields.path("dtype"), "a safetensors dtype such as BF16", fields.get("dtype"));
    }
    tensor.dtype = *dtype;
    tensor.shape = toIntegers(fields.get("shape"), fields.path("shape"), kMaxSafeInteger);
    return tensor;
}

std::optional<uint64_t> toRotationSeed(const Napi::Value& value, const std::string& name) {
    if (value.IsNull()) {
        return std::nullopt;
    }
    const Fields rotation(value, name);
    if (rotation.string("kind") != "rpbh") {
        expected(rotation.path("kind"), "rpbh", rotation.get("kind"));
    }
    return rotation.integer("seed", 0, kMaxSafeInteger);
}

Quantizer toQuantizer(const Napi::Value& value, const std::string& name) {
    const Fields fields(value, name);
    const std::string kind = fields.string("kind");
    if (kind == "int") {
        return toIntQuantizer(fields);
    }
    if (kind == "codebook") {
        return CodebookQuantizer{toBits(fields), toFloatType(fields, "norm")};
    }
    if (kind == "midrise") {
        return MidRiseQuantizer{toBits(fields), toFloatType(fields, "norm")};
    }
    if (kind == "twin-log") {
        return TwinLogQuantizer{toBits(fields), toChoice(fields, "form", {"corrected", "released"}) == 1};
    }
    if (kind == "float") {
        return toFloatQuantizer(fields);
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
    expected(fields.path("kind"), "int, codebook, midrise, twin-log, float or keep", fields.get("kind"));
}

MeasureRequest toMeasureRequest(const Napi::Value& value) {
    const Fields fields(value, "");
    MeasureRequest request;
    request.tensor = toTensorRef(fields.get("tensor"), "tensor");
    request.rotationSeed = toRotationSeed(fields.get("rotate"), "rotate");
    request.diagnosticSeed = fields.integer("diagnosticSeed", 0, kMaxSafeInteger);
    request.weights = toQuantizer(fields.get("weights"), "weights");
    request.histogramBins = static_cast<uint32_t>(fields.integer("histogramBins", 1, 4096));
    request.sampleRows = fields.integer("sampleRows", 0, kMaxSafeInteger);
    return request;
}

StatsRequest toStatsRequest(const Napi::Value& value) {
    const Fields fields(value, "");
    return {toTensorRef(fields.get("tensor"), "tensor"), static_cast<uint32_t>(fields.integer("histogramBins", 1, 4096))};
}

}  // namespace quantscope
