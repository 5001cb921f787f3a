#include "addon/cuda.h"

#include <variant>

#include "addon/fields.h"
#include "device/library.h"
#include "device/self_test.h"

namespace quantscope {

namespace {

Napi::Value describe(Napi::Env env, const cuda::DeviceDescription& device) {
    Napi::Object object = Napi::Object::New(env);
    object.Set("name", Napi::String::New(env, device.name));
    object.Set("computeCapability", Napi::String::New(env, std::to_string(device.major) + "." + std::to_string(device.minor)));
    object.Set("memoryBytes", Napi::Number::New(env, static_cast<double>(device.memoryBytes)));
    object.Set("reason", device.usable != 0 ? env.Null() : Napi::Value(Napi::String::New(env, device.reason)));
    return object;
}

}  // namespace

Napi::Value cudaState(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    Napi::Object object = Napi::Object::New(env);
    Napi::Array devices = Napi::Array::New(env);
    object.Set("library", env.Null());
    object.Set("devices", devices);
    object.Set("device", env.Null());
    object.Set("reason", env.Null());
    object.Set("message", Napi::String::New(env, ""));
    const auto refuse = [&](const CudaUnavailable& why) {
        object.Set("reason", Napi::String::New(env, nameOf(why.reason)));
        object.Set("message", Napi::String::New(env, why.message));
        return object;
    };
    const auto opened = openCudaLibrary();
    if (const auto* why = std::get_if<CudaUnavailable>(&opened)) {
        return refuse(*why);
    }
    const auto& library = std::get<std::shared_ptr<const CudaLibrary>>(opened);
    object.Set("library", Napi::String::New(env, library->path()));
    const CudaDevices found = findCudaDevices(*library);
    for (uint32_t i = 0; i < found.all.size(); ++i) {
        devices.Set(i, describe(env, found.all[i]));
    }
    if (found.unavailable) {
        return refuse(*found.unavailable);
    }
    object.Set("device", Napi::Number::New(env, *found.first));
    return object;
}

Napi::Value cudaSelfTest(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    const auto number = static_cast<int32_t>(toInteger(info[0], "device", 0, 1 << 20));
    const auto opened = openCudaLibrary();
    if (const auto* why = std::get_if<CudaUnavailable>(&opened)) {
        return Napi::String::New(env, why->message);
    }
    const auto wrong = runSelfTests(std::get<0>(opened), number);
    return wrong ? Napi::Value(Napi::String::New(env, *wrong)) : env.Null();
}

std::shared_ptr<Device> JobDevice::get() {
    if (const int32_t number = number_.load(); device_ == nullptr && number != kNone) {
        const auto opened = openCudaLibrary();
        if (const auto* why = std::get_if<CudaUnavailable>(&opened)) {
            throw DeviceError(cuda::Status::Unavailable, why->message);
        }
        device_ = Device::open(std::get<0>(opened), number);
    }
    return device_;
}

}  // namespace quantscope
