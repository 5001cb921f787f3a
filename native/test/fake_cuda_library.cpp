// A CUDA library that does what QUANTSCOPE_FAKE_CUDA says: "other-version", "no-driver", "old-driver", "no-device", "old-device", "crash" and "hang" where
// its device is opened, "wrong": a device whose kernels do nothing. It is there to show what becomes of each.
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <thread>

#include "cuda/api.h"

namespace quantscope::cuda {
namespace {

bool is(std::string_view what) {
    const char* const value = std::getenv("QUANTSCOPE_FAKE_CUDA");
    return value != nullptr && value == what;
}

const char* message() { return is("old-driver") ? "the NVIDIA driver is too old: it speaks CUDA 11.0, this build needs 13.0" : "there is no working NVIDIA driver"; }

Status count(int32_t* devices) {
    *devices = is("no-device") || is("no-driver") || is("old-driver") ? 0 : 1;
    return is("old-driver") ? Status::OldDriver : is("no-driver") ? Status::Unavailable : Status::Ok;
}

Status describe(int32_t, DeviceDescription* description) {
    *description = {};
    std::strcpy(description->name, "fake device");
    description->major = is("old-device") ? 7 : 9;
    description->sharedBytes = 100 << 10;
    description->memoryBytes = 1 << 20;
    description->usable = is("old-device") ? 0 : 1;
    std::strcpy(description->reason, is("old-device") ? "compute capability 7.0, the kernels need 8.0 or above" : "");
    return Status::Ok;
}

Status open(int32_t, Context** context) {
    if (is("crash")) {
        std::abort();
    }
    while (is("hang")) {
        std::this_thread::sleep_for(std::chrono::seconds(1));
    }
    *context = nullptr;
    return Status::Ok;
}

Status allocate(Context*, uint64_t bytes, void** address) {
    *address = std::calloc(bytes + 1, 1);
    return Status::Ok;
}

Status copyTo(Context*, void* to, const void* from, uint64_t bytes) {
    if (bytes > 0) {
        std::memcpy(to, from, bytes);
    }
    return Status::Ok;
}

}  // namespace
}  // namespace quantscope::cuda

extern "C" __attribute__((visibility("default"))) const quantscope::cuda::Api* quantscope_cuda_api(uint32_t) {
    using namespace quantscope::cuda;
    static DeviceCalls device{};
    device.count = count;
    device.describe = describe;
    device.open = open;
    device.close = [](Context*) {};
    device.allocate = allocate;
    device.free = [](Context*, void* address) { std::free(address); };
    device.upload = copyTo;
    device.download = copyTo;
    device.synchronise = [](Context*) { return Status::Ok; };
    static RotateCalls rotate{};
    rotate.rotate = [](Context*, const RotateRequest*) { return Status::Ok; };
    rotate.maxWidth = [](Context*) { return uint64_t{16384}; };
    static Api api{};
    api.version = kApiVersion;
    api.message = message;
    api.device = &device;
    api.rotate = &rotate;
    return is("other-version") ? nullptr : &api;
}
