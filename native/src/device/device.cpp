#include "device/device.h"

namespace quantscope {

namespace {

ErrorCode codeOf(cuda::Status status) {
    switch (status) {
        case cuda::Status::OutOfMemory: return ErrorCode::Memory;
        case cuda::Status::Argument: return ErrorCode::Argument;
        default: return ErrorCode::Device;
    }
}

}  // namespace

DeviceError::DeviceError(cuda::Status status, const std::string& message) : Error(codeOf(status), message), status_(status) {}

std::shared_ptr<Device> Device::open(std::shared_ptr<const CudaLibrary> library, int32_t number) {
    const cuda::Api& api = library->api();
    cuda::DeviceDescription description{};
    cuda::Context* context = nullptr;
    cuda::Status status = api.device->describe(number, &description);
    if (status == cuda::Status::Ok) {
        status = api.device->open(number, &context);
    }
    if (status != cuda::Status::Ok) {
        throw DeviceError(status, std::string("Opening the device failed: ") + api.message());
    }
    return std::shared_ptr<Device>(new Device(std::move(library), context, description));
}

Device::~Device() { calls().close(context_); }

void Device::check(cuda::Status status, const char* doing) const {
    if (status != cuda::Status::Ok) {
        throw DeviceError(status, std::string(description_.name) + ": " + doing + " failed: " + api().message());
    }
}

uint64_t Device::freeBytes() const {
    uint64_t free = 0;
    uint64_t total = 0;
    check(calls().memory(context_, &free, &total), "asking for free memory");
    return free;
}

}  // namespace quantscope
