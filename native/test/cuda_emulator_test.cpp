// The emulator on kernels that are right, and on kernels with the mistakes that it is there to find.
#include <gtest/gtest.h>

#include <numeric>
#include <string>
#include <vector>

#include "cuda/portable.cuh"
#include "emulator.h"
#include "support.h"

namespace quantscope::cuda {
namespace {

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
    CudaEmulator() : kept_(emulator::options()) { emulator::reset(); }
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

// Products of whole matrices, from row-major operands: a [16][k], w [8][k], both as packed integers.
__global__ void productS8(const uint32_t* a, const uint32_t* w, int* d, bool isUnsigned) {
    const unsigned g = threadIdx.x / 4, t = threadIdx.x % 4;
    const uint32_t fa[4] = {a[g * 8 + t], a[(g + 8) * 8 + t], a[g * 8 + 4 + t], a[(g + 8) * 8 + 4 + t]};
    const uint32_t fb[2] = {w[g * 8 + t], w[g * 8 + 4 + t]};
    int sums[4] = {};
    isUnsigned ? mmaU8S8(sums, fa, fb) : mmaS8(sums, fa, fb);
    for (unsigned i = 0; i < 4; ++i) {
        d[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = sums[i];
    }
}

__global__ void productS4(const uint32_t* a, const uint32_t* w, int* d) {
    const unsigned g = threadIdx.x / 4, t = threadIdx.x % 4;
    const uint32_t fa[4] = {a[g * 8 + t], a[(g + 8) * 8 + t], a[g * 8 + 4 + t], a[(g + 8) * 8 + 4 + t]};
    const uint32_t fb[2] = {w[g * 8 + t], w[g * 8 + 4 + t]};
    int sums[4] = {};
    mmaS4(sums, fa, fb);
    for (unsigned i = 0; i < 4; ++i) {
        d[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = sums[i];
    }
}

/// The same of bytes, with fragments from ldmatrix: a [16][32], w [8][32].
__global__ void productByMatrices(const uint4* a, const uint4* w, int* d) {
    QUANTSCOPE_SHARED(uint4, rows, [48]);
    rows[threadIdx.x] = load16(a + threadIdx.x);
    if (threadIdx.x < 16) {
        rows[32 + threadIdx.x] = load16(w + threadIdx.x);
    }
    __syncwarp();
    const unsigned lane = threadIdx.x, g = lane / 4, t = lane % 4;
    uint32_t fa[4], fb[2];
    loadMatrices4(fa, rows + (lane % 16) * 2 + lane / 16);
    loadMatrices2(fb, rows + 32 + (lane % 8) * 2 + lane / 8 % 2);
    int sums[4] = {};
    mmaS8(sums, fa, fb);
    for (unsigned i = 0; i < 4; ++i) {
        d[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = sums[i];
    }
}

std::vector<int> plainProduct(const std::vector<int>& a, const std::vector<int>& w, size_t depth) {
    std::vector<int> d(16 * 8);
    for (size_t i = 0; i < 16; ++i) {
        for (size_t j = 0; j < 8; ++j) {
            for (size_t k = 0; k < depth; ++k) {
                d[i * 8 + j] += a[i * depth + k] * w[j * depth + k];
            }
        }
    }
    return d;
}

/// Integers of `bits` bits, packed low first.
std::vector<uint32_t> packed(const std::vector<int>& values, unsigned bits) {
    std::vector<uint32_t> words(values.size() * bits / 32);
    for (size_t i = 0; i < values.size(); ++i) {
        words[i * bits / 32] |= (static_cast<uint32_t>(values[i]) & ((1u << bits) - 1)) << (i * bits % 32);
    }
    return words;
}

TEST_F(CudaEmulator, TensorCoresMultiply) {
    SplitMix64 random(7);
    const auto integers = [&](size_t count, int least, int greatest) {
        std::vector<int> values(count);
        for (int& value : values) {
            value = least + static_cast<int>(random.uniform() * (greatest - least + 1));
        }
        return values;
    };
    underAllOrders([&] {
        const OnDevice<int> d(16 * 8);
        const auto w = integers(8 * 32, -128, 127);
        const OnDevice<uint32_t> wPacked(packed(w, 8));
        for (const bool isUnsigned : {false, true}) {
            const auto a = integers(16 * 32, isUnsigned ? 0 : -128, isUnsigned ? 255 : 127);
            const OnDevice<uint32_t> aPacked(packed(a, 8));
            launch(productS8, 1, 32, 0, nullptr, aPacked, wPacked, d, isUnsigned);
            EXPECT_EQ(d.host(), plainProduct(a, w, 32));
            if (!isUnsigned) {
                const auto asVectors = [](const OnDevice<uint32_t>& of) { return reinterpret_cast<const uint4*>(static_cast<uint32_t*>(of)); };
                launch(productByMatrices, 1, 32, 0, nullptr, asVectors(aPacked), asVectors(wPacked), d);
                EXPECT_EQ(d.host(), plainProduct(a, w, 32));
            }
        }
        const auto a4 = integers(16 * 64, -8, 7);
        const auto w4 = integers(8 * 64, -8, 7);
        launch(productS4, 1, 32, 0, nullptr, OnDevice<uint32_t>(packed(a4, 4)), OnDevice<uint32_t>(packed(w4, 4)), d);
        EXPECT_EQ(d.host(), plainProduct(a4, w4, 64));
    });
}

__global__ void productBf16(const uint32_t* a, const uint32_t* w, float* d) {
    const unsigned g = threadIdx.x / 4, t = threadIdx.x % 4;
    const uint32_t fa[4] = {a[g * 8 + t], a[(g + 8) * 8 + t], a[g * 8 + 4 + t], a[(g + 8) * 8 + 4 + t]};
    const uint32_t fb[2] = {w[g * 8 + t], w[g * 8 + 4 + t]};
    float sums[4] = {};
    mmaBf16(sums, fa, fb);
    for (unsigned i = 0; i < 4; ++i) {
        d[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = sums[i];
    }
}

TEST_F(CudaEmulator, TensorCoresMultiplyBfloat16) {
    test::Gaussian random(3);
    const auto words = [](const std::vector<float>& values) {
        std::vector<uint32_t> result(values.size() / 2);
        for (size_t i = 0; i < values.size(); ++i) {
            result[i / 2] |= static_cast<uint32_t>(bf16Of(values[i])) << (i % 2 * 16);
        }
        return result;
    };
    const auto a = random.floats(16 * 16);
    const auto w = random.floats(8 * 16);
    const OnDevice<float> d(16 * 8);
    launch(productBf16, 1, 32, 0, nullptr, OnDevice<uint32_t>(words(a)), OnDevice<uint32_t>(words(w)), d);
    const auto result = d.host();
    for (size_t i = 0; i < 16; ++i) {
        for (size_t j = 0; j < 8; ++j) {
            double sum = 0;
            for (size_t k = 0; k < 16; ++k) {
                sum += double(floatOfBf16(bf16Of(a[i * 16 + k]))) * double(floatOfBf16(bf16Of(w[j * 16 + k])));
            }
            EXPECT_NEAR(result[i * 8 + j], sum, 1e-5);
        }
    }
}

TEST(CudaEmulatorConversions, HalfAndBfloat16RoundToNearestEven) {
    for (uint32_t bits = 0; bits < 65536; ++bits) {
        const auto each = static_cast<uint16_t>(bits);
        if (const float value = floatOfHalf(each); value == value) {
            EXPECT_EQ(halfOf(value), each);
        }
        if (const float value = floatOfBf16(each); value == value) {
            EXPECT_EQ(bf16Of(value), each);
        }
    }
    EXPECT_EQ(halfOf(1.0f + 0x1p-11f), 0x3c00);       // half a step above 1: down to even
    EXPECT_EQ(halfOf(1.0f + 3 * 0x1p-11f), 0x3c02);   // up to even
    EXPECT_EQ(halfOf(65519.0f), 0x7bff);
    EXPECT_EQ(halfOf(65520.0f), 0x7c00);
    EXPECT_EQ(halfOf(-0x1p-25f), 0x8000);
    EXPECT_EQ(halfOf(3 * 0x1p-25f), 0x0002);
    EXPECT_EQ(bf16Of(1.0f + 0x1p-8f), 0x3f80);
    EXPECT_EQ(bf16Of(1.0f + 3 * 0x1p-8f), 0x3f82);
}

__global__ void votes(unsigned* to) {
    const unsigned lane = threadIdx.x;
    to[lane] = __ballot_sync(kFullWarp, lane % 3 == 0);
    to[32 + lane] = __shfl_down_sync(kFullWarp, lane, 4, 8);
    to[64 + lane] = __shfl_up_sync(kFullWarp, lane, 4, 8);
    to[96 + lane] = __shfl_sync(kFullWarp, lane, 9, 8);
    to[128 + lane] = lane < 16 ? __shfl_xor_sync(0xffffu, lane, 5, 16) : 99u;
    to[160 + lane] = static_cast<unsigned>(__syncthreads_count(lane < 7));
    atomicAdd(to + 192, lane);
}

TEST_F(CudaEmulator, ShufflesAndVotes) {
    underAllOrders([&] {
        std::vector<unsigned> expected(193);
        for (unsigned lane = 0; lane < 32; ++lane) {
            expected[lane] = 0b01001001001001001001001001001001u;
            expected[32 + lane] = lane % 8 < 4 ? lane + 4 : lane;
            expected[64 + lane] = lane % 8 >= 4 ? lane - 4 : lane;
            expected[96 + lane] = lane / 8 * 8 + 1;
            expected[128 + lane] = lane < 16 ? lane ^ 5 : 99;
            expected[160 + lane] = 7;
        }
        expected[192] = 496;
        const OnDevice<unsigned> to(std::vector<unsigned>(193, 0));
        launch(votes, 1, 32, 0, nullptr, to);
        EXPECT_EQ(to.host(), expected);
    });
}

TEST(CudaEmulatorBytes, AnyFourBytesOfEight) {
    EXPECT_EQ(__byte_perm(0x33221100u, 0x77665544u, 0x7340u), 0x77334400u);
    EXPECT_EQ(__byte_perm(0x80221100u, 0x7f665544u, 0xfb10u), 0x00ff1100u);
    EXPECT_EQ(__dp4a(static_cast<int>(0xff02fe7fu), 0x01020304, 5), 5 - 1 + 4 - 6 + 508);
}

}  // namespace
}  // namespace quantscope::cuda
