// Weights that do not fit the device: what kernels see is what the host wrote, whatever stays and whatever passes through.
#include "device/slots.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "device_support.h"

namespace quantscope {
namespace {

class DeviceSlotsTest : public testing::Test {
protected:
    std::shared_ptr<Device> device = test::testedDevice();

    /// As a kernel would: a copy on the device, queued between acquire() and release().
    std::vector<std::byte> seen(DeviceWeights& weights, size_t index, size_t bytes) {
        const DeviceArray<std::byte> copy = device->allocate<std::byte>(bytes);
        device->check(device->calls().copy(device->context(), copy.data(), weights.acquire(index), bytes), "copying");
        weights.release(index);
        return copy.read();
    }
    static std::vector<std::byte> content(size_t index, size_t bytes) {
        std::vector<std::byte> values(bytes);
        for (size_t i = 0; i < bytes; ++i) {
            values[i] = static_cast<std::byte>(i * 7 + index * 31);
        }
        return values;
    }
};

TEST_F(DeviceSlotsTest, WeightsAreTheSameResidentAndStreamed) {
    const std::vector<uint64_t> bytes{300000, 100000, 500000, 0, 200001, 400000, 77};
    const uint64_t all = 1500078;
    for (const uint64_t budget : {2 * all, uint64_t{1500078}, uint64_t{1400000}, uint64_t{1200000}, uint64_t{1000000}}) {
        size_t reads = 0;
        DeviceWeights weights(device, bytes, [&](size_t index, std::byte* target) {
            const auto values = content(index, bytes[index]);
            std::copy(values.begin(), values.end(), target);
            ++reads;
        }, device->freeBytes() - budget);
        EXPECT_EQ(weights.resident() == bytes.size(), budget >= all) << budget;
        EXPECT_LT(weights.resident(), budget >= all ? bytes.size() + 1 : bytes.size());
        EXPECT_EQ(reads, weights.resident());
        for (int pass = 0; pass < 3; ++pass) {
            for (size_t i = 0; i < bytes.size(); ++i) {
                weights.prefetch(i);
                EXPECT_EQ(seen(weights, i, bytes[i]), content(i, bytes[i])) << "weight " << i << " with " << weights.resident() << " resident";
                weights.prefetch(i + 1);
            }
        }
    }
}

TEST_F(DeviceSlotsTest, WeightsThatCannotEvenPassThroughAreOutOfMemory) {
    const uint64_t most = device->description().memoryBytes;
    try {
        DeviceWeights weights(device, {most, 1}, [](size_t, std::byte*) { FAIL() << "nothing is there to be read into"; }, 0);
        FAIL() << "a weight as large as the device fitted twice";
    } catch (const DeviceError& error) {
        EXPECT_EQ(error.status(), cuda::Status::OutOfMemory);
    }
}

TEST_F(DeviceSlotsTest, PiecesShrinkUntilTheyFit) {
    constexpr uint64_t kLeft = uint64_t{48} << 20;
    const auto rest = test::fill(device, kLeft);
    const auto slots = DeviceSlots::fitting(device, 4 * kLeft, 1000);
    EXPECT_LE(slots->bytes(), kLeft);
    EXPECT_GE(slots->bytes(), 1000u);
    EXPECT_THROW(DeviceSlots::fitting(device, 8 * kLeft, 8 * kLeft), DeviceError);
}

TEST_F(DeviceSlotsTest, MemoryIsGivenBack) {
    const uint64_t before = device->freeBytes();
    {
        DeviceSlots slots(device, 8 << 20, 3);  // smaller pieces would come out of what the driver holds already
        EXPECT_LT(device->freeBytes(), before);
    }
    test::expectFreeAgain(*device, before);
}

}  // namespace
}  // namespace quantscope
