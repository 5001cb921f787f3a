// Rotated values to codes, and the codes to memory: a run of neighbours of one lane at a time.
#pragma once

#include "cuda/linear/levels.cuh"
#include "cuda/rotate/tile.cuh"

namespace quantscope::cuda::tiles {

inline constexpr uint32_t kCells = kWarpLanes;  ///< of a codebook's range, none with more than one threshold
inline constexpr float kWholeNumbers = 0x1p23f;  ///< added to a float between 0 and this, it leaves the nearest integer in the lowest bits
inline constexpr uint32_t kWholeBits = 0x4B000000u;

/// A codebook's cells. A value that is y of the range above its lower end belongs to cell round(y (kCells - 1)), and its code are the highest bits of that
/// cell's entry plus the bits of 1 + y. Returns the range's share that a standard deviation is.
__device__ inline float findCells(const RotateRequest& request, uint32_t* table) {
    const uint32_t levels = 1u << (request.bits - 1);
    const float range = levels > 1 ? request.thresholds[levels - 2] * 1.0625f : 1.0f;
    const uint32_t code = 1u << (32 - request.bits);
    const auto sumAt = [&](uint32_t i) {  // 1 + y at threshold i of all
        const float magnitude = i == levels - 1 ? 0.0f : request.thresholds[i < levels - 1 ? levels - 2 - i : i - levels];
        return 1.5f + (i < levels - 1 ? -magnitude : magnitude) * (0.5f / range);
    };
    const uint32_t lane = threadIdx.x % kWarpLanes;
    const float begin = 1.0f + (static_cast<float>(lane) - 0.5f) / (kCells - 1);
    uint32_t below = 0;
    while (below < 2 * levels - 1 && sumAt(below) < begin) {
        ++below;
    }
    const float threshold = below < 2 * levels - 1 ? sumAt(below) : 4.0f;
    const bool inside = threshold < begin + 1.0f / (kCells - 1);
    const uint32_t own = inside ? (below + 1) * code - __float_as_uint(threshold) : below * code + code / 2 - 0x3F800000u;
    for (uint32_t cell = threadIdx.x / kWarpLanes; cell < kCells; cell += blockDim.x / kWarpLanes) {
        table[cell * kWarpLanes + lane] = __shfl_sync(kFullWarp, own, static_cast<int>(cell));
    }
    return 0.5f / range;
}

__device__ inline float stored(Stored type, float scale) {
    return type == Stored::Fp16 ? toFloat(fromFloat<Half>(fminf(scale, 65504.0f))) : type == Stored::Bf16 ? toFloat(fromFloat<Bf16>(fminf(scale, 0x1.FEp127f)))
                                  : fminf(scale, 0x1.FFFFFEp127f);
}

/// Scale and lowest step of integers whose largest magnitude, rotated but for a.unit, is known, and what they are coded by (`scale` and `offset` of a state).
struct Steps {
    float side;
    float lowest;
    float scale;
    float offset;
};
__device__ inline Steps stepsOf(const Arguments& a, float largest, const RowState& state) {
    if (!(state.offset == 1.0f)) {  // zeros, or not finite: then both sides are NaN
        return {state.offset, state.offset, 0.0f, 0.0f};
    }
    const float side = stored(a.request.stored, largest * a.unit * a.toStep * state.back);
    const float whole = side * state.scale * a.steps;
    if (!(whole > 0)) {
        return {0.0f, 0.0f, 0.0f, 0.0f};
    }
    // unit / whole, nearly rounded to nearest, without the cases that a division looks after.
    const float inverse = __fdividef(1.0f, whole);
    const float scale = a.unit * inverse;
    return {side, -a.half, fmaf(fmaf(-whole, scale, a.unit), inverse, scale), a.middle};
}

__device__ inline void writeSides(const Arguments& a, uint64_t group, const Steps& steps) {
    a.request.sides[2 * group] = steps.side;
    a.request.sides[2 * group + 1] = steps.lowest;
}

/// The largest magnitude of a lane's run and of those beside it, as far as `values` reach, the same in all lanes that have them.
template <uint32_t kRun, bool kJoined>
__device__ inline float largestOf(const float* run, bool there, uint32_t values) {
    float largest = 0;
#pragma unroll
    for (uint32_t i = 0; i < kRun; ++i) {
        largest = fmaxf(largest, fabsf(run[i]));
    }
    largest = there ? largest : 0.0f;
#pragma unroll
    for (int step = 0; step < (kJoined ? 5 : 3); ++step) {  // lanes 4 g + t have runs g, behind them, if joined, t: Places::run()
        if (kRun << step < values) {
            largest = fmaxf(largest, __shfl_xor_sync(kFullWarp, largest, step < 3 ? 4 << step : 1 << (step - 3)));
        }
    }
    return largest;
}

/// Eight codes that stand in the highest `bits` bits of each.
__device__ inline uint32_t packHighest(const uint32_t (&codes)[8], int bits) {
    uint32_t word = 0;
#pragma unroll
    for (int i = 7; i >= 0; --i) {
        word = __funnelshift_l(codes[i], word, static_cast<unsigned>(bits));
    }
    return word;
}

/// Words of a run, `bytes` of each, to where they belong.
template <uint32_t kWords>
__device__ inline void writeRun(uint8_t* to, const uint32_t (&words)[kWords], uint32_t bytes) {
    if (bytes == 4) {
        if constexpr (kWords % 4 == 0) {
#pragma unroll
            for (uint32_t i = 0; i < kWords; i += 4) {
                store16(reinterpret_cast<uint4*>(to) + i / 4, make_uint4(words[i], words[i + 1], words[i + 2], words[i + 3]));
            }
        } else if constexpr (kWords == 2) {
            *reinterpret_cast<uint2*>(to) = make_uint2(words[0], words[1]);
        } else {
            static_assert(kWords == 1);
            *reinterpret_cast<uint32_t*>(to) = words[0];
        }
        return;
    }
#pragma unroll
    for (uint32_t i = 0; i < kWords; ++i) {
        for (uint32_t byte = 0; byte < bytes; ++byte) {
            to[i * bytes + byte] = static_cast<uint8_t>(words[i] >> 8 * byte);
        }
    }
}

/// The same of codes of 4 bits as the bytes that they stand for. Pieces of 32 begin at such multiples in memory.
template <uint32_t kWords>
__device__ inline void writeLevels(const Arguments& a, uint8_t* to, const uint32_t (&words)[kWords]) {
    const bool halves = a.order == Order::Halves;
    if constexpr (kWords % 4 == 0) {
#pragma unroll
        for (uint32_t i = 0; i < kWords; i += 4) {
            const uint2 p = levelsOf(words[i], a.levels), q = levelsOf(words[i + 1], a.levels);
            const uint2 r = levelsOf(words[i + 2], a.levels), s = levelsOf(words[i + 3], a.levels);
            store16(reinterpret_cast<uint4*>(to) + i / 2, halves ? make_uint4(p.x, q.x, r.x, s.x) : make_uint4(p.x, p.y, q.x, q.y));
            store16(reinterpret_cast<uint4*>(to) + i / 2 + 1, halves ? make_uint4(p.y, q.y, r.y, s.y) : make_uint4(r.x, r.y, s.x, s.y));
        }
    } else {
#pragma unroll
        for (uint32_t i = 0; i < kWords; ++i) {
            const auto within = static_cast<uint32_t>(reinterpret_cast<uintptr_t>(to + 8 * i) % 32);
            const uint2 levels = levelsOf(words[i], a.levels);
            auto* const at = reinterpret_cast<uint32_t*>(to + 8 * i - (halves ? within / 2 : 0));
            at[0] = levels.x;
            at[halves ? 4 : 1] = levels.y;
        }
    }
}

template <uint32_t kWords>
__device__ inline void writeCodes(const Arguments& a, uint8_t* to, const uint32_t (&words)[kWords], uint32_t bytes) {
    if (a.order == Order::Packed) {
        writeRun(to, words, bytes);
    } else {
        writeLevels(a, to, words);
    }
}

template <uint32_t kRun>
__device__ inline void codeRun(const Arguments& a, const Shared& shared, const float* v, const RowState& state, uint8_t* to, bool writes) {
    const SharedArray<uint32_t> entries(shared.table + threadIdx.x % kWarpLanes, kWholeBits * (kWarpLanes * 4));
    uint32_t words[kRun / 8];
#pragma unroll
    for (uint32_t i = 0; i < kRun; i += 8) {
        uint32_t codes[8];
#pragma unroll
        for (uint32_t e = 0; e < 8; ++e) {
            const float y = __saturatef(fmaf(v[i + e], state.scale, state.offset));
            const uint32_t cell = __float_as_uint(fmaf(y, kCells - 1, kWholeNumbers));
            codes[e] = __float_as_uint(1.0f + y) + entries.at(cell * (kWarpLanes * 4));
        }
        words[i / 8] = packHighest(codes, a.request.bits);
    }
    if (writes) {
        writeCodes(a, to, words, static_cast<uint32_t>(a.request.bits));
    }
}

template <uint32_t kRun>
__device__ inline void roundRun(const Arguments& a, const float* v, float scale, float offset, uint8_t* to, bool writes) {
    uint32_t codes[kRun];
#pragma unroll
    for (uint32_t i = 0; i < kRun; ++i) {
        codes[i] = __float_as_uint(fmaf(__saturatef(fmaf(v[i], scale, offset)), a.steps, kWholeNumbers));
    }
    if (a.request.bits == 4) {
        uint32_t words[kRun / 8];
#pragma unroll
        for (uint32_t i = 0; i < kRun; i += 8) {
            uint32_t word = codes[i + 7];
#pragma unroll
            for (int e = 6; e >= 0; --e) {
                word = word * 16 + codes[i + e];
            }
            words[i / 8] = word - kWholeBits * 17;  // what is above the codes: of the two lowest, the others' is shifted out
        }
        if (writes) {
            writeCodes(a, to, words, 4);
        }
    } else {
        uint32_t words[kRun / 4];
#pragma unroll
        for (uint32_t i = 0; i < kRun; i += 4) {
            words[i / 4] = __byte_perm(__byte_perm(codes[i], codes[i + 1], 0x0040), __byte_perm(codes[i + 2], codes[i + 3], 0x0040), 0x5410);
        }
        if (writes) {
            writeRun(to, words, 4);
        }
    }
}

}  // namespace quantscope::cuda::tiles
