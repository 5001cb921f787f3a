#include "device/library.h"

#include <dlfcn.h>

#include <cstdlib>
#include <filesystem>
#include <system_error>

namespace quantscope {

namespace {

CudaUnavailable unavailable(CudaReason reason, std::string message) { return {reason, std::move(message)}; }

std::string lastLoaderError() {
    const char* const error = ::dlerror();
    return error == nullptr ? "unknown error" : error;
}

bool driverIsThere() {
    // Never closed: the library uses it from then on.
    return ::dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL) != nullptr;
}

}  // namespace

const char* nameOf(CudaReason reason) {
    switch (reason) {
        case CudaReason::NoLibrary: return "no-library";
        case CudaReason::BadLibrary: return "bad-library";
        case CudaReason::NoDriver: return "no-driver";
        case CudaReason::OldDriver: return "old-driver";
        case CudaReason::NoDevice: return "no-device";
        case CudaReason::OldDevice: return "old-device";
    }
    return "";
}

std::string cudaLibraryPath(bool& chosen) {
    const char* const wanted = std::getenv("QUANTSCOPE_CUDA_LIBRARY");
    chosen = wanted != nullptr && *wanted != '\0';
    if (chosen) {
        return wanted;
    }
    Dl_info here{};
    std::filesystem::path folder;
    if (::dladdr(reinterpret_cast<const void*>(&cudaLibraryPath), &here) != 0 && here.dli_fname != nullptr) {
        folder = std::filesystem::path(here.dli_fname).parent_path();
    }
    return (folder / "libquantscope_cuda.so").string();
}

std::variant<std::shared_ptr<const CudaLibrary>, CudaUnavailable> openCudaLibrary() {
    bool chosen = false;
    const std::string path = cudaLibraryPath(chosen);
    std::error_code ignored;
    if (!std::filesystem::exists(path, ignored)) {
        return unavailable(CudaReason::NoLibrary, chosen ? "QUANTSCOPE_CUDA_LIBRARY names " + path + ", which is not there"
                                                         : "this installation has no CUDA library (" + path + " is not there)");
    }
    if (!chosen && !driverIsThere()) {
        return unavailable(CudaReason::NoDriver, "there is no NVIDIA driver on this machine (libcuda.so.1 cannot be opened)");
    }
    void* const library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
        return unavailable(CudaReason::BadLibrary, "the CUDA library cannot be opened: " + lastLoaderError());
    }
    const auto function = reinterpret_cast<cuda::ApiFunction>(::dlsym(library, cuda::kApiFunction));
    if (function == nullptr) {
        return unavailable(CudaReason::BadLibrary, path + " is no CUDA library of QuantScope");
    }
    const cuda::Api* const api = function(cuda::kApiVersion);
    if (api == nullptr) {
        return unavailable(CudaReason::BadLibrary, path + " is of another version of QuantScope");
    }
    return std::make_shared<const CudaLibrary>(path, *api);
}

CudaDevices findCudaDevices(const CudaLibrary& library) {
    const cuda::DeviceCalls& calls = *library.api().device;
    CudaDevices result;
    int32_t count = 0;
    if (const cuda::Status status = calls.count(&count); status != cuda::Status::Ok) {
        result.unavailable = unavailable(status == cuda::Status::OldDriver ? CudaReason::OldDriver : CudaReason::NoDriver, library.api().message());
        return result;
    }
    for (int32_t i = 0; i < count; ++i) {
        cuda::DeviceDescription description{};
        if (calls.describe(i, &description) != cuda::Status::Ok) {
            continue;  // gone since it was counted
        }
        result.all.push_back(description);
        if (description.usable != 0 && !result.first) {
            result.first = i;
        }
    }
    if (result.all.empty()) {
        result.unavailable = unavailable(CudaReason::NoDevice, "the NVIDIA driver finds no device");
    } else if (!result.first) {
        const cuda::DeviceDescription& device = result.all.front();
        result.unavailable = unavailable(CudaReason::OldDevice, std::string(device.name) + ": " + device.reason);
    }
    return result;
}

}  // namespace quantscope
