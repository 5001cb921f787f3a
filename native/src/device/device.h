// A device that is in use: memory that frees itself, copies, and errors with a type. One thread at a time; everything is queued and done in order, and
// what the host reads or frees needs synchronise() first, unless said.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "cuda/api.h"
#include "device/library.h"

namespace quantscope {

/// Code Memory when the device is out of memory, Argument, or Device.
class DeviceError : public Error {
public:
    DeviceError(cuda::Status status, const std::string& message);
    cuda::Status status() const { return status_; }

private:
    cuda::Status status_;
};

template <class T>
class DeviceArray;

class Device : public std::enable_shared_from_this<Device> {
public:
    /// Throws DeviceError.
    static std::shared_ptr<Device> open(std::shared_ptr<const CudaLibrary> library, int32_t number);
    ~Device();
    Device(const Device&) = delete;
    Device& operator=(const Device&) = delete;

    const cuda::Api& api() const { return library_->api(); }
    const cuda::DeviceCalls& calls() const { return *library_->api().device; }
    cuda::Context* context() const { return context_; }
    const cuda::DeviceDescription& description() const { return description_; }

    /// Throws DeviceError with the library's message behind `doing` unless the status is Ok.
    void check(cuda::Status status, const char* doing) const;

    /// Uninitialised.
    template <class T>
    DeviceArray<T> allocate(size_t count);
    /// Copied when this returns.
    template <class T>
    DeviceArray<T> upload(std::span<const T> values);
    template <class T>
    DeviceArray<T> upload(const std::vector<T>& values) {
        return upload(std::span<const T>(values));
    }

    void synchronise() const { check(calls().synchronise(context_), "waiting for the device"); }
    uint64_t freeBytes() const;

private:
    Device(std::shared_ptr<const CudaLibrary> library, cuda::Context* context, const cuda::DeviceDescription& description)
        : library_(std::move(library)), context_(context), description_(description) {}

    std::shared_ptr<const CudaLibrary> library_;
    cuda::Context* context_;
    cuda::DeviceDescription description_;
};

/// `size()` elements on a device. Movable; keeps the device open.
template <class T>
class DeviceArray {
public:
    DeviceArray() = default;
    DeviceArray(std::shared_ptr<const Device> device, size_t size) : device_(std::move(device)), size_(size) {
        void* address = nullptr;
        device_->check(device_->calls().allocate(device_->context(), size * sizeof(T), &address), "allocating");
        data_ = static_cast<T*>(address);
    }
    DeviceArray(DeviceArray&& other) noexcept { swap(other); }
    DeviceArray& operator=(DeviceArray&& other) noexcept {
        DeviceArray(std::move(other)).swap(*this);
        return *this;
    }
    ~DeviceArray() {
        if (data_ != nullptr) {
            device_->calls().free(device_->context(), data_);
        }
    }

    T* data() const { return data_; }  ///< an address of the device
    size_t size() const { return size_; }
    size_t bytes() const { return size_ * sizeof(T); }

    /// The first values.size() elements; done when this returns.
    void write(std::span<const T> values) {
        requireSize(values.size());
        device_->check(device_->calls().upload(device_->context(), data_, values.data(), values.size_bytes()), "copying to the device");
        device_->synchronise();
    }
    /// All elements, after everything that was queued before.
    std::vector<T> read() const {
        std::vector<T> values(size_);
        if (size_ > 0) {
            device_->check(device_->calls().download(device_->context(), values.data(), data_, bytes()), "copying from the device");
            device_->synchronise();
        }
        return values;
    }
    /// All bytes 0; queued.
    void clear() { device_->check(device_->calls().clear(device_->context(), data_, bytes()), "clearing device memory"); }

private:
    void swap(DeviceArray& other) {
        std::swap(device_, other.device_);
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
    }
    void requireSize(size_t size) const {
        if (size > size_) {
            failArgument(std::to_string(size) + " elements do not fit into a device array of " + std::to_string(size_));
        }
    }

    std::shared_ptr<const Device> device_;
    T* data_ = nullptr;
    size_t size_ = 0;
};

template <class T>
DeviceArray<T> Device::allocate(size_t count) {
    return DeviceArray<T>(shared_from_this(), count);
}

template <class T>
DeviceArray<T> Device::upload(std::span<const T> values) {
    DeviceArray<T> array = allocate<T>(values.size());
    array.write(values);
    return array;
}

/// An array that holds so many elements, whatever was in it.
template <class T>
void growTo(Device& device, DeviceArray<T>& array, size_t size) {
    if (array.size() < size) {
        array = {};  // which makes room
        array = device.allocate<T>(size);
    }
}

}  // namespace quantscope
