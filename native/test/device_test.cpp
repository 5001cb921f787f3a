// What every group builds on: memory, copies, typed errors.
#include "device/device.h"

#include <gtest/gtest.h>

#include <numeric>
#include <thread>

#include "device/self_test.h"
#include "device_support.h"

namespace quantscope {
namespace {

using cuda::Status;

TEST(Device, SaysWhatItIs) {
    const auto device = test::testedDevice();
    EXPECT_NE(std::string(device->description().name), "");
    EXPECT_GE(device->description().major, 8);
    EXPECT_GE(device->description().sharedBytes, 48 << 10);
    EXPECT_LE(device->freeBytes(), device->description().memoryBytes);
}

TEST(Device, SpeaksOneVersion) {
    EXPECT_EQ(test::testedLibrary()->api().version, cuda::kApiVersion);
}

TEST(Device, PassesTheSelfTest) {
    const auto library = test::testedLibrary();
    EXPECT_EQ(runSelfTests(library, findCudaDevices(*library).first.value()).value_or(""), "");
}

TEST(Device, MemoryComesBackAsItWent) {
    const auto device = test::testedDevice();
    for (const size_t n : {size_t{0}, size_t{1}, size_t{1000}, size_t{1} << 20}) {
        std::vector<uint32_t> values(n);
        std::iota(values.begin(), values.end(), 17u);
        DeviceArray<uint32_t> array = device->upload(values);
        EXPECT_EQ(array.read(), values);
        DeviceArray<uint32_t> copy = device->allocate<uint32_t>(n);
        device->check(device->calls().copy(device->context(), copy.data(), array.data(), array.bytes()), "copying");
        array.clear();
        EXPECT_EQ(array.read(), std::vector<uint32_t>(n));
        EXPECT_EQ(copy.read(), values);
    }
}

TEST(Device, AnyThreadMayUseIt) {
    const auto device = test::testedDevice();
    const DeviceArray<float> values = device->upload(std::vector<float>{-1, 2}), out = device->allocate<float>(2);
    cuda::MapRequest request{};
    request.kind = cuda::Map::Relu;
    request.x = values.data();
    request.count = 2;
    request.out = out.data();
    Status status = Status::Failed;
    std::thread([&] { status = device->api().ops->map(device->context(), &request); }).join();
    EXPECT_EQ(status, Status::Ok);
    EXPECT_EQ(out.read(), (std::vector<float>{0, 2}));
}

TEST(Device, ArraysFreeTheirMemory) {
    const auto device = test::testedDevice();
    const uint64_t before = device->freeBytes();
    {
        DeviceArray<float> first = device->allocate<float>(1 << 22);
        DeviceArray<float> second = std::move(first);
        EXPECT_EQ(first.data(), nullptr);  // NOLINT: what is left of a moved array
        EXPECT_LT(device->freeBytes(), before);
        second = device->allocate<float>(1 << 10);
    }
    test::expectFreeAgain(*device, before);
}

TEST(Device, OutOfMemoryIsAnErrorOfItsOwnAndLeavesTheDeviceUsable) {
    const auto device = test::testedDevice();
    try {
        device->allocate<std::byte>(device->description().memoryBytes * 2);
        FAIL() << "twice the memory of the device was given out";
    } catch (const DeviceError& error) {
        EXPECT_EQ(error.status(), Status::OutOfMemory);
        EXPECT_EQ(error.code(), ErrorCode::Memory);
        EXPECT_NE(std::string(error.what()).find("memory"), std::string::npos) << error.what();
    }
    EXPECT_EQ(device->upload(std::vector<int>{1, 2, 3}).read(), (std::vector<int>{1, 2, 3}));
}

TEST(Device, WhatMakesNoSenseIsRefused) {
    const auto device = test::testedDevice();
    EXPECT_THROW(Device::open(test::testedLibrary(), 99), DeviceError);
    EXPECT_EQ(device->calls().fetch(device->context(), cuda::kSlots, nullptr, nullptr, 0), Status::Argument);
    EXPECT_NE(std::string(device->api().message()).find("slot"), std::string::npos);
    DeviceArray<int> array = device->allocate<int>(2);
    EXPECT_THROW(array.write(std::vector<int>(3)), Error);
}

TEST(Device, TimesWhatWasQueued) {
    const auto device = test::testedDevice();
    DeviceArray<std::byte> array = device->allocate<std::byte>(1 << 20);
    device->check(device->calls().startTimer(device->context()), "timing");
    array.clear();
    float milliseconds = -1;
    device->check(device->calls().stopTimer(device->context(), &milliseconds), "timing");
    EXPECT_GE(milliseconds, 0);
}

}  // namespace
}  // namespace quantscope
