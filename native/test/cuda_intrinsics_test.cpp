// Tensor cores, matrix loads, shuffles and byte products as the emulator lays them out over lanes, against plain ones.
#include <cmath>
#include <numeric>
#include <vector>

#include "cuda_emulator_support.h"
#include "support.h"

namespace quantscope::cuda {
namespace {

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

/// As the others: a [16][8], w [8][8], of bfloat16 (pairs) or float32.
__global__ void productsOfEight(const uint32_t* halves, const uint32_t* halfW, const uint32_t* a, const uint32_t* w, float* d) {
    const unsigned g = threadIdx.x / 4, t = threadIdx.x % 4;
    float sums[2][4] = {};
    mmaBf16Half(sums[0], halves[g * 4 + t], halves[(g + 8) * 4 + t], halfW[g * 4 + t]);
    const uint32_t fa[4] = {a[g * 8 + t], a[(g + 8) * 8 + t], a[g * 8 + 4 + t], a[(g + 8) * 8 + 4 + t]};
    const uint32_t fb[2] = {w[g * 8 + t], w[g * 8 + 4 + t]};
    mmaTf32(sums[1], fa, fb);
    for (unsigned i = 0; i < 8; ++i) {
        d[i / 4 * 128 + (g + i % 4 / 2 * 8) * 8 + 2 * t + i % 2] = sums[i / 4][i % 4];
    }
}

TEST_F(CudaEmulator, TensorCoresMultiplyEightInputs) {
    test::Gaussian random(4);
    const auto a = random.floats(16 * 8);
    const auto w = random.floats(8 * 8);
    const auto bits = [](const std::vector<float>& values, bool pairs) {
        std::vector<uint32_t> result(pairs ? values.size() / 2 : values.size());
        for (size_t i = 0; i < values.size(); ++i) {
            result[pairs ? i / 2 : i] |= pairs ? static_cast<uint32_t>(bf16Of(values[i])) << (i % 2 * 16) : std::bit_cast<uint32_t>(values[i]);
        }
        return result;
    };
    const OnDevice<float> d(2 * 16 * 8);
    launch(productsOfEight, 1, 32, 0, nullptr, OnDevice<uint32_t>(bits(a, true)), OnDevice<uint32_t>(bits(w, true)), OnDevice<uint32_t>(bits(a, false)),
           OnDevice<uint32_t>(bits(w, false)), d);
    const auto result = d.host();
    const auto leading = [](float value) { return double(std::bit_cast<float>(std::bit_cast<uint32_t>(value) & 0xffffe000u)); };
    for (size_t i = 0; i < 16; ++i) {
        for (size_t j = 0; j < 8; ++j) {
            double halves = 0;
            double leads = 0;
            for (size_t k = 0; k < 8; ++k) {
                halves += double(floatOfBf16(bf16Of(a[i * 8 + k]))) * double(floatOfBf16(bf16Of(w[j * 8 + k])));
                leads += leading(a[i * 8 + k]) * leading(w[j * 8 + k]);
            }
            EXPECT_NEAR(result[i * 8 + j], halves, 1e-5);
            EXPECT_NEAR(result[128 + i * 8 + j], leads, 1e-5);
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

TEST(CudaEmulatorConversions, PairsOfBfloat16AreTwoThatStandBesideEachOther) {
    EXPECT_EQ(bf16PairOf(1.0f, -2.0f), 0xc0003f80u);
    EXPECT_EQ(bf16PairOf(NAN, 1.0f + 3 * 0x1p-8f), 0x3f827fffu);
}

TEST(CudaEmulatorConversions, Saturation) {
    EXPECT_EQ(__saturatef(0.25f), 0.25f);
    EXPECT_EQ(__saturatef(-INFINITY), 0.0f);
    EXPECT_EQ(__saturatef(1.5f), 1.0f);
    EXPECT_EQ(__saturatef(NAN), 0.0f);
}

TEST(CudaEmulatorConversions, PowersOfTwo) {
    EXPECT_EQ(exp2Approximate(3.0f), 8.0f);
    EXPECT_NEAR(exp2Approximate(0.5f), 1.41421356f, 1e-6);
    EXPECT_EQ(exp2Approximate(-126.0f), 0x1p-126f);
    EXPECT_EQ(exp2Approximate(-126.5f), 0.0f);
    EXPECT_EQ(exp2Approximate(-INFINITY), 0.0f);
    EXPECT_EQ(exp2Approximate(200.0f), INFINITY);
    EXPECT_TRUE(std::isnan(exp2Approximate(NAN)));
}

__global__ void transposed(const uint4* rows, uint32_t* four, uint32_t* two) {
    QUANTSCOPE_SHARED(uint4, shared, [32]);
    shared[threadIdx.x] = load16(rows + threadIdx.x);
    __syncwarp();
    uint32_t a[4], b[2];
    loadMatrices4Transposed(a, shared + threadIdx.x);
    loadMatrices2Transposed(b, shared + threadIdx.x % 16);
    for (unsigned m = 0; m < 4; ++m) {
        four[m * 32 + threadIdx.x] = a[m];
    }
    for (unsigned m = 0; m < 2; ++m) {
        two[m * 32 + threadIdx.x] = b[m];
    }
}

TEST_F(CudaEmulator, MatricesAreTransposedOnTheWay) {
    std::vector<uint16_t> elements(4 * 64);  // matrix, row, column
    std::iota(elements.begin(), elements.end(), uint16_t{0});
    underAllOrders([&] {
        const OnDevice<uint16_t> rows(elements);
        const OnDevice<uint32_t> four(4 * 32), two(2 * 32);
        launch(transposed, 1, 32, 0, nullptr, reinterpret_cast<const uint4*>(static_cast<uint16_t*>(rows)), four, two);
        std::vector<uint32_t> expected(4 * 32);
        for (uint32_t i = 0; i < 4 * 32; ++i) {
            const uint32_t column = i % 32 / 4, row = i % 4 * 2;
            const uint32_t first = i / 32 * 64 + row * 8 + column;
            expected[i] = (first + 8) << 16 | first;
        }
        EXPECT_EQ(four.host(), expected);
        expected.resize(2 * 32);
        EXPECT_EQ(two.host(), expected);
    });
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
    EXPECT_EQ(__dp2a_lo(0xffff0003u, 0x55550208u, 7u), 7u + 3 * 8 + 0xffffu * 2);
    EXPECT_EQ(__funnelshift_l(0x80000001u, 0x12345678u, 4), 0x23456788u);
    EXPECT_EQ(__funnelshift_l(1, 0x12345678u, 0), 0x12345678u);
    EXPECT_EQ(__dp4a(static_cast<int>(0xff02fe7fu), 0x01020304, 5), 5 - 1 + 4 - 6 + 508);
}

}  // namespace
}  // namespace quantscope::cuda
