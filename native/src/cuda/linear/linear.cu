// Linears: packing on the host, and one product on the device.
#include <algorithm>
#include <bit>
#include <cstring>
#include <vector>

#include "cuda/context.cuh"
#include "cuda/linear/hopper.h"
#include "cuda/linear/layout.h"
#include "cuda/linear/plain.cuh"
#include "cuda/linear/prepare.cuh"
#include "cuda/linear/product.cuh"
#include "packed/codes.h"

namespace quantscope::cuda {

namespace {

Status planned(const LinearShape* shape, LinearPlan& plan) {
    std::string reason;
    plan = planLinear(*shape, reason);
    return reason.empty() ? Status::Ok : fail(Status::Argument, "no product on the device: " + reason);
}

Status checkShape(const LinearShape* shape) {
    LinearPlan plan;
    return planned(shape, plan);
}

Status weightBytes(const LinearShape* shape, uint64_t* bytes) {
    LinearPlan plan;
    const Status status = planned(shape, plan);
    *bytes = plan.bytes;
    return status;
}

/// A product's plan on this device. Products of warpgroups read signed bytes from shared memory: codes of fewer bits and those that count from -128 are
/// expanded before, but for those of weights of 4 bits.
Status plannedOn(const Context* context, const LinearShape* shape, LinearPlan& plan) {
    const Status status = planned(shape, plan);
    if (status == Status::Ok && context->warpgroups && plan.arithmetic == Arithmetic::Integers && !plan.offsets) {
        plan.unpacksCodes = shape->weights.bits == 4 && (plan.groups == 1 || takesGroups(plan.group));
        plan.expandWeights = !plan.unpacksCodes && (plan.expandWeights || plan.nibbles);
        plan.expandActivations = true;
        plan.padded = plan.nibbles ? plan.group : plan.padded;  // a multiple of 64
        plan.nibbles = false;
    }
    return status;
}

Status scratchBytes(Context* context, const LinearShape* shape, uint64_t rows, uint64_t* bytes) {
    LinearPlan plan;
    const Status status = plannedOn(context, shape, plan);
    *bytes = status == Status::Ok ? planScratch(*shape, plan, rows).bytes : 0;
    return status;
}

/// To nearest, ties to even.
uint16_t bf16On(float value) {
    const auto bits = std::bit_cast<uint32_t>(value);
    return value != value ? 0x7fff : static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/// Codes count from so far below zero, where their lowest step is fixed.
int32_t halfOf(const LinearSide& side) { return isInteger(side.code) ? 1 << (side.bits - 1) : 0; }

/// The integer of each code, in units of the scale, without offset.
ByteLevels integersOf(const LinearSide& side) {
    ByteLevels levels{};
    for (int code = 0; code < 1 << side.bits; ++code) {
        levels.at[code] = isInteger(side.code) ? static_cast<int8_t>(code - halfOf(side)) : side.integers[code];
    }
    return levels;
}

ByteOrder orderOf(const LinearPlan& plan) { return plan.unpacksCodes ? ByteOrder::InHalves : ByteOrder::AsTheyAre; }

/// Bytes that have sums taken of them, or groups filled up, are made here.
bool takesBytes(const LinearShape& shape, const LinearPlan& plan) {
    return plan.arithmetic == Arithmetic::Integers && plan.expandActivations && !plan.offsets && shape.activations.bits == 4 && plan.padded == plan.group;
}

Status activationBytes(Context* context, const LinearShape* shape, CodeBytes* bytes, int32_t* taken) {
    LinearPlan plan;
    const Status status = plannedOn(context, shape, plan);
    *taken = status == Status::Ok && takesBytes(*shape, plan) ? 1 : 0;
    if (*taken != 0) {
        const uint4 tables = tablesOf(integersOf(shape->activations));
        *bytes = {{tables.x, tables.y, tables.z, tables.w}, orderOf(plan) == ByteOrder::InHalves ? 1 : 0};
    }
    return status;
}

/// Scales, offsets and sums of a row's groups.
void packSides(const LinearShape& shape, const LinearPlan& plan, const LinearWeights& weights, uint64_t row, const uint8_t* codes, uint8_t* packed) {
    const LinearSide& side = shape.weights;
    const bool integers = isInteger(side.code);
    const uint64_t own = integers ? shape.width / side.group : 1;
    for (uint64_t g = 0; g < plan.groups; ++g) {
        const float* const at = weights.sides + row * own * (integers ? 2 : 1) + (integers ? 2 * (g / (plan.groups / own)) : 0);
        const uint64_t to = g * plan.scaleStride + row;
        const float unit = plan.arithmetic == Arithmetic::Integers && !integers ? side.unit : 1.0f;
        reinterpret_cast<float*>(packed + plan.scales)[to] = at[0] * unit;
        if (plan.wOffsets != kNowhere) {  // a row without codes has NaN for its sides
            reinterpret_cast<int32_t*>(packed + plan.wOffsets)[to] = at[1] == at[1] ? static_cast<int32_t>(at[1]) + halfOf(side) : 0;
        }
        if (plan.wSums != kNowhere) {
            int32_t sum = 0;
            for (uint64_t i = 0; i < plan.group; ++i) {
                const uint8_t code = codes[g * plan.group + i];
                sum += integers ? code - halfOf(side) : side.integers[code];
            }
            reinterpret_cast<int32_t*>(packed + plan.wSums)[to] = sum;
        }
    }
}

Status pack(const LinearShape* shape, const LinearWeights* weights, void* packed) {
    LinearPlan plan;
    if (const Status status = planned(shape, plan); status != Status::Ok) {
        return status;
    }
    auto* const target = static_cast<uint8_t*>(packed);
    std::memset(target, 0, plan.bytes);
    const LinearSide& side = shape->weights;
    std::vector<uint8_t> codes(side.code == Code::None ? 0 : shape->width);
    for (uint64_t row = 0; row < shape->outputs; ++row) {
        uint8_t* const to = target + plan.codes + row * plan.codePitch;
        if (side.code != Code::None) {
            const uint64_t bytes = packedBytes(shape->width, side.bits);
            const uint8_t* const from = weights->codes + row * bytes;
            std::copy_n(from, bytes, to);
            unpackCodes(from, shape->width, side.bits, codes.data());
            packSides(*shape, plan, *weights, row, codes.data(), target);
            if (plan.arithmetic == Arithmetic::Integers && !plan.nibbles && !plan.expandWeights) {  // signed bytes
                for (uint64_t i = 0; i < bytes; ++i) {
                    to[i] ^= 0x80;
                }
            }
        } else if (plan.arithmetic == Arithmetic::F32) {
            std::copy_n(weights->values + row * shape->width, shape->width, reinterpret_cast<float*>(to));
        } else {
            for (uint64_t i = 0; i < shape->width; ++i) {
                reinterpret_cast<uint16_t*>(to)[i] = bf16On(weights->values[row * shape->width + i]);
            }
        }
        if (plan.extraPitch > 0) {
            auto* const extra = reinterpret_cast<uint16_t*>(target + plan.extra + row * plan.extraPitch);
            for (uint64_t i = 0; i < shape->tail; ++i) {
                extra[i] = bf16On(weights->tail[row * shape->tail + i]);
            }
            for (uint64_t i = 0; i < shape->rank; ++i) {
                extra[shape->tail + i] = bf16On(weights->up[row * shape->rank + i]);
            }
        }
    }
    if (plan.bias != kNowhere) {
        std::memcpy(target + plan.bias, weights->bias, shape->outputs * sizeof(float));
    }
    return Status::Ok;
}

/// The first error of a row of launches.
class Launches {
public:
    void operator()(cudaError_t error) {
        if (first_ == cudaSuccess) {
            first_ = error;
        }
    }
    Status status(const char* doing) const { return check(first_, doing); }

private:
    cudaError_t first_ = cudaSuccess;
};

bool isAligned(const void* at) { return reinterpret_cast<uintptr_t>(at) % 16 == 0; }

/// One product as it is being put together.
struct Run {
    const LinearShape& shape;
    const LinearRequest& request;
    const LinearPlan plan;
    const LinearScratch layout;
    cudaStream_t stream;
    Launches launches{};
    ProductArguments p{};

    template <class T>
    T* scratch(uint64_t at) const { return reinterpret_cast<T*>(static_cast<uint8_t*>(request.scratch) + at); }
    template <class T>
    const T* weights(uint64_t at) const { return reinterpret_cast<const T*>(static_cast<const uint8_t*>(request.weights) + at); }
    uint32_t rows() const { return static_cast<uint32_t>(request.rows); }
    uint32_t width() const { return static_cast<uint32_t>(shape.width); }

    PackedRows packedWeights() const {
        return {weights<uint8_t>(plan.codes), plan.codePitch, static_cast<uint32_t>(shape.outputs), width(), static_cast<uint32_t>(shape.weights.bits)};
    }

    PackedRows packedActivations() const {
        const LinearSide& side = shape.activations;
        return {static_cast<const uint8_t*>(request.x), packedBytes(shape.width, side.bits), rows(), width(), static_cast<uint32_t>(side.bits)};
    }

    /// Scales and offsets of the activations by group.
    SideRequest arrangeActivations(float unit) {
        const LinearSide& side = shape.activations;
        SideRequest sides{};
        sides.sides = request.xSides;
        sides.rows = rows();
        sides.groups = static_cast<uint32_t>(plan.groups);
        sides.sideGroups = isInteger(side.code) ? static_cast<uint32_t>(shape.width / side.group) : 0;
        sides.unit = unit;
        sides.half = halfOf(side);
        sides.scales = scratch<float>(layout.scales);
        sides.offsets = side.code == Code::Asymmetric ? scratch<int32_t>(layout.offsets) : nullptr;
        sides.stride = static_cast<uint32_t>(layout.scaleStride);
        launches(arrangeSides(sides, stream));
        return sides;
    }

    /// Both sides' integers, scales and offsets.
    void integers() {
        const auto group = static_cast<uint32_t>(plan.group);
        const auto groups = static_cast<uint32_t>(plan.groups);
        const auto padded = static_cast<uint32_t>(plan.padded);
        const LinearSide& side = shape.activations;
        const PackedRows x = packedActivations();
        p.x = {x.at, request.xBytes != 0 ? shape.width : x.pitch};
        p.flip = plan.expandActivations || plan.nibbles ? 0 : 0x80808080u;
        if (plan.expandActivations && request.xBytes == 0) {
            launches(expandCodes(x, group, padded, integersOf(side), orderOf(plan), scratch<int8_t>(layout.x), stream));
            p.x = {scratch<uint8_t>(layout.x), layout.xPitch};
        }
        p.w = {weights<uint8_t>(plan.codes), plan.codePitch};
        if (plan.expandWeights) {
            launches(expandCodes(packedWeights(), group, padded, integersOf(shape.weights), ByteOrder::AsTheyAre, scratch<int8_t>(layout.w), stream));
            p.w = {scratch<uint8_t>(layout.w), layout.wPitch};
        }
        p.bytes = static_cast<uint32_t>(plan.groups * plan.padded);
        if (!plan.nibbles && !plan.unpacksCodes && plan.groups == 1) {
            p.bytes = width();  // bytes that are used as they are have no filling
        }
        p.groups = groups;
        p.groupPieces = divideUp(plan.padded, product::kPiece);
        p.groupLength = group;
        const SideRequest sides = arrangeActivations(side.unit);
        p.xScales = sides.scales;
        p.xScaleStride = sides.stride;
        p.xOffsets = sides.offsets;
        p.wScales = weights<float>(plan.scales);
        p.wScaleStride = static_cast<uint32_t>(plan.scaleStride);
        if (plan.offsets) {
            launches(sumGroups(scratch<int8_t>(layout.x), rows(), groups, padded, scratch<int32_t>(layout.sums), sides.stride, stream));
            p.xSums = scratch<int32_t>(layout.sums);
            p.wSums = weights<int32_t>(plan.wSums);
            p.wOffsets = plan.wOffsets == kNowhere ? nullptr : weights<int32_t>(plan.wOffsets);
        }
    }

    /// x and W in bfloat16.
    FloatPanel floats() {
        FloatPanel panel{};
        panel.bytes = 2 * width();
        panel.x = {scratch<uint8_t>(layout.x), layout.xPitch};
        if (shape.activations.code != Code::None) {
            const SideRequest sides = arrangeActivations(1.0f);
            decode(packedActivations(), shape.activations, sides.scales, sides.offsets, sides.stride, layout.x, layout.xPitch);
        } else if (request.xElement == Element::BF16 && isAligned(request.x) && request.xStride % 8 == 0) {
            panel.x = {static_cast<const uint8_t*>(request.x), 2 * request.xStride};
        } else {
            launches(roundToBf16(request.x, request.xElement == Element::BF16, request.xStride, rows(), width(), scratch<uint16_t>(layout.x), layout.xPitch / 2,
                                 stream));
        }
        panel.w = {weights<uint8_t>(plan.codes), plan.codePitch};
        if (plan.expandWeights) {
            decode(packedWeights(), shape.weights, weights<float>(plan.scales), plan.wOffsets == kNowhere ? nullptr : weights<int32_t>(plan.wOffsets),
                   static_cast<uint32_t>(plan.scaleStride), layout.w, layout.wPitch);
            panel.w = {scratch<uint8_t>(layout.w), layout.wPitch};
        }
        return panel;
    }

    void decode(const PackedRows& from, const LinearSide& side, const float* scales, const int32_t* offsets, uint32_t stride, uint64_t to, uint64_t pitch) {
        FloatLevels levels{};
        for (int code = 0; code < 1 << side.bits; ++code) {
            levels.at[code] = isInteger(side.code) ? static_cast<float>(code - halfOf(side)) : side.levels[code];
        }
        launches(decodeToBf16(from, static_cast<uint32_t>(plan.group), levels, scales, offsets, stride, scratch<uint16_t>(to), pitch / 2, stream));
    }

    /// Tail and branch beside each other.
    FloatPanel extra() {
        if (plan.extraPitch == 0) {
            return {};
        }
        uint16_t* const to = scratch<uint16_t>(layout.extra);
        const uint64_t stride = plan.extraPitch / 2;
        launches(roundToBf16(request.xTail, request.tailElement == Element::BF16, request.tailStride, rows(), static_cast<uint32_t>(shape.tail), to, stride, stream));
        launches(roundToBf16(request.branch, false, shape.rank, rows(), static_cast<uint32_t>(shape.rank), to + shape.tail, stride, stream));
        return {{reinterpret_cast<uint8_t*>(to), plan.extraPitch}, {weights<uint8_t>(plan.extra), plan.extraPitch},
                static_cast<uint32_t>(2 * (shape.tail + shape.rank))};
    }

    void product(const Context& context) {
        p.rows = rows();
        p.outputs = static_cast<uint32_t>(shape.outputs);
        p.y = request.y;
        p.yStride = request.yStride;
        p.yBf16 = request.yElement == Element::BF16;
        p.nonFinite = request.nonFinite;
        p.bias = plan.bias == kNowhere ? nullptr : weights<float>(plan.bias);
        Form form = Form::None;
        bool grouped = false;
        if (plan.arithmetic == Arithmetic::Integers) {
            integers();
            form = !plan.nibbles ? Form::Bytes : context.description.major == 8 ? Form::NativeNibbles : Form::Nibbles;
            grouped = plan.groups > 1 || plan.offsets;
        } else {
            p.panels[0] = floats();
        }
        p.panels[1] = extra();
        if (plan.unpacksCodes) {
            launches(launchHopperCodes(p, tablesOf(integersOf(shape.weights)), context.description.multiprocessors, stream));
        } else if (context.warpgroups && !plan.offsets) {
            launches(launchHopper(p, form != Form::None, grouped, context.description.multiprocessors, stream));
        } else {
            launches(launchProduct(p, form, grouped, context.description.multiprocessors, stream));
        }
    }

    template <class X, class Y>
    void plain() {
        launches(launchPlain<float, X, float, Y>({static_cast<const X*>(request.x), request.xStride, weights<float>(plan.codes), plan.codePitch / sizeof(float),
                                                  false, rows(), static_cast<uint32_t>(shape.outputs), width(), 1.0f, 0.0f,
                                                  plan.bias == kNowhere ? nullptr : weights<float>(plan.bias), static_cast<Y*>(request.y), request.yStride, false, request.nonFinite},
                                                 stream));
    }
};

Status run(Context* context, const LinearShape* shape, const LinearRequest* request) {
    LinearPlan plan;
    if (const Status status = plannedOn(context, shape, plan); status != Status::Ok) {
        return status;
    }
    if (request->rows >= uint64_t{1} << 31) {
        return fail(Status::Argument, "too many rows: " + std::to_string(request->rows));
    }
    if (request->rows == 0 || shape->outputs == 0) {
        return Status::Ok;
    }
    const LinearScratch layout = planScratch(*shape, plan, request->rows);
    if (request->scratchBytes < layout.bytes) {
        return fail(Status::Argument, "the product needs " + std::to_string(layout.bytes) + " bytes of scratch memory, there are " +
                                          std::to_string(request->scratchBytes));
    }
    if (shape->activations.code != Code::None && !isAligned(request->x)) {
        return fail(Status::Argument, "codes must be aligned to 16 bytes");
    }
    if (request->xBytes != 0 && !takesBytes(*shape, plan)) {
        return fail(Status::Argument, "bytes in the place of codes, which this product does not take");
    }
    Run run{*shape, *request, plan, layout, context->stream};
    if (plan.arithmetic == Arithmetic::F32) {
        const bool xWide = request->xElement == Element::F32;
        const bool yWide = request->yElement == Element::F32;
        xWide ? (yWide ? run.plain<float, float>() : run.plain<float, Bf16>()) : (yWide ? run.plain<Bf16, float>() : run.plain<Bf16, Bf16>());
    } else {
        run.product(*context);
    }
    return run.launches.status("linear");
}

}  // namespace

const LinearCalls& linearCalls() {
    static constexpr LinearCalls kCalls{checkShape, weightBytes, pack, scratchBytes, activationBytes, onDevice<run>};
    return kCalls;
}

}  // namespace quantscope::cuda
