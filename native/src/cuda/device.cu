// Devices, memory, copies and time, by the CUDA runtime.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <set>

#include "cuda/context.cuh"

#ifdef QUANTSCOPE_CUDA_EMULATION
#include "emulator.h"
#endif

namespace quantscope::cuda {

Status check(cudaError_t error, const char* doing) {
    if (error == cudaSuccess) {
        return Status::Ok;
    }
    cudaGetLastError();  // an error that does not stay with the context shall not be reported by the next call
    std::string what = std::string(doing) + ": " + cudaGetErrorString(error);
#ifdef QUANTSCOPE_CUDA_EMULATION
    if (!emulator::fault().empty()) {
        what += " (" + emulator::fault() + ")";
    }
#endif
    switch (error) {
        case cudaErrorMemoryAllocation: return fail(Status::OutOfMemory, what);
        case cudaErrorNoDevice:
        case cudaErrorNoKernelImageForDevice: return fail(Status::Unavailable, what);
        case cudaErrorInsufficientDriver: return fail(Status::OldDriver, what);
        case cudaErrorInvalidConfiguration: return fail(Status::Argument, what);
        default: return fail(Status::Failed, what);
    }
}

Status select(const Context* context) { return check(cudaSetDevice(context->device), "selecting the device"); }

namespace {

/// Compute capability 8.0 is the first with bf16 products and asynchronous copies.
constexpr int32_t kLeastMajor = 8;

struct DeviceContext final : Context {
    cudaStream_t copies{};
    cudaEvent_t begin{};
    cudaEvent_t end{};
    cudaEvent_t copied[kSlots]{};
    cudaEvent_t released[kSlots]{};
    std::set<void*> memory;
    std::set<void*> hostMemory;

    ~DeviceContext() override {
        cudaSetDevice(device);
        if (stream != nullptr) {
            cudaStreamSynchronize(stream);
        }
        if (copies != nullptr) {
            cudaStreamSynchronize(copies);
        }
        for (void* address : memory) {
            cudaFree(address);
        }
        for (void* address : hostMemory) {
            cudaFreeHost(address);
        }
        for (cudaEvent_t event : {begin, end}) {
            if (event != nullptr) {
                cudaEventDestroy(event);
            }
        }
        for (int32_t slot = 0; slot < kSlots; ++slot) {
            for (cudaEvent_t event : {copied[slot], released[slot]}) {
                if (event != nullptr) {
                    cudaEventDestroy(event);
                }
            }
        }
        for (cudaStream_t each : {stream, copies}) {
            if (each != nullptr) {
                cudaStreamDestroy(each);
            }
        }
        cudaGetLastError();
    }
};

DeviceContext& of(Context* context) { return *static_cast<DeviceContext*>(context); }

Status count(int32_t* devices) {
    int found = 0;
    *devices = 0;
    const cudaError_t error = cudaGetDeviceCount(&found);
    if (error == cudaErrorInsufficientDriver) {
        cudaGetLastError();
        int driver = 0;
        int runtime = 0;
        cudaDriverGetVersion(&driver);
        cudaRuntimeGetVersion(&runtime);
        const auto version = [](int number) { return std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10); };
        return driver == 0 ? fail(Status::Unavailable, "there is no working NVIDIA driver")
                           : fail(Status::OldDriver, "the NVIDIA driver is too old: it speaks CUDA " + version(driver) + ", this build needs " + version(runtime));
    }
    if (error == cudaErrorNoDevice) {
        cudaGetLastError();
        return Status::Ok;
    }
    if (const Status status = check(error, "looking for devices"); status != Status::Ok) {
        return status;
    }
    *devices = found;
    return Status::Ok;
}

/// As much of a text as fits, ended by a zero.
template <size_t kSize>
void fill(char (&field)[kSize], const std::string& text) {
    std::memset(field, 0, kSize);
    std::memcpy(field, text.data(), std::min(text.size(), kSize - 1));
}

Status describe(int32_t device, DeviceDescription* description) {
    cudaDeviceProp properties{};
    if (const Status status = check(cudaGetDeviceProperties(&properties, device), "reading a device's properties"); status != Status::Ok) {
        return status;
    }
    *description = {};
    fill(description->name, properties.name);
    description->major = properties.major;
    description->minor = properties.minor;
    description->multiprocessors = properties.multiProcessorCount;
    description->sharedBytes = static_cast<int32_t>(properties.sharedMemPerBlockOptin);
    description->memoryBytes = properties.totalGlobalMem;
    description->usable = properties.major >= kLeastMajor ? 1 : 0;
    if (description->usable == 0) {
        fill(description->reason, "compute capability " + std::to_string(properties.major) + "." + std::to_string(properties.minor) + ", the kernels need " +
                                          std::to_string(kLeastMajor) + ".0 or above");
    }
    return Status::Ok;
}

/// For calls with several steps: the first that fails decides.
class Steps {
public:
    Steps& operator()(cudaError_t error, const char* doing) {
        if (status == Status::Ok) {
            status = check(error, doing);
        }
        return *this;
    }
    Status status = Status::Ok;
};

Status open(int32_t device, Context** context) {
    *context = nullptr;
    int32_t devices = 0;
    if (const Status status = count(&devices); status != Status::Ok) {
        return status;
    }
    if (device < 0 || device >= devices) {
        return fail(Status::Argument, "there is no device number " + std::to_string(device));
    }
    auto made = std::make_unique<DeviceContext>();
    made->device = device;
    if (const Status status = describe(device, &made->description); status != Status::Ok) {
        return status;
    }
    const char* const kernels = std::getenv("QUANTSCOPE_CUDA_KERNELS");
    made->warpgroups = made->description.major == 9 && made->description.minor == 0 && (kernels == nullptr || std::strcmp(kernels, "portable") != 0);
    if (made->description.usable == 0) {
        return fail(Status::Unavailable, std::string(made->description.name) + ": " + made->description.reason);
    }
    Steps steps;
    steps(cudaSetDevice(device), "selecting the device");
    for (cudaStream_t* stream : {&made->stream, &made->copies}) {
        steps(cudaStreamCreateWithFlags(stream, cudaStreamNonBlocking), "making a stream");
    }
    for (cudaEvent_t* event : {&made->begin, &made->end}) {
        steps(cudaEventCreate(event), "making an event");
    }
    for (int32_t slot = 0; slot < kSlots; ++slot) {
        steps(cudaEventCreateWithFlags(&made->copied[slot], cudaEventDisableTiming), "making an event");
        steps(cudaEventCreateWithFlags(&made->released[slot], cudaEventDisableTiming), "making an event");
    }
    if (steps.status == Status::Ok) {
        *context = made.release();
    }
    return steps.status;
}

void close(Context* context) { delete context; }

Status allocate(Context* context, uint64_t bytes, void** address) {
    *address = nullptr;
    const Status status = check(cudaMalloc(address, bytes == 0 ? 1 : bytes), "allocating device memory");
    if (status == Status::Ok) {
        of(context).memory.insert(*address);
    }
    return status;
}

void release(Context* context, void* address) {
    if (address != nullptr && of(context).memory.erase(address) != 0 && select(context) == Status::Ok) {
        cudaStreamSynchronize(context->stream);  // what is queued may use it
        cudaFree(address);
    }
}

Status memory(Context*, uint64_t* freeBytes, uint64_t* totalBytes) {
    size_t free = 0;
    size_t total = 0;
    const Status status = check(cudaMemGetInfo(&free, &total), "asking for free memory");
    *freeBytes = free;
    *totalBytes = total;
    return status;
}

Status queueCopy(Context* context, void* to, const void* from, uint64_t bytes, cudaMemcpyKind kind, const char* doing) {
    return bytes == 0 ? Status::Ok : check(cudaMemcpyAsync(to, from, bytes, kind, context->stream), doing);
}

Status upload(Context* context, void* device, const void* host, uint64_t bytes) {
    return queueCopy(context, device, host, bytes, cudaMemcpyHostToDevice, "copying to the device");
}

Status download(Context* context, void* host, const void* device, uint64_t bytes) {
    return queueCopy(context, host, device, bytes, cudaMemcpyDeviceToHost, "copying from the device");
}

Status copy(Context* context, void* to, const void* from, uint64_t bytes) {
    return queueCopy(context, to, from, bytes, cudaMemcpyDeviceToDevice, "copying on the device");
}

Status clear(Context* context, void* device, uint64_t bytes) {
    return bytes == 0 ? Status::Ok : check(cudaMemsetAsync(device, 0, bytes, context->stream), "clearing device memory");
}

Status synchronise(Context* context) { return check(cudaStreamSynchronize(context->stream), "waiting for the device"); }

Status startTimer(Context* context) { return check(cudaEventRecord(of(context).begin, context->stream), "starting the timer"); }

Status stopTimer(Context* context, float* milliseconds) {
    DeviceContext& own = of(context);
    Steps steps;
    steps(cudaEventRecord(own.end, own.stream), "stopping the timer")(cudaEventSynchronize(own.end), "waiting for the device");
    if (steps.status == Status::Ok) {
        steps(cudaEventElapsedTime(milliseconds, own.begin, own.end), "reading the timer");
    }
    return steps.status;
}

Status allocateHost(Context* context, uint64_t bytes, void** address) {
    *address = nullptr;
    const Status status = check(cudaHostAlloc(address, bytes == 0 ? 1 : bytes, cudaHostAllocDefault), "allocating memory for copies");
    if (status == Status::Ok) {
        of(context).hostMemory.insert(*address);
    }
    return status;
}

void freeHost(Context* context, void* address) {
    if (address != nullptr && of(context).hostMemory.erase(address) != 0) {
        cudaFreeHost(address);
    }
}

Status badSlot(int32_t slot) { return fail(Status::Argument, "there is no slot number " + std::to_string(slot)); }

Status fetch(Context* context, int32_t slot, void* device, const void* host, uint64_t bytes) {
    if (slot < 0 || slot >= kSlots) {
        return badSlot(slot);
    }
    DeviceContext& own = of(context);
    Steps steps;
    steps(cudaStreamWaitEvent(own.copies, own.released[slot]), "waiting for a slot");
    if (bytes > 0 && steps.status == Status::Ok) {
        steps(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, own.copies), "copying to the device");
    }
    if (steps.status == Status::Ok) {
        steps(cudaEventRecord(own.copied[slot], own.copies), "marking a copy");
    }
    return steps.status;
}

Status acquire(Context* context, int32_t slot) {
    return slot < 0 || slot >= kSlots ? badSlot(slot) : check(cudaStreamWaitEvent(context->stream, of(context).copied[slot]), "waiting for a copy");
}

Status releaseSlot(Context* context, int32_t slot) {
    return slot < 0 || slot >= kSlots ? badSlot(slot) : check(cudaEventRecord(of(context).released[slot], context->stream), "marking a slot as free");
}

Status copied(Context* context, int32_t slot) {
    return slot < 0 || slot >= kSlots ? badSlot(slot) : check(cudaEventSynchronize(of(context).copied[slot]), "waiting for a copy");
}

Status streamOf(Context* context, void** stream) {
    *stream = context->stream;
    return Status::Ok;
}

}  // namespace

const DeviceCalls& deviceCalls() {
    static const DeviceCalls calls{count, describe, open, close, onDevice<allocate>, release, onDevice<memory>, onDevice<upload>, onDevice<download>, onDevice<copy>,
                                   onDevice<clear>, onDevice<synchronise>, onDevice<startTimer>, onDevice<stopTimer>, onDevice<allocateHost>, freeHost, onDevice<fetch>,
                                   onDevice<acquire>, onDevice<releaseSlot>, onDevice<copied>, streamOf};
    return calls;
}

}  // namespace quantscope::cuda
