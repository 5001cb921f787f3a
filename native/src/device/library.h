// The CUDA library, found and opened at run time, or the reason why it is not used. Nothing here runs a kernel: a library is trusted with the process
// only after its self-test (device/self_test.h) passed in another one.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "cuda/api.h"

namespace quantscope {

/// Why CUDA is not used.
enum class CudaReason {
    NoLibrary,   ///< it is not there; most installations need none
    BadLibrary,  ///< it is there and cannot be opened, or is of another build
    NoDriver,
    OldDriver,
    NoDevice,
    OldDevice,   ///< no device has the compute capability that the kernels need
};
/// "no-library" and so on, stable.
const char* nameOf(CudaReason reason);

struct CudaUnavailable {
    CudaReason reason;
    std::string message;  ///< half a sentence: "there is no NVIDIA driver on this machine"
};

/// An opened library; it stays open until the process ends. Immutable and thread-safe.
class CudaLibrary {
public:
    CudaLibrary(std::string path, const cuda::Api& api) : path_(std::move(path)), api_(&api) {}
    const std::string& path() const { return path_; }
    const cuda::Api& api() const { return *api_; }

private:
    std::string path_;
    const cuda::Api* api_;
};

/// Of the environment variable QUANTSCOPE_CUDA_LIBRARY, else libquantscope_cuda.so in the folder of the file that this code is in.
/// `chosen` is true for the former, which is opened whether there is a driver or not.
std::string cudaLibraryPath(bool& chosen);

/// Without a driver the library beside the addon is not even opened.
std::variant<std::shared_ptr<const CudaLibrary>, CudaUnavailable> openCudaLibrary();

/// All devices, usable or not, in the driver's order. CudaUnavailable when there is none that can be used.
struct CudaDevices {
    std::vector<cuda::DeviceDescription> all;
    std::optional<int32_t> first;  ///< the first usable one
    std::optional<CudaUnavailable> unavailable;
};
CudaDevices findCudaDevices(const CudaLibrary& library);

}  // namespace quantscope
