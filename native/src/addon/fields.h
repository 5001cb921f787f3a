// JavaScript requests to engine requests. Every complaint names the field, so that a wrong message can be traced from its error.
#pragma once

#include <napi.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "measure/measure.h"
#include "stats/values.h"

namespace quantscope {

inline constexpr uint64_t kMaxSafeInteger = (uint64_t{1} << 53) - 1;

/// Integer argument or field called `name`. Throws Error(Argument) when it is none or out of range.
uint64_t toInteger(const Napi::Value& value, const std::string& name, uint64_t least, uint64_t most);

/// Array of at most 64 integers from 0 to `most`.
std::vector<uint64_t> toIntegers(const Napi::Value& value, const std::string& name, uint64_t most);

/// Throws Error(Argument): "name: expected what, got value".
[[noreturn]] void expected(const std::string& name, const std::string& what, const Napi::Value& value);

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

/// Calls body(name, value) for every property of an object.
template <class Body>
void eachField(const Napi::Value& value, const std::string& name, Body body) {
    const Fields fields(value, name);
    const Napi::Object object = value.As<Napi::Object>();
    const Napi::Array names = object.GetPropertyNames();
    for (uint32_t i = 0; i < names.Length(); ++i) {
        const std::string key = Napi::Value(names.Get(i)).ToString().Utf8Value();
        body(key, Napi::Value(object.Get(key)));
    }
}

/// Calls body(index, value) for every entry of an array.
template <class Body>
void eachEntry(const Napi::Value& value, const std::string& name, Body body) {
    if (!value.IsArray()) {
        expected(name, "an array", value);
    }
    const Napi::Array list = value.As<Napi::Array>();
    for (uint32_t i = 0; i < list.Length(); ++i) {
        const Napi::HandleScope scope(value.Env());
        body(i, Napi::Value(list.Get(i)));
    }
}

/// The field `out`: where a job writes its file.
std::string toPath(const Fields& fields);
TensorRef toTensorRef(const Napi::Value& value, const std::string& name);
std::optional<uint64_t> toRotationSeed(const Napi::Value& value, const std::string& name);
MeasureRequest toMeasureRequest(const Napi::Value& value);
StatsRequest toStatsRequest(const Napi::Value& value);
Quantizer toQuantizer(const Napi::Value& value, const std::string& name);

}  // namespace quantscope
