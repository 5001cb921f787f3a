// The Cholesky factor of second moments and GPTQ's sweep on the device, in float64 like solver/ on the processor.
//
// With H = R Rᵀ in reversed order, columns are decided from the last to the first and no inverse is needed (solver/feedback.h). The factor is made
// kBlock columns at a time: the corner by one block of threads, the rows below it by forward substitution, and what is left by a product.
#include <algorithm>

#include "cuda/context.cuh"
#include "cuda/linear/plain.cuh"
#include "cuda/solver/moments.h"

namespace quantscope::cuda {

namespace {

constexpr unsigned kThreads = 256;
constexpr int kBlock = 64;               // columns decided or factored between two products
constexpr int kPitch = kBlock + 1;
constexpr uint64_t kArrangeRows = 64;    // of blocks, each of which takes every 64th row

// ---- the factor ----

/// The lower triangle of the matrix to factor: both triangles' mean in the factor's order, dead coordinates alone with the mean diagonal.
__global__ void arrange(FactorRequest r) {
    const uint64_t j = static_cast<uint64_t>(blockIdx.x) * kThreads + threadIdx.x;
    for (uint64_t i = blockIdx.y; i < r.size; i += gridDim.y) {
        if (j > i) {
            continue;
        }
        const uint64_t row = r.order[i];
        const uint64_t column = r.order[j];
        double value;
        if (i == j) {
            value = (r.dead[row] != 0 ? r.meanDiagonal : static_cast<double>(r.moments[row * r.stride + row])) + r.damping;
        } else {
            const double both = static_cast<double>(r.moments[row * r.stride + column]) + static_cast<double>(r.moments[column * r.stride + row]);
            if (!(fabs(both) < HUGE_VAL)) {
                *r.state = kNotFinite;
            }
            value = r.dead[row] != 0 || r.dead[column] != 0 ? 0.0 : both / 2;
        }
        r.lower[i * r.size + j] = value;
    }
}

/// Cholesky of a corner of at most kBlock columns, by one block of threads.
__global__ void factorCorner(double* corner, uint64_t stride, int width, int32_t* state) {
    QUANTSCOPE_SHARED(double, a, [kBlock * kPitch]);
    for (int i = static_cast<int>(threadIdx.x); i < width * width; i += kThreads) {
        if (i % width <= i / width) {
            a[i / width * kPitch + i % width] = corner[static_cast<uint64_t>(i / width) * stride + static_cast<uint64_t>(i % width)];
        }
    }
    __syncthreads();
    for (int c = 0; c < width; ++c) {
        if (threadIdx.x == 0) {
            double pivot = a[c * kPitch + c];
            if (!(pivot > 0) || !(pivot < HUGE_VAL)) {
                if (*state == kFactored) {
                    *state = kNotPositive;
                }
                pivot = 1;  // what follows is of no use, but ends
            }
            a[c * kPitch + c] = sqrt(pivot);
        }
        __syncthreads();
        for (int r = c + 1 + static_cast<int>(threadIdx.x); r < width; r += kThreads) {
            a[r * kPitch + c] /= a[c * kPitch + c];
        }
        __syncthreads();
        const int rest = width - c - 1;
        for (int i = static_cast<int>(threadIdx.x); i < rest * rest; i += kThreads) {
            const int row = c + 1 + i / rest;
            const int column = c + 1 + i % rest;
            if (column <= row) {
                a[row * kPitch + column] -= a[row * kPitch + c] * a[column * kPitch + c];
            }
        }
        __syncthreads();
    }
    for (int i = static_cast<int>(threadIdx.x); i < width * width; i += kThreads) {
        if (i % width <= i / width) {
            corner[static_cast<uint64_t>(i / width) * stride + static_cast<uint64_t>(i % width)] = a[i / width * kPitch + i % width];
        }
    }
}

/// x := x L⁻ᵀ for kBlock rows below the corner L of kBlock columns: a thread for each row.
__global__ void solveRows(const double* corner, double* x, uint64_t stride, uint64_t rows) {
    double* const lower = dynamicShared<double>();
    double* const mine = lower + kBlock * kPitch + threadIdx.x * kPitch;
    const uint64_t first = static_cast<uint64_t>(blockIdx.x) * kBlock;
    for (int i = static_cast<int>(threadIdx.x); i < kBlock * kBlock; i += kBlock) {
        const uint64_t r = static_cast<uint64_t>(i) / kBlock;
        const uint64_t c = static_cast<uint64_t>(i) % kBlock;
        lower[r * kPitch + c] = c <= r ? corner[r * stride + c] : 0.0;
        lower[kBlock * kPitch + r * kPitch + c] = first + r < rows ? x[(first + r) * stride + c] : 0.0;
    }
    __syncthreads();
    for (int c = 0; c < kBlock; ++c) {
        double sum = mine[c];
        for (int k = 0; k < c; ++k) {
            sum -= mine[k] * lower[c * kPitch + k];
        }
        mine[c] = sum / lower[c * kPitch + c];
    }
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); i < kBlock * kBlock; i += kBlock) {
        const uint64_t r = static_cast<uint64_t>(i) / kBlock;
        const uint64_t c = static_cast<uint64_t>(i) % kBlock;
        if (first + r < rows) {
            x[(first + r) * stride + c] = lower[kBlock * kPitch + r * kPitch + c];
        }
    }
}

constexpr size_t kSharedPair = 2 * kBlock * kPitch * sizeof(double);

Status factor(Context* context, const FactorRequest* request) {
    const FactorRequest& r = *request;
    if (r.size == 0 || r.size > uint64_t{1} << 20) {
        return fail(Status::Argument, "no factor of " + std::to_string(r.size) + " columns");
    }
    const cudaStream_t stream = context->stream;
    cudaError_t error = cudaMemsetAsync(r.state, 0, sizeof *r.state, stream);
    if (error == cudaSuccess) {
        error = launch(arrange, dim3(divideUp(r.size, kThreads), static_cast<unsigned>(std::min(r.size, kArrangeRows))), kThreads, 0, stream, r);
    }
    for (uint64_t begin = 0; error == cudaSuccess && begin < r.size; begin += kBlock) {
        const uint64_t width = r.size - begin < kBlock ? r.size - begin : kBlock;
        double* const corner = r.lower + begin * r.size + begin;
        error = launch(factorCorner, 1, kThreads, 0, stream, corner, r.size, static_cast<int>(width), r.state);
        const uint64_t below = r.size - begin - width;
        if (error == cudaSuccess && below > 0) {
            double* const panel = corner + width * r.size;
            error = launch(solveRows, divideUp(below, kBlock), kBlock, kSharedPair, stream, corner, panel, r.size, below);
            if (error == cudaSuccess) {
                const auto rows = static_cast<uint32_t>(below);
                error = launchPlain<double, double, double, double>({panel, r.size, panel, r.size, false, rows, rows, static_cast<uint32_t>(width), -1.0, 1.0,
                                                                     nullptr, panel + width, r.size, true}, stream);
            }
        }
    }
    return check(error, "factor of second moments");
}

// ---- the sweep ----

struct Choice {
    int code;
    double value;
};

/// The level nearest to a value, the larger one of two that are equally near (solver/levels.h).
__device__ inline Choice nearestLevel(const float* levels, int count, float offset, float scale, double value) {
    const auto level = [&](int code) { return static_cast<double>((levels[code] + offset) * scale); };
    int low = 0;  // the first level that is not below the value lies in [low, high]
    int high = count;
    while (low < high) {
        const int middle = (low + high) / 2;
        if (level(middle) < value) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == 0) {
        return {0, level(0)};
    }
    if (low == count || value - level(low - 1) < level(low) - value) {
        return {low - 1, level(low - 1)};
    }
    return {low, level(low)};
}

/// Decides columns [begin, begin + width) of the factor, the last first: a thread for each row of weights. sums [rows][kBlock] are the errors so far,
/// moved to these columns.
__global__ void decide(SweepRequest r, uint64_t begin, int width, const double* sums) {
    double* const lower = dynamicShared<double>();
    double* const mine = lower + kBlock * kPitch + threadIdx.x * kPitch;
    QUANTSCOPE_SHARED(float, levels, [256]);
    const uint64_t row = static_cast<uint64_t>(blockIdx.x) * kBlock + threadIdx.x;
    for (int i = static_cast<int>(threadIdx.x); i < width * width; i += kBlock) {
        lower[i / width * kPitch + i % width] = r.lower[(begin + static_cast<uint64_t>(i / width)) * r.size + begin + static_cast<uint64_t>(i % width)];
    }
    const int count = 1 << r.bits;
    for (int i = static_cast<int>(threadIdx.x); r.given == nullptr && i < count; i += kBlock) {
        levels[i] = r.levels[i];
    }
    for (int c = 0; c < width; ++c) {
        mine[c] = row < r.rows && sums != nullptr ? sums[row * kBlock + static_cast<uint64_t>(c)] : 0.0;
    }
    __syncthreads();
    if (row >= r.rows) {
        return;
    }
    double loss = 0;
    for (int c = width; c-- > 0;) {
        const uint64_t coordinate = r.order[begin + static_cast<uint64_t>(c)];
        const double* const factors = lower + c * kPitch;
        const double original = static_cast<double>(r.weights[row * r.size + coordinate]);
        const double w = original + mine[c] / factors[c];
        double value;
        if (r.given != nullptr) {
            value = static_cast<double>(r.given[row * r.size + coordinate]);
        } else {
            const float* const side = r.sides + row * r.sidesOfRow + (r.hasOffsets != 0 ? 2 * (coordinate / r.group) : 0);
            const Choice choice = nearestLevel(levels, count, r.hasOffsets != 0 ? side[1] : 0.0f, side[0] * r.unit, w);
            value = choice.value;
            r.codes[row * r.size + coordinate] = static_cast<uint8_t>(choice.code);
        }
        const double error = original - value;
        r.errors[row * r.size + begin + static_cast<uint64_t>(c)] = error;
        if (r.dead[coordinate] == 0) {
            loss += (w - value) * factors[c] * ((w - value) * factors[c]) - r.damping * error * error;
        }
        for (int k = 0; k < c; ++k) {
            mine[k] += error * factors[k];
        }
    }
    r.losses[row] += loss;
}

Status sweep(Context* context, const SweepRequest* request) {
    const SweepRequest& r = *request;
    if (r.rows == 0 || r.size == 0) {
        return Status::Ok;
    }
    if (r.rows >= uint64_t{1} << 31 || r.size > uint64_t{1} << 20 || r.bits < 1 || r.bits > 8) {
        return fail(Status::Argument, "no sweep over " + std::to_string(r.rows) + " rows of " + std::to_string(r.size) + " weights with " +
                                          std::to_string(r.bits) + " bits");
    }
    const cudaStream_t stream = context->stream;
    cudaError_t error = cudaMemsetAsync(r.losses, 0, r.rows * sizeof(double), stream);
    for (uint64_t end = r.size; error == cudaSuccess && end > 0;) {
        const uint64_t begin = end > kBlock ? end - kBlock : 0;
        const auto width = static_cast<int>(end - begin);
        if (end < r.size) {
            error = launchPlain<double, double, double, double>({r.errors + end, r.size, r.lower + end * r.size + begin, r.size, true,
                                                                 static_cast<uint32_t>(r.rows), static_cast<uint32_t>(width),
                                                                 static_cast<uint32_t>(r.size - end), 1.0, 0.0, nullptr, r.sums, kBlock, false}, stream);
        }
        if (error == cudaSuccess) {
            error = launch(decide, divideUp(r.rows, kBlock), kBlock, kSharedPair, stream, r, begin, width,
                           end < r.size ? static_cast<const double*>(r.sums) : nullptr);
        }
        end = begin;
    }
    return check(error, "GPTQ sweep");
}

}  // namespace

const SolverCalls& solverCalls() {
    static constexpr SolverCalls kCalls{onDevice<addMoments>, onDevice<meanMoments>, onDevice<factor>, onDevice<sweep>};
    return kCalls;
}

}  // namespace quantscope::cuda
