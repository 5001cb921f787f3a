#include "cuda/linear/layout.h"

#include <algorithm>

#include "packed/codes.h"

namespace quantscope::cuda {

namespace {

/// Empty, or why this side makes no sense.
std::string mistakeIn(const LinearSide& side, uint64_t width, const char* name) {
    if (side.code == Code::None) {
        return "";
    }
    if (side.bits < (isInteger(side.code) ? 2 : 1) || side.bits > 8) {
        return std::string(name) + " have " + std::to_string(side.bits) + " bits";
    }
    if (isInteger(side.code) && (side.group == 0 || width % side.group != 0)) {
        return std::string("the group of ") + std::to_string(side.group) + " " + name + " does not divide " + std::to_string(width) + " inputs";
    }
    return "";
}

/// The largest magnitude of the integers that codes stand for.
uint64_t largestOf(const LinearSide& side) {
    if (side.code == Code::Symmetric) {
        return uint64_t{1} << (side.bits - 1);
    }
    if (side.code == Code::Asymmetric) {  // any of the codes may be zero
        return (uint64_t{1} << side.bits) - 1;
    }
    int largest = 0;
    for (int code = 0; code < 1 << side.bits; ++code) {
        largest = std::max(largest, std::abs(static_cast<int>(side.integers[code])));
    }
    return static_cast<uint64_t>(largest);
}

}  // namespace

LinearPlan planLinear(const LinearShape& shape, std::string& reason) {
    LinearPlan plan{};
    const LinearSide& w = shape.weights;
    const LinearSide& x = shape.activations;
    reason = mistakeIn(w, shape.width, "weights");
    if (reason.empty()) {
        reason = mistakeIn(x, shape.width, "activations");
    }
    if (reason.empty() && shape.width > uint64_t{1} << 20) {
        reason = std::to_string(shape.width) + " inputs are too many";
    }
    if (reason.empty() && w.code == Code::None && x.code != Code::None && (shape.decoded == 0 || shape.element == Element::F32)) {
        reason = "weights are floats, activations codes: decode them first";
    }
    if (reason.empty() && (shape.outputs >= uint64_t{1} << 31 || shape.tail + shape.rank >= uint64_t{1} << 20)) {
        reason = "the layer is too large";
    }
    if (!reason.empty()) {
        return plan;
    }
    plan.arithmetic = w.code == Code::None ? (shape.element == Element::F32 ? Arithmetic::F32 : Arithmetic::Bf16)
                      : x.code == Code::None || shape.decoded != 0 ? Arithmetic::Bf16
                                                                   : Arithmetic::Integers;
    if (plan.arithmetic == Arithmetic::F32 && shape.tail + shape.rank > 0) {
        reason = "a linear in float32 has neither tail nor low-rank branch";
        return plan;
    }
    const uint64_t wGroup = isInteger(w.code) ? w.group : shape.width;
    const uint64_t xGroup = isInteger(x.code) ? x.group : shape.width;
    plan.group = std::gcd(wGroup, xGroup);
    plan.groups = plan.group == 0 ? 0 : shape.width / plan.group;
    plan.scaleStride = roundUp(shape.outputs, 4);
    if (plan.arithmetic == Arithmetic::Integers) {
        plan.offsets = w.code == Code::Asymmetric || x.code == Code::Asymmetric;
        if (hasLevels(w.code) && w.integers == nullptr) {
            reason = "the codebook of the weights has no integers";
        } else if (hasLevels(x.code) && x.integers == nullptr) {
            reason = "the codebook of the activations has no integers";
        } else if (plan.group * largestOf(w) * largestOf(x) >= uint64_t{1} << 30) {
            reason = "sums over groups of " + std::to_string(plan.group) + " inputs exceed 32 bits";
        }
        if (!reason.empty()) {
            return plan;
        }
        // Sums of products of both sides' codes times 16 each stay below 2^31, and in groups below 2^22.
        plan.nibbles = w.code == Code::Symmetric && x.code == Code::Symmetric && w.bits == 4 && x.bits == 4 && plan.group % 64 == 0 &&
                       (plan.groups == 1 ? plan.group < 131072 : plan.group <= 128);
        plan.padded = plan.nibbles ? plan.group / 2 : roundUp(plan.group, 32);
        const bool whole = plan.padded == plan.group || plan.groups == 1;
        const auto isBytes = [&](const LinearSide& side) { return isInteger(side.code) && side.bits == 8 && whole && shape.width % 16 == 0; };
        plan.expandWeights = !plan.nibbles && !isBytes(w);
        plan.expandActivations = !plan.nibbles && (!isBytes(x) || plan.offsets);
    } else {
        plan.expandWeights = w.code != Code::None;
        for (const LinearSide* side : {&w, &x}) {
            if (hasLevels(side->code) && side->levels == nullptr) {
                reason = std::string("the codebook of the ") + (side == &w ? "weights" : "activations") + " has no levels";
                return plan;
            }
        }
    }
    Places places;
    const uint64_t row = w.code != Code::None ? packedBytes(shape.width, w.bits) : shape.width * (plan.arithmetic == Arithmetic::F32 ? 4 : 2);
    plan.codePitch = roundUp(row, 16);
    plan.codes = places.take(shape.outputs * plan.codePitch);
    if (w.code != Code::None) {
        plan.scales = places.take(plan.groups * plan.scaleStride * sizeof(float));
        if (w.code == Code::Asymmetric) {
            plan.wOffsets = places.take(plan.groups * plan.scaleStride * sizeof(int32_t));
        }
        if (plan.offsets) {
            plan.wSums = places.take(plan.groups * plan.scaleStride * sizeof(int32_t));
        }
    }
    if (shape.tail + shape.rank > 0) {
        plan.extraPitch = roundUp(2 * (shape.tail + shape.rank), 16);
        plan.extra = places.take(shape.outputs * plan.extraPitch);
    }
    if (shape.bias != 0) {
        plan.bias = places.take(shape.outputs * sizeof(float));
    }
    plan.bytes = places.end;
    return plan;
}

LinearScratch planScratch(const LinearShape& shape, const LinearPlan& plan, uint64_t rows) {
    LinearScratch scratch{};
    Places places;
    scratch.scaleStride = roundUp(rows, 4);
    if (plan.arithmetic == Arithmetic::Integers) {
        const uint64_t pitch = plan.groups * plan.padded;
        if (plan.expandActivations) {
            scratch.xPitch = pitch;
            scratch.x = places.take(rows * pitch);
        }
        if (plan.expandWeights) {
            scratch.wPitch = pitch;
            scratch.w = places.take(shape.outputs * pitch);
        }
        const uint64_t each = plan.groups * scratch.scaleStride * 4;
        scratch.scales = places.take(each);
        if (plan.offsets) {
            scratch.offsets = places.take(each);
            scratch.sums = places.take(each);
        }
    } else if (plan.arithmetic == Arithmetic::Bf16) {
        // x is used as it is where it is bfloat16 already and rows are aligned; the place is kept for when it is not.
        scratch.xPitch = roundUp(2 * shape.width, 16);
        scratch.x = places.take(rows * scratch.xPitch);
        if (shape.activations.code != Code::None) {
            scratch.scales = places.take(plan.groups * scratch.scaleStride * 4);
            scratch.offsets = places.take(plan.groups * scratch.scaleStride * 4);
        }
        if (plan.expandWeights) {
            scratch.wPitch = roundUp(2 * shape.width, 16);
            scratch.w = places.take(shape.outputs * scratch.wPitch);
        }
    }
    if (plan.extraPitch > 0) {
        scratch.extra = places.take(rows * plan.extraPitch);
    }
    scratch.bytes = places.end;
    return scratch;
}

}  // namespace quantscope::cuda
