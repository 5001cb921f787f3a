// What the files of this folder share: how threads are laid out over rows, and values in pieces of 16 bytes.
#pragma once

#include "cuda/context.cuh"
#include "cuda/portable.cuh"

namespace quantscope::cuda::ops {

inline constexpr uint32_t kThreads = 256;

/// Threads over [rows, columns]: x goes over columns and y over rows, both in steps of the grid. Few of them stand beside the end of a row.
struct RowThreads {
    dim3 grid;
    dim3 block;
    RowThreads(uint64_t rows, uint64_t columns) {
        uint32_t across = 1;
        while (across < columns && across < kThreads) {
            across *= 2;
        }
        while (across > 16 && 8 * (uint64_t{divideUp(columns, across)} * across - columns) > columns) {
            across /= 2;
        }
        const uint32_t down = kThreads / across;
        const uint64_t blocks = (rows + down - 1) / down;
        block = dim3(across, down);
        grid = dim3(divideUp(columns, across), static_cast<unsigned>(blocks < 65535 ? blocks : 65535));
    }
};

/// Division by a number that is known at launch, by one product (Granlund and Montgomery 1994, Figure 4.1).
struct Divisor {
    uint32_t by = 1;
    uint32_t multiplier = 1;
    uint32_t shifts[2] = {0, 0};

    Divisor() = default;
    explicit Divisor(uint64_t divisor) : by(static_cast<uint32_t>(divisor)) {
        uint32_t bits = 0;
        while ((uint64_t{1} << bits) < divisor) {
            ++bits;
        }
        multiplier = static_cast<uint32_t>((((uint64_t{1} << bits) - divisor) << 32) / divisor + 1);
        shifts[0] = bits > 0 ? 1 : 0;
        shifts[1] = bits > 0 ? bits - 1 : 0;
    }
    __device__ uint32_t quotient(uint32_t n) const {
        const uint32_t high = __umulhi(n, multiplier);
        return (high + ((n - high) >> shifts[0])) >> shifts[1];
    }
    /// n becomes the quotient; returns the remainder.
    __device__ uint32_t split(uint32_t& n) const {
        const uint32_t whole = quotient(n);
        const uint32_t rest = n - whole * by;
        n = whole;
        return rest;
    }
};

/// Sizes of all axes but the last one, by which rows are told apart.
struct RowAxes {
    int32_t last;
    Divisor sizes[kMaxAxes];

    RowAxes(int32_t axes, const uint64_t (&from)[kMaxAxes]) : last(axes - 1) {
        for (int32_t axis = 1; axis < last; ++axis) {
            sizes[axis] = Divisor(from[axis]);
        }
    }
    /// Calls visit(axis, index) for the axes of a row from the innermost one.
    template <class Visit>
    __device__ void visit(uint32_t row, Visit visit) const {
        for (int32_t axis = last - 1; axis > 0; --axis) {
            visit(axis, sizes[axis].split(row));
        }
        if (last > 0) {
            visit(0, row);
        }
    }
};

/// Values that are read and written at once: 16 bytes of them, or one.
template <class T, int kCount>
struct alignas(kCount * sizeof(T)) Piece {
    T at[kCount];
};
template <class T>
inline constexpr int kWide = 16 / static_cast<int>(sizeof(T));

template <int kCount, class T>
__device__ inline Piece<T, kCount> loadPiece(const T* from) {
    if constexpr (kCount == 1) {
        return {{*from}};
    } else {
        return load16(reinterpret_cast<const Piece<T, kCount>*>(from));
    }
}
template <class T, int kCount>
__device__ inline void storePiece(T* to, const Piece<T, kCount>& piece) {
    if constexpr (kCount == 1) {
        *to = piece.at[0];
    } else {
        store16(reinterpret_cast<Piece<T, kCount>*>(to), piece);
    }
}

__host__ __device__ inline bool isAligned(const void* at) { return reinterpret_cast<uintptr_t>(at) % 16 == 0; }

/// An element whose type is known at run time.
__device__ inline float valueAt(const void* from, Element element, uint64_t i) {
    return element == Element::F32 ? static_cast<const float*>(from)[i] : toFloat(static_cast<const Bf16*>(from)[i]);
}

/// The product of all sizes but the last. False where a request's axes make no sense or that is 2^32 or more.
inline bool countRows(int32_t axes, const uint64_t (&sizes)[kMaxAxes], uint32_t& rows) {
    uint64_t count = 1;
    for (int32_t i = 0; i + 1 < axes && count <= UINT32_MAX; ++i) {
        count = sizes[i] <= UINT32_MAX ? count * sizes[i] : UINT64_MAX;
    }
    rows = static_cast<uint32_t>(count);
    return axes >= 1 && axes <= kMaxAxes && count <= UINT32_MAX;
}

Status combine(Context* context, const CombineRequest* request);
Status map(Context* context, const MapRequest* request);
Status rowNorm(Context* context, const RowNormRequest* request);
Status groupNorm(Context* context, const GroupNormRequest* request);
Status channelNorm(Context* context, const ChannelNormRequest* request);
Status rope(Context* context, const RopeRequest* request);
Status timestep(Context* context, const TimestepRequest* request);
Status move(Context* context, const MoveRequest* request);
Status resize(Context* context, const ResizeRequest* request);
Status conv(Context* context, const ConvRequest* request);
Status findNonFinite(Context* context, const NonFiniteRequest* request);

}  // namespace quantscope::cuda::ops
