// Memory of the emulated device, and a fixture that leaves nothing behind.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "cuda/portable.cuh"
#include "emulator.h"

namespace quantscope::cuda {

using emulator::Order;

template <class T>
class OnDevice {
public:
    explicit OnDevice(size_t count) : count_(count) { EXPECT_EQ(cudaMalloc(&at_, count * sizeof(T)), cudaSuccess); }
    explicit OnDevice(const std::vector<T>& values) : OnDevice(values.size()) {
        EXPECT_EQ(cudaMemcpy(at_, values.data(), count_ * sizeof(T), cudaMemcpyHostToDevice), cudaSuccess);
    }
    ~OnDevice() { cudaFree(at_); }
    OnDevice(const OnDevice&) = delete;
    OnDevice& operator=(const OnDevice&) = delete;
    operator T*() const { return at_; }
    std::vector<T> host() const {
        std::vector<T> values(count_);
        EXPECT_EQ(cudaMemcpy(values.data(), at_, count_ * sizeof(T), cudaMemcpyDeviceToHost), cudaSuccess);
        return values;
    }

private:
    T* at_ = nullptr;
    size_t count_;
};

class CudaEmulator : public testing::Test {
protected:
    CudaEmulator() : kept_(emulator::options()) {
        cudaSetDevice(0);
        emulator::reset();
    }
    ~CudaEmulator() override {
        emulator::reset();
        emulator::options() = kept_;
        EXPECT_EQ(emulator::allocatedBytes(), 0u);
    }
    void order(Order order, uint64_t seed = 1) {
        emulator::options().order = order;
        emulator::options().seed = seed;
    }
    /// The body under several orders of threads.
    template <class Body>
    void underAllOrders(Body body) {
        for (const Order each : {Order::Forward, Order::Backward}) {
            order(each);
            body();
        }
        for (uint64_t seed = 1; seed <= 3; ++seed) {
            order(Order::Shuffled, seed);
            body();
        }
    }
    void expectFault(const std::string& part) {
        EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorLaunchFailure);
        EXPECT_NE(emulator::fault().find(part), std::string::npos) << emulator::fault() << "\nexpected: " << part;
        EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorLaunchFailure) << "a fault stays";
        emulator::reset();
        EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    }

private:
    emulator::Options kept_;
};

}  // namespace quantscope::cuda
