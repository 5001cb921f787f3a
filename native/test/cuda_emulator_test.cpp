// The emulator on kernels that are right, and on kernels with the mistakes that it is there to find.
#include <numeric>
#include <vector>

#include "cuda_emulator_support.h"

namespace quantscope::cuda {
namespace {

/// to[i] = from[n - 1 - i] within blocks, through shared memory.
__global__ void turnRound(const int* from, int* to, bool waits) {
    int* const values = dynamicShared<int>();
    const unsigned at = blockIdx.x * blockDim.x + threadIdx.x;
    values[threadIdx.x] = from[at];
    if (waits) {
        __syncthreads();
    }
    to[at] = values[blockDim.x - 1 - threadIdx.x];
}

std::vector<int> turned(bool waits) {
    std::vector<int> values(3 * 96);
    std::iota(values.begin(), values.end(), 1);
    const OnDevice<int> from(values);
    const OnDevice<int> to(values.size());
    EXPECT_EQ(launch(turnRound, 3, 96, 96 * sizeof(int), nullptr, from, to, waits), cudaSuccess);
    return to.host();
}

TEST_F(CudaEmulator, ThreadsMeetAtBarriers) {
    std::vector<int> expected(3 * 96);
    for (int i = 0; i < 3 * 96; ++i) {
        expected[static_cast<size_t>(i)] = i / 96 * 96 + 96 - i % 96;
    }
    underAllOrders([&] { EXPECT_EQ(turned(true), expected); });
}

TEST_F(CudaEmulator, AMissingBarrierShowsInSomeOrder) {
    const auto right = turned(true);
    int wrong = 0;
    underAllOrders([&] { wrong += turned(false) != right; });
    EXPECT_EQ(wrong, 5) << "half of the threads read what nobody has written, in every order";
}

__global__ void barrierForSome() {
    if (threadIdx.x < 40) {
        __syncthreads();
    }
}

__global__ void twoBarriers() {
    if (threadIdx.x < 32) {
        __syncthreads();
    } else {
        __syncthreads();
    }
}

__global__ void shuffleForSome(float* to) {
    if (threadIdx.x % 2 == 0) {
        to[threadIdx.x] = warpSum(1.0f);
    }
}

__global__ void shuffleInHalfAWarp(float* to) { to[threadIdx.x] = warpSum(1.0f); }

TEST_F(CudaEmulator, DivergentBarriersAndCollectivesEndWithAMessage) {
    const OnDevice<float> to(64);
    underAllOrders([&] {
        EXPECT_EQ(launch(barrierForSome, 1, 64, 0, nullptr), cudaSuccess);
        expectFault("24 have returned; 40 wait in a block barrier at cuda_emulator_test.cpp");
        launch(twoBarriers, 1, 64, 0, nullptr);
        expectFault("comes to a barrier while others of its block wait at another one");
        launch(shuffleForSome, 1, 64, 0, nullptr, to);
        expectFault("32 wait in __shfl_xor_sync");
        launch(shuffleInHalfAWarp, 1, 48, 0, nullptr, to);
        expectFault("waits in __shfl_xor_sync for lanes that its block of 48 threads does not have");
    });
}

__global__ void writesBehind(int extra) { dynamicShared<int>()[threadIdx.x + static_cast<unsigned>(extra)] = 1; }

__global__ void crookedLoad(const float* from, float* to) { to[threadIdx.x] = load16(reinterpret_cast<const float4*>(from + threadIdx.x)).x; }

__global__ void loadsBehind(const float4* from, float* to) { to[threadIdx.x] = load16(from + threadIdx.x).x; }

__global__ void writesBehindAllocation(float* to) { to[threadIdx.x] = 0; }

TEST_F(CudaEmulator, BoundsAndAlignmentAreChecked) {
    launch(writesBehind, 1, 32, 32 * sizeof(int), nullptr, 0);
    EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    launch(writesBehind, 1, 32, 32 * sizeof(int), nullptr, 1);
    expectFault("writes outside of its 128 bytes of dynamic shared memory");
    const OnDevice<float> from(64);
    const OnDevice<float> to(64);
    launch(crookedLoad, 1, 32, 0, nullptr, from, to);
    expectFault("not aligned to 16");
    launch(loadsBehind, 1, 32, 0, nullptr, reinterpret_cast<const float4*>(static_cast<float*>(from)), to);
    expectFault("thread (16, 0, 0) addresses 16 bytes outside of every allocation");
    float* small = nullptr;
    ASSERT_EQ(cudaMalloc(&small, 31 * sizeof(float)), cudaSuccess);
    launch(writesBehindAllocation, 1, 32, 0, nullptr, small);
    EXPECT_EQ(cudaFree(small), cudaErrorIllegalAddress);
    EXPECT_NE(emulator::fault().find("written next to an allocation of 124 bytes"), std::string::npos);
}

__global__ void asynchronous(const float4* from, float* to, bool waits, bool meets) {
    float4* const tile = dynamicShared<float4>();
    copyAsync16(tile + threadIdx.x, from + threadIdx.x, threadIdx.x == 5 ? 8 : 16);
    commitCopies();
    copyAsync16(tile + 64 + threadIdx.x, from + threadIdx.x);
    commitCopies();
    waits ? waitCopies<1>() : waitCopies<2>();
    if (meets) {
        __syncthreads();
    }
    to[threadIdx.x] = tile[63 - threadIdx.x].z;
}

TEST_F(CudaEmulator, AsynchronousCopiesArriveWhenTheyAreWaitedFor) {
    std::vector<float> values(64 * 4);
    std::iota(values.begin(), values.end(), 0.0f);
    const OnDevice<float> from(values);
    const OnDevice<float> to(64);
    const auto run = [&](bool waits, bool meets) {
        launch(asynchronous, 1, 64, 128 * sizeof(float4), nullptr, reinterpret_cast<const float4*>(static_cast<float*>(from)), to, waits, meets);
        return to.host();
    };
    underAllOrders([&] {
        std::vector<float> expected(64);
        for (size_t i = 0; i < 64; ++i) {
            expected[i] = i == 63 - 5 ? 0.0f : values[(63 - i) * 4 + 2];
        }
        EXPECT_EQ(run(true, true), expected);
        const auto early = run(false, true);
        EXPECT_TRUE(std::all_of(early.begin(), early.end(), [](float value) { return value != value; })) << "nothing has arrived";
        EXPECT_NE(run(true, false), expected) << "others' copies need a barrier";
    });
}

__global__ void garbage(float* to) {
    QUANTSCOPE_SHARED(float, fixed, [2][32]);
    to[threadIdx.x] = threadIdx.x % 2 == 0 ? fixed[1][threadIdx.x] : dynamicShared<float>()[threadIdx.x];
    __syncthreads();
    fixed[0][threadIdx.x] = fixed[1][threadIdx.x] = 1;
}

TEST_F(CudaEmulator, MemoryStartsAsNaN) {
    const OnDevice<float> to(32);
    launch(garbage, 5, 32, 32 * sizeof(float), nullptr, to);
    for (const auto& values : {to.host(), OnDevice<float>(32).host()}) {
        EXPECT_TRUE(std::all_of(values.begin(), values.end(), [](float value) { return value != value; }));
    }
}

__global__ void addOne(int* at) { ++*at; }

TEST_F(CudaEmulator, StreamsRunWhenSomebodyWaits) {
    const OnDevice<int> at(std::vector<int>{1});
    cudaStream_t first, second;
    ASSERT_EQ(cudaStreamCreateWithFlags(&first, cudaStreamNonBlocking), cudaSuccess);
    ASSERT_EQ(cudaStreamCreateWithFlags(&second, cudaStreamNonBlocking), cudaSuccess);
    cudaEvent_t event;
    ASSERT_EQ(cudaEventCreate(&event), cudaSuccess);
    int result = -1;
    launch(addOne, 1, 1, 0, first, at);
    cudaMemcpyAsync(&result, at, sizeof result, cudaMemcpyDeviceToHost, second);
    cudaStreamSynchronize(second);
    EXPECT_EQ(result, 1) << "nobody has waited for the first stream";
    EXPECT_EQ(cudaEventRecord(event, first), cudaSuccess);
    cudaStreamWaitEvent(second, event);
    cudaMemcpyAsync(&result, at, sizeof result, cudaMemcpyDeviceToHost, second);
    EXPECT_EQ(result, 1);
    cudaStreamSynchronize(second);
    EXPECT_EQ(result, 2);
    cudaEventDestroy(event);
    cudaStreamDestroy(first);
    cudaStreamDestroy(second);
}

TEST_F(CudaEmulator, MemoryEnds) {
    emulator::options().memory = 1000;
    const OnDevice<char> most(900);
    void* more = nullptr;
    EXPECT_EQ(cudaMalloc(&more, 101), cudaErrorMemoryAllocation);
    EXPECT_EQ(cudaGetLastError(), cudaErrorMemoryAllocation);
    EXPECT_EQ(cudaGetLastError(), cudaSuccess);
    EXPECT_EQ(cudaMalloc(&more, 100), cudaSuccess);
    EXPECT_EQ(cudaFree(more), cudaSuccess);
    int host = 0;
    EXPECT_EQ(cudaMemcpy(&host, &host, sizeof host, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
    EXPECT_EQ(launch(addOne, 1, 1, 0, nullptr, &host), cudaErrorInvalidDevicePointer);
    EXPECT_EQ(launch(addOne, 1, 2048, 0, nullptr, static_cast<int*>(nullptr)), cudaErrorInvalidConfiguration);
}

}  // namespace
}  // namespace quantscope::cuda
