#include "device/slots.h"

#include <numeric>

namespace quantscope {

DeviceSlots::DeviceSlots(std::shared_ptr<Device> device, size_t bytes, int count) : device_(std::move(device)), bytes_(bytes), slots_(static_cast<size_t>(count)) {
    try {
        for (Slot& slot : slots_) {
            slot.device = device_->allocate<std::byte>(bytes);
            device_->check(device_->calls().allocateHost(device_->context(), bytes, &slot.host), "allocating memory for copies");
        }
    } catch (...) {
        free();
        throw;
    }
}

DeviceSlots::~DeviceSlots() {
    // Copies that are under way end before their memory does; there is nobody left to hear of their failure.
    device_->calls().synchronise(device_->context());
    for (int slot = 0; slot < count(); ++slot) {
        device_->calls().copied(device_->context(), slot);
    }
    free();
}

void DeviceSlots::free() {
    for (Slot& slot : slots_) {
        device_->calls().freeHost(device_->context(), slot.host);
        slot.host = nullptr;
    }
}

std::unique_ptr<DeviceSlots> DeviceSlots::fitting(const std::shared_ptr<Device>& device, size_t wanted, size_t least, int count) {
    for (size_t bytes = std::max(wanted, least);; bytes = std::max(bytes / 2, least)) {
        try {
            return std::make_unique<DeviceSlots>(device, bytes, count);
        } catch (const DeviceError& error) {
            if (error.status() != cuda::Status::OutOfMemory || bytes == least) {
                throw;
            }
        }
    }
}

std::byte* DeviceSlots::host(int slot) {
    device_->check(device_->calls().copied(device_->context(), slot), "waiting for a copy");
    return static_cast<std::byte*>(slots_[static_cast<size_t>(slot)].host);
}

void DeviceSlots::fetch(int slot, size_t bytes) {
    const Slot& own = slots_[static_cast<size_t>(slot)];
    device_->check(device_->calls().fetch(device_->context(), slot, own.device.data(), own.host, std::min(bytes, bytes_)), "copying to the device");
}

const void* DeviceSlots::acquire(int slot) {
    device_->check(device_->calls().acquire(device_->context(), slot), "waiting for a copy");
    return slots_[static_cast<size_t>(slot)].device.data();
}

void DeviceSlots::release(int slot) { device_->check(device_->calls().release(device_->context(), slot), "freeing a slot"); }

DeviceWeights::DeviceWeights(std::shared_ptr<Device> device, std::vector<uint64_t> bytes, Read read, uint64_t reserve)
    : device_(std::move(device)), bytes_(std::move(bytes)), read_(std::move(read)) {
    const uint64_t free = device_->freeBytes();
    const uint64_t budget = free > reserve ? free - reserve : 0;
    const uint64_t all = std::accumulate(bytes_.begin(), bytes_.end(), uint64_t{0});
    resident_ = count();
    if (all > budget) {
        // The first weights stay; the others need room for two of the largest of them.
        uint64_t before = all;
        for (resident_ = count(); resident_ > 0; --resident_) {
            const uint64_t largest = resident_ == count() ? 0 : *std::max_element(bytes_.begin() + static_cast<std::ptrdiff_t>(resident_), bytes_.end());
            if (before + 2 * largest <= budget) {
                break;
            }
            before -= bytes_[resident_ - 1];
        }
    }
    std::vector<std::byte> staging;
    const auto makeSlots = [&] {
        if (resident_ < count()) {
            slots_ = std::make_unique<DeviceSlots>(device_, *std::max_element(bytes_.begin() + static_cast<std::ptrdiff_t>(resident_), bytes_.end()));
            held_.assign(static_cast<size_t>(slots_->count()), count());
        }
    };
    makeSlots();
    for (size_t i = 0; i < resident_; ++i) {
        try {
            arrays_.push_back(device_->allocate<std::byte>(bytes_[i]));
        } catch (const DeviceError& error) {
            if (error.status() != cuda::Status::OutOfMemory) {
                throw;
            }
            // Free memory is not always in one piece. What fitted stays, less what the slots need.
            slots_.reset();
            arrays_.resize(i > 2 ? i - 2 : 0);
            resident_ = arrays_.size();
            makeSlots();
            return;
        }
        staging.resize(bytes_[i]);
        read_(i, staging.data());
        arrays_.back().write(staging);
    }
}

int DeviceWeights::load(size_t index) {
    const auto found = std::find(held_.begin(), held_.end(), index);
    if (found != held_.end()) {
        return static_cast<int>(found - held_.begin());
    }
    const int slot = next_;
    next_ = (next_ + 1) % slots_->count();
    read_(index, slots_->host(slot));
    slots_->fetch(slot, bytes_[index]);
    held_[static_cast<size_t>(slot)] = index;
    return slot;
}

void DeviceWeights::prefetch(size_t index) {
    if (index < count() && index >= resident_) {
        load(index);
    }
}

const void* DeviceWeights::acquire(size_t index) { return index < resident_ ? arrays_[index].data() : slots_->acquire(load(index)); }

void DeviceWeights::release(size_t index) {
    if (index >= resident_) {
        const auto found = std::find(held_.begin(), held_.end(), index);
        slots_->release(static_cast<int>(found - held_.begin()));
    }
}

}  // namespace quantscope
