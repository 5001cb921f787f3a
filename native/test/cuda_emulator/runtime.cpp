// The runtime interface over one emulated device. Streams are queues: nothing on them runs until somebody waits, so that a forgotten wait shows.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

#include "block.h"
#include "emulator.h"
#include "memory.h"

struct cudaEmulatedStream {
    bool blocking = true;  ///< waits for the default stream and the other way round
    std::deque<std::function<void()>> queue;
};

struct cudaEmulatedEvent {
    cudaStream_t stream = nullptr;
    uint64_t recorded = 0;  ///< times that it was put on a stream
    uint64_t reached = 0;   ///< the last of those that has run
    std::chrono::steady_clock::time_point at{};
};

namespace quantscope::cuda::emulator {

namespace {

constexpr size_t kGuard = 256;  // bytes before and behind an allocation
constexpr unsigned char kGuardByte = 0xa5;

struct Allocation {
    size_t bytes;
    std::unique_ptr<unsigned char[]> memory;
};

struct Device {
    std::recursive_mutex mutex;
    std::map<const void*, Allocation> allocations;
    std::map<const void*, size_t> pinned;
    std::vector<std::unique_ptr<cudaEmulatedStream>> streams;
    size_t allocated = 0;
    cudaError_t last = cudaSuccess;    ///< for cudaGetLastError
    cudaError_t sticky = cudaSuccess;  ///< after a fault
    std::string fault;
};

Device& device() {
    static Device instance;
    return instance;
}

/// Whether the calling thread has chosen the device. CUDA takes the first one for it otherwise, which need not be the one that is meant.
thread_local bool selected = false;

using Lock = std::lock_guard<std::recursive_mutex>;

cudaError_t answer(cudaError_t error) {
    Device& d = device();
    if (d.sticky != cudaSuccess) {
        return d.sticky;
    }
    if (error != cudaSuccess) {
        d.last = error;
    }
    return error;
}

void setFault(const std::string& message, cudaError_t error) {
    Device& d = device();
    if (d.fault.empty()) {
        d.fault = message;
        d.sticky = error;
        std::fprintf(stderr, "emulated CUDA device: %s\n", message.c_str());
    }
}

void drain(cudaStream_t stream) {
    while (!stream->queue.empty() && device().sticky == cudaSuccess) {
        const auto next = std::move(stream->queue.front());
        stream->queue.pop_front();
        next();
    }
}

void drainAll(bool alsoNonBlocking) {
    for (const auto& stream : device().streams) {
        if (alsoNonBlocking || stream->blocking) {
            drain(stream.get());
        }
    }
}

/// Work on the default stream comes after all that the blocking streams hold, and before anything put on them later.
void enqueue(cudaStream_t stream, std::function<void()> work) {
    if (stream != nullptr) {
        stream->queue.push_back(std::move(work));
        return;
    }
    drainAll(false);
    if (device().sticky == cudaSuccess) {
        work();
    }
}

bool isPinned(const void* at) {
    const auto& pinned = device().pinned;
    auto found = pinned.upper_bound(at);
    if (found == pinned.begin()) {
        return false;
    }
    --found;
    return static_cast<const char*>(at) < static_cast<const char*>(found->first) + found->second;
}

/// Whether both ends lie where the direction says; zero bytes are fine anywhere.
cudaError_t checkCopy(const void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
    if (bytes == 0) {
        return cudaSuccess;
    }
    const bool toDevice = isDeviceMemory(to, bytes);
    const bool fromDevice = isDeviceMemory(from, bytes);
    switch (kind) {
        case cudaMemcpyHostToHost: return !toDevice && !fromDevice ? cudaSuccess : cudaErrorInvalidValue;
        case cudaMemcpyHostToDevice: return toDevice && !fromDevice ? cudaSuccess : cudaErrorInvalidValue;
        case cudaMemcpyDeviceToHost: return !toDevice && fromDevice ? cudaSuccess : cudaErrorInvalidValue;
        case cudaMemcpyDeviceToDevice: return toDevice && fromDevice ? cudaSuccess : cudaErrorInvalidValue;
        case cudaMemcpyDefault: return cudaSuccess;
    }
    return cudaErrorInvalidMemcpyDirection;
}

Options fromEnvironment() {
    Options result;
    if (const char* const order = std::getenv("QUANTSCOPE_EMULATED_ORDER")) {
        const std::string name = order;
        result.order = name == "forward" ? Order::Forward : name == "backward" ? Order::Backward : Order::Shuffled;
        result.seed = std::strtoull(order, nullptr, 10);
    }
    if (const char* const memory = std::getenv("QUANTSCOPE_EMULATED_MEMORY")) {
        result.memory = std::strtoull(memory, nullptr, 10);
    }
    if (const char* const arch = std::getenv("QUANTSCOPE_EMULATED_ARCH")) {
        std::sscanf(arch, "%d.%d", &result.major, &result.minor);
        const bool large = result.major == 9 || result.major == 10;
        result.sharedPerBlock = large ? 232448 : result.major == 8 && result.minor == 0 ? 166912 : 101376;
    }
    return result;
}

}  // namespace

Options& options() {
    static Options instance = fromEnvironment();
    return instance;
}

std::string fault() {
    const Lock lock(device().mutex);
    return device().fault;
}

void reset() {
    const Lock lock(device().mutex);
    device().fault.clear();
    device().sticky = device().last = cudaSuccess;
    for (const auto& stream : device().streams) {
        stream->queue.clear();
    }
}

size_t allocatedBytes() {
    const Lock lock(device().mutex);
    return device().allocated;
}

bool isDeviceMemory(const void* at, size_t bytes) {
    const Lock lock(device().mutex);
    return isDeviceMemoryForKernels(at, bytes);
}

bool isDeviceMemoryForKernels(const void* at, size_t bytes) {
    const auto& allocations = device().allocations;
    auto found = allocations.upper_bound(at);
    if (found == allocations.begin()) {
        return false;
    }
    --found;
    return static_cast<const char*>(at) + bytes <= static_cast<const char*>(found->first) + found->second.bytes;
}

cudaError_t enqueueKernel(const std::source_location& where, dim3 grid, dim3 block, unsigned cluster, size_t sharedBytes, cudaStream_t stream,
                          std::function<void()> body) {
    const Lock lock(device().mutex);
    if (!selected) {
        return answer(cudaErrorInvalidResourceHandle);
    }
    const uint64_t threads = uint64_t{block.x} * block.y * block.z;
    if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.y > 65535 || grid.z > 65535 || threads == 0 || threads > 1024 || block.z > 64 ||
        grid.x % cluster != 0 || (cluster > 1 && (threads % 32 != 0 || threads * cluster > 1024))) {
        return answer(cudaErrorInvalidConfiguration);
    }
    if (sharedBytes > options().sharedPerBlock) {
        return answer(cudaErrorInvalidValue);
    }
    const cudaError_t before = answer(cudaSuccess);  // what the kernel does wrong is for later calls to report
    enqueue(stream, [=, body = std::move(body)] {
        const std::string failure = runGrid(where, grid, block, cluster, sharedBytes, body);
        if (!failure.empty()) {
            setFault(failure, cudaErrorLaunchFailure);
        }
    });
    return before;
}

}  // namespace quantscope::cuda::emulator

using namespace quantscope::cuda::emulator;

const char* cudaGetErrorName(cudaError_t error) {
    switch (error) {
        case cudaSuccess: return "cudaSuccess";
        case cudaErrorInvalidValue: return "cudaErrorInvalidValue";
        case cudaErrorMemoryAllocation: return "cudaErrorMemoryAllocation";
        case cudaErrorInvalidConfiguration: return "cudaErrorInvalidConfiguration";
        case cudaErrorInvalidDevicePointer: return "cudaErrorInvalidDevicePointer";
        case cudaErrorInvalidMemcpyDirection: return "cudaErrorInvalidMemcpyDirection";
        case cudaErrorInsufficientDriver: return "cudaErrorInsufficientDriver";
        case cudaErrorNoDevice: return "cudaErrorNoDevice";
        case cudaErrorInvalidDevice: return "cudaErrorInvalidDevice";
        case cudaErrorNoKernelImageForDevice: return "cudaErrorNoKernelImageForDevice";
        case cudaErrorInvalidResourceHandle: return "cudaErrorInvalidResourceHandle";
        case cudaErrorNotReady: return "cudaErrorNotReady";
        case cudaErrorIllegalAddress: return "cudaErrorIllegalAddress";
        case cudaErrorLaunchFailure: return "cudaErrorLaunchFailure";
        case cudaErrorNotSupported: return "cudaErrorNotSupported";
    }
    return "unknown error";
}

const char* cudaGetErrorString(cudaError_t error) {
    switch (error) {
        case cudaSuccess: return "no error";
        case cudaErrorMemoryAllocation: return "out of memory";
        case cudaErrorLaunchFailure: return "unspecified launch failure";
        case cudaErrorNotSupported: return "operation not supported";
        default: return cudaGetErrorName(error);
    }
}

cudaError_t cudaGetLastError() {
    const Lock lock(device().mutex);
    const cudaError_t error = device().sticky != cudaSuccess ? device().sticky : device().last;
    device().last = cudaSuccess;
    return error;
}

cudaError_t cudaPeekAtLastError() {
    const Lock lock(device().mutex);
    return device().sticky != cudaSuccess ? device().sticky : device().last;
}

cudaError_t cudaGetDeviceCount(int* count) {
    *count = 1;
    return cudaSuccess;
}

cudaError_t cudaGetDevice(int* index) {
    *index = 0;
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int index) {
    selected = selected || index == 0;
    return answer(index == 0 ? cudaSuccess : cudaErrorInvalidDevice);
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int index) {
    if (index != 0) {
        return answer(cudaErrorInvalidDevice);
    }
    *properties = {};
    std::snprintf(properties->name, sizeof properties->name, "emulated device");
    properties->totalGlobalMem = options().memory;
    properties->sharedMemPerBlock = 48 * 1024;
    properties->sharedMemPerBlockOptin = options().sharedPerBlock;
    properties->sharedMemPerMultiprocessor = options().sharedPerBlock + 1024;
    properties->major = options().major;
    properties->minor = options().minor;
    properties->multiProcessorCount = 4;
    properties->maxThreadsPerBlock = 1024;
    properties->regsPerBlock = 65536;
    properties->warpSize = 32;
    properties->l2CacheSize = 4 << 20;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int index) {
    cudaDeviceProp properties;
    if (const cudaError_t error = cudaGetDeviceProperties(&properties, index); error != cudaSuccess) {
        return error;
    }
    switch (attribute) {
        case cudaDevAttrMaxThreadsPerBlock: *value = properties.maxThreadsPerBlock; return cudaSuccess;
        case cudaDevAttrMultiProcessorCount: *value = properties.multiProcessorCount; return cudaSuccess;
        case cudaDevAttrComputeCapabilityMajor: *value = properties.major; return cudaSuccess;
        case cudaDevAttrComputeCapabilityMinor: *value = properties.minor; return cudaSuccess;
        case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = static_cast<int>(properties.sharedMemPerBlockOptin); return cudaSuccess;
    }
    return answer(cudaErrorInvalidValue);
}

cudaError_t cudaDriverGetVersion(int* version) {
    *version = 13000;
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int* version) { return cudaDriverGetVersion(version); }

cudaError_t cudaDeviceSynchronize() {
    const Lock lock(device().mutex);
    drainAll(true);
    return answer(cudaSuccess);
}

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
    const Lock lock(device().mutex);
    *total = options().memory;
    *free = options().memory - std::min(options().memory, device().allocated);
    return answer(cudaSuccess);
}

cudaError_t cudaMalloc(void** pointer, size_t bytes) {
    const Lock lock(device().mutex);
    *pointer = nullptr;
    if (!selected) {
        return answer(cudaErrorInvalidDevice);
    }
    if (bytes == 0) {
        return answer(cudaSuccess);
    }
    Device& d = device();
    if (bytes > options().memory - std::min(options().memory, d.allocated)) {
        return answer(cudaErrorMemoryAllocation);
    }
    std::unique_ptr<unsigned char[]> memory(new (std::nothrow) unsigned char[bytes + 3 * kGuard]);
    if (memory == nullptr) {
        return answer(cudaErrorMemoryAllocation);
    }
    // Aligned to 256 as on a device, and with guards on both sides.
    unsigned char* const at = reinterpret_cast<unsigned char*>((reinterpret_cast<uintptr_t>(memory.get()) + 2 * kGuard - 1) / kGuard * kGuard);
    std::fill_n(memory.get(), at - memory.get(), kGuardByte);
    std::fill_n(at + bytes, kGuard, kGuardByte);
    fillWithGarbage(at, bytes);
    d.allocated += bytes;
    d.allocations.emplace(at, Allocation{bytes, std::move(memory)});
    *pointer = at;
    return answer(cudaSuccess);
}

cudaError_t cudaFree(void* pointer) {
    const Lock lock(device().mutex);
    if (pointer == nullptr) {
        return answer(cudaSuccess);
    }
    drainAll(true);  // it waits for the device
    Device& d = device();
    const auto found = d.allocations.find(pointer);
    if (found == d.allocations.end()) {
        return answer(cudaErrorInvalidValue);
    }
    const auto* const at = static_cast<const unsigned char*>(pointer);
    const unsigned char* const behind = at + found->second.bytes;
    const auto isGuard = [](unsigned char byte) { return byte == kGuardByte; };
    if (!std::all_of(static_cast<const unsigned char*>(found->second.memory.get()), at, isGuard) || !std::all_of(behind, behind + kGuard, isGuard)) {
        setFault("somebody has written next to an allocation of " + std::to_string(found->second.bytes) + " bytes", cudaErrorIllegalAddress);
    }
    d.allocated -= found->second.bytes;
    d.allocations.erase(found);
    return answer(cudaSuccess);
}

cudaError_t cudaMallocHost(void** pointer, size_t bytes) {
    const Lock lock(device().mutex);
    *pointer = std::malloc(std::max<size_t>(bytes, 1));
    if (*pointer == nullptr) {
        return answer(cudaErrorMemoryAllocation);
    }
    device().pinned.emplace(*pointer, bytes);
    return answer(cudaSuccess);
}

cudaError_t cudaHostAlloc(void** pointer, size_t bytes, unsigned) { return cudaMallocHost(pointer, bytes); }

cudaError_t cudaFreeHost(void* pointer) {
    const Lock lock(device().mutex);
    if (pointer != nullptr && device().pinned.erase(pointer) == 0) {
        return answer(cudaErrorInvalidValue);
    }
    drainAll(true);
    std::free(pointer);
    return answer(cudaSuccess);
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
    const Lock lock(device().mutex);
    if (const cudaError_t error = checkCopy(to, from, bytes, kind); error != cudaSuccess) {
        return answer(error);
    }
    if (kind == cudaMemcpyHostToDevice && !isPinned(from)) {  // staged before the call returns
        const auto* const begin = static_cast<const unsigned char*>(from);
        enqueue(stream, [to, staged = std::vector<unsigned char>(begin, begin + bytes)] { std::copy(staged.begin(), staged.end(), static_cast<unsigned char*>(to)); });
    } else {
        enqueue(stream, [=] { std::copy_n(static_cast<const unsigned char*>(from), bytes, static_cast<unsigned char*>(to)); });
    }
    return answer(cudaSuccess);
}

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) { return cudaMemcpyAsync(to, from, bytes, kind, nullptr); }

cudaError_t cudaMemcpy2DAsync(void* to, size_t toPitch, const void* from, size_t fromPitch, size_t width, size_t height, cudaMemcpyKind kind,
                              cudaStream_t stream) {
    const Lock lock(device().mutex);
    if (width > toPitch || width > fromPitch) {
        return answer(cudaErrorInvalidValue);
    }
    for (size_t row = 0; row < height; ++row) {
        const cudaError_t error = cudaMemcpyAsync(static_cast<char*>(to) + row * toPitch, static_cast<const char*>(from) + row * fromPitch, width, kind, stream);
        if (error != cudaSuccess) {
            return error;
        }
    }
    return answer(cudaSuccess);
}

cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
    const Lock lock(device().mutex);
    if (bytes > 0 && !isDeviceMemory(to, bytes)) {
        return answer(cudaErrorInvalidValue);
    }
    enqueue(stream, [=] { std::fill_n(static_cast<unsigned char*>(to), bytes, static_cast<unsigned char>(value)); });
    return answer(cudaSuccess);
}

cudaError_t cudaMemset(void* to, int value, size_t bytes) { return cudaMemsetAsync(to, value, bytes, nullptr); }

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
    const Lock lock(device().mutex);
    auto created = std::make_unique<cudaEmulatedStream>();
    created->blocking = (flags & cudaStreamNonBlocking) == 0;
    *stream = created.get();
    device().streams.push_back(std::move(created));
    return answer(cudaSuccess);
}

cudaError_t cudaStreamCreate(cudaStream_t* stream) { return cudaStreamCreateWithFlags(stream, cudaStreamDefault); }

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    const Lock lock(device().mutex);
    if (stream == nullptr) {
        return answer(cudaErrorInvalidResourceHandle);
    }
    drain(stream);
    std::erase_if(device().streams, [&](const auto& other) { return other.get() == stream; });
    return answer(cudaSuccess);
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    const Lock lock(device().mutex);
    stream == nullptr ? drainAll(false) : drain(stream);
    return answer(cudaSuccess);
}

cudaError_t cudaStreamQuery(cudaStream_t stream) {
    const Lock lock(device().mutex);
    if (stream != nullptr && !stream->queue.empty()) {
        drain(stream);  // the next question gets another answer
        return device().sticky != cudaSuccess ? device().sticky : cudaErrorNotReady;
    }
    return answer(cudaSuccess);
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
    *event = new cudaEmulatedEvent;
    return answer(cudaSuccess);
}

cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, cudaEventDefault); }

cudaError_t cudaEventDestroy(cudaEvent_t event) {
    const Lock lock(device().mutex);
    drainAll(true);  // what is on streams may speak of it
    delete event;
    return answer(cudaSuccess);
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    const Lock lock(device().mutex);
    event->stream = stream;
    enqueue(stream, [event, number = ++event->recorded] {
        event->reached = number;
        event->at = std::chrono::steady_clock::now();
    });
    return answer(cudaSuccess);
}

namespace {

/// Runs the event's stream up to it.
void reach(cudaEvent_t event, uint64_t number) {
    while (event->reached < number && event->stream != nullptr && !event->stream->queue.empty() && device().sticky == cudaSuccess) {
        const auto next = std::move(event->stream->queue.front());
        event->stream->queue.pop_front();
        next();
    }
}

}  // namespace

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
    const Lock lock(device().mutex);
    enqueue(stream, [event, number = event->recorded] { reach(event, number); });
    return answer(cudaSuccess);
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
    const Lock lock(device().mutex);
    reach(event, event->recorded);
    return answer(cudaSuccess);
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
    const Lock lock(device().mutex);
    if (event->reached < event->recorded) {
        reach(event, event->recorded);
        return device().sticky != cudaSuccess ? device().sticky : cudaErrorNotReady;
    }
    return answer(cudaSuccess);
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
    const Lock lock(device().mutex);
    if (start->reached < start->recorded || end->reached < end->recorded) {
        return answer(cudaErrorNotReady);
    }
    *milliseconds = std::chrono::duration<float, std::milli>(end->at - start->at).count();
    return answer(cudaSuccess);
}
