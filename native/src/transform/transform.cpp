#include "transform/transform.h"

#include <algorithm>
#include <cmath>
#include <type_traits>
#include <utility>

#include "base/error.h"
#include "linear/gemm.h"
#include "rotation/rpbh.h"
#include "transform/hadamard.h"
#include "transform/orthogonal.h"

namespace quantscope {

/// x and y as in Transforms::apply; `spare` holds one row.
class Transforms::Step {
public:
    virtual ~Step() = default;
    virtual void apply(Side side, const float* x, uint64_t rows, float* y, float* spare, const Kernels& kernels) const = 0;
    /// x from the weight side's y.
    virtual void restore(const float* y, uint64_t rows, float* x, float* spare, const Kernels& kernels) const = 0;
    /// Products with a matrix read all of it for every call.
    virtual bool isDense() const { return false; }
};

namespace {

using Side = Transforms::Side;

class Scale final : public Transforms::Step {
public:
    explicit Scale(std::vector<float> values) : values_(std::move(values)) {}

    void apply(Side side, const float* x, uint64_t rows, float* y, float*, const Kernels&) const override {
        const size_t width = values_.size();
        const float* const v = values_.data();
        for (uint64_t i = 0; i < rows; ++i, x += width, y += width) {
            for (size_t j = 0; j < width; ++j) {
                y[j] = side == Side::Inputs ? x[j] * v[j] : x[j] / v[j];
            }
        }
    }

    void restore(const float* y, uint64_t rows, float* x, float* spare, const Kernels& kernels) const override {
        apply(Side::Inputs, y, rows, x, spare, kernels);
    }

private:
    std::vector<float> values_;
};

class Permute final : public Transforms::Step {
public:
    explicit Permute(std::vector<uint32_t> sources) : sources_(std::move(sources)) {}

    void apply(Side, const float* x, uint64_t rows, float* y, float*, const Kernels& kernels) const override {
        const size_t width = sources_.size();
        for (uint64_t i = 0; i < rows; ++i) {
            kernels.gatherSigned(x + i * width, sources_.data(), width, y + i * width);
        }
    }

    void restore(const float* y, uint64_t rows, float* x, float*, const Kernels&) const override {
        const size_t width = sources_.size();
        for (uint64_t i = 0; i < rows; ++i, x += width, y += width) {
            for (size_t j = 0; j < width; ++j) {
                x[sources_[j]] = y[j];
            }
        }
    }

private:
    std::vector<uint32_t> sources_;
};

/// Rpbh or HadamardRotation.
template <class Rotation>
class RowByRow final : public Transforms::Step {
public:
    RowByRow(std::shared_ptr<const Rotation> rotation, uint64_t width) : rotation_(std::move(rotation)), width_(width) {}

    void apply(Side, const float* x, uint64_t rows, float* y, float* spare, const Kernels& kernels) const override {
        for (uint64_t i = 0; i < rows; ++i) {
            if constexpr (std::is_same_v<Rotation, Rpbh>) {
                rotation_->apply(x + i * width_, y + i * width_, kernels);
            } else {
                rotation_->apply(x + i * width_, y + i * width_, spare, kernels);
            }
        }
    }

    void restore(const float* y, uint64_t rows, float* x, float* spare, const Kernels& kernels) const override {
        for (uint64_t i = 0; i < rows; ++i) {
            rotation_->undo(y + i * width_, x + i * width_, spare, kernels);
        }
    }

private:
    std::shared_ptr<const Rotation> rotation_;
    uint64_t width_;
};

class Blocks final : public Transforms::Step {
public:
    /// `matrices` [1 or width / block, block, block].
    Blocks(std::shared_ptr<const std::vector<float>> matrices, uint64_t block, uint64_t width)
        : matrices_(std::move(matrices)), block_(block), width_(width) {}

    bool isDense() const override { return true; }

    void apply(Side, const float* x, uint64_t rows, float* y, float*, const Kernels& kernels) const override {
        for (uint64_t b = 0; b < width_ / block_; ++b) {
            multiplyTransposedAlike(rows, block_, block_, 1.0f, x + b * block_, width_, matrixOf(b), block_, 0.0f,
                                    y + b * block_, width_, kernels);
        }
    }

    void restore(const float* y, uint64_t rows, float* x, float*, const Kernels&) const override {
        for (uint64_t b = 0; b < width_ / block_; ++b) {
            multiply(rows, block_, block_, y + b * block_, width_, matrixOf(b), block_, 0.0f, x + b * block_, width_);
        }
    }

private:
    const float* matrixOf(uint64_t b) const { return matrices_->data() + (matrices_->size() > block_ * block_ ? b * block_ * block_ : 0); }

    std::shared_ptr<const std::vector<float>> matrices_;
    uint64_t block_;
    uint64_t width_;
};

uint64_t elementsOf(const TensorRef& ref) {
    uint64_t elements = 1;
    for (const uint64_t size : ref.shape) {
        elements *= size;
    }
    return elements;
}

void requireVector(const TensorRef& ref, Dtype dtype, uint64_t width, const std::string& name) {
    if (ref.dtype != dtype || ref.shape != std::vector<uint64_t>{width}) {
        failArgument(name + ": expected " + std::string(nameOf(dtype)) + " [" + std::to_string(width) + "], one number for each input of the layer");
    }
}

}  // namespace

std::vector<float> readScale(const TensorRef& ref, const Kernels& kernels) {
    auto values = readFloats(ref, kernels);
    for (size_t j = 0; j < values.size(); ++j) {
        if (!std::isnormal(values[j])) {
            failArgument(ref.file + ": the scale of channel " + std::to_string(j) + " is " + std::to_string(values[j]) +
                         "; it must be finite and not 0. Make the file again.");
        }
    }
    return values;
}

std::vector<uint32_t> readSources(const TensorRef& ref) {
    std::vector<uint32_t> sources(elementsOf(ref));
    Tensor(ref).read(0, sources.size(), reinterpret_cast<std::byte*>(sources.data()));
    std::vector<bool> used(sources.size());
    for (const uint32_t source : sources) {
        if (source >= sources.size() || used[source]) {
            failArgument(ref.file + ": not a permutation of 0.." + std::to_string(sources.size() - 1) + ": " +
                         std::to_string(static_cast<int32_t>(source)) + " is out of range or there twice. Make the file again.");
        }
        used[source] = true;
    }
    return sources;
}

/// Rows of length 1 show most of what can go wrong with an orthogonal matrix; all products of rows would take longer than the layer.
std::shared_ptr<const std::vector<float>> readMatrices(const TensorRef& ref, const Kernels& kernels) {
    const auto values = std::make_shared<const std::vector<float>>(readFloats(ref, kernels));
    const uint64_t block = ref.shape.back();
    for (size_t row = 0; row < values->size() / block; ++row) {
        const double square = kernels.sumSquares(values->data() + row * block, block);
        if (!(std::fabs(square - 1.0) < 1e-3)) {
            failArgument(ref.file + ": row " + std::to_string(row % block) + " of matrix " + std::to_string(row / block) + " has length " +
                         std::to_string(std::sqrt(square)) + "; an orthogonal matrix has rows of length 1. Make the file again.");
        }
    }
    return values;
}

std::vector<float> readFloats(const TensorRef& ref, const Kernels& kernels) {
    const Tensor tensor(ref);
    std::vector<float> values(tensor.elements());
    std::vector<std::byte> stored(tensor.elements() * tensor.elementBytes());
    tensor.read(0, tensor.elements(), stored.data());
    kernels.decode(tensor.dtype(), stored.data(), values.data(), values.size());
    return values;
}

void validate(const std::vector<Transform>& list, uint64_t width, const std::string& name) {
    for (size_t i = 0; i < list.size(); ++i) {
        const std::string at = name + "[" + std::to_string(i) + "]";
        const std::string ofWidth = at + ": a layer of " + std::to_string(width) + " inputs ";
        if (const auto* scale = std::get_if<ScaleTransform>(&list[i])) {
            requireVector(scale->values, Dtype::F32, width, at + ".values");
        } else if (const auto* permute = std::get_if<PermuteTransform>(&list[i])) {
            requireVector(permute->sources, Dtype::I32, width, at + ".sources");
        } else if (std::holds_alternative<HadamardTransform>(list[i]) && !hadamardOrder(width)) {
            failArgument(ofWidth + "has no Hadamard matrix that can be constructed here. Use rpbh, which fits every width");
        } else if (std::holds_alternative<RandomTransform>(list[i]) && width > kMaxOrthogonal) {
            failArgument(ofWidth + "is too wide for a dense random rotation (at most " + std::to_string(kMaxOrthogonal) +
                         ": memory and time grow with the square and the cube). Use hadamard or rpbh");
        } else if (const auto* blocks = std::get_if<BlocksTransform>(&list[i])) {
            const auto& shape = blocks->matrices.shape;
            const bool square = blocks->matrices.dtype == Dtype::F32 && shape.size() == 3 && shape[1] == shape[2] && shape[1] >= 1;
            if (!square || width % shape[1] != 0 || (shape[0] != 1 && shape[0] != width / shape[1])) {
                failArgument(at + ".matrices: expected F32 [n, b, b] with n · b = " + std::to_string(width) + ", or n = 1 and b a divisor of it");
            }
        }
    }
}

Transforms::Transforms(const std::vector<Transform>& list, uint64_t width, Workers& workers, const Kernels& kernels)
    : width_(width), kernels_(kernels) {
    const auto make = [&](const Transform& transform) -> std::unique_ptr<const Step> {
        if (const auto* scale = std::get_if<ScaleTransform>(&transform)) {
            return std::make_unique<Scale>(readScale(scale->values, kernels));
        }
        if (const auto* permute = std::get_if<PermuteTransform>(&transform)) {
            return std::make_unique<Permute>(readSources(permute->sources));
        }
        if (const auto* rpbh = std::get_if<RpbhTransform>(&transform)) {
            return std::make_unique<RowByRow<Rpbh>>(rotationFor(width, rpbh->seed), width);
        }
        if (const auto* hadamard = std::get_if<HadamardTransform>(&transform)) {
            return std::make_unique<RowByRow<HadamardRotation>>(hadamardFor(width, hadamard->seed), width);
        }
        if (const auto* random = std::get_if<RandomTransform>(&transform)) {
            return std::make_unique<Blocks>(orthogonalFor(width, random->seed, workers), width, width);
        }
        const TensorRef& matrices = std::get<BlocksTransform>(transform).matrices;
        return std::make_unique<Blocks>(readMatrices(matrices, kernels), matrices.shape.back(), width);
    };
    for (const Transform& transform : list) {
        steps_.push_back(make(transform));
    }
    constexpr uint64_t kDenseRows = 64;
    constexpr uint64_t kValues = uint64_t{1} << 14;
    const bool dense = std::any_of(steps_.begin(), steps_.end(), [](const auto& step) { return step->isDense(); });
    rowsAtOnce_ = std::max(dense ? kDenseRows : 1, kValues / width);
}

Transforms::~Transforms() = default;

template <class Body>
void Transforms::chain(bool forward, const float* source, uint64_t rows, float* target, Scratch& scratch, Body body) const {
    if (steps_.empty()) {
        std::copy_n(source, rows * width_, target);
        return;
    }
    float* const other = scratch.get<float>((rows + 1) * width_);
    float* const spare = other + rows * width_;
    // Back and forth between two buffers, so that the last step writes the target.
    float* next = steps_.size() % 2 == 1 ? target : other;
    for (size_t i = 0; i < steps_.size(); ++i) {
        body(*steps_[forward ? i : steps_.size() - 1 - i], source, next, spare);
        source = next;
        next = next == target ? other : target;
    }
}

void Transforms::apply(Side side, const float* x, uint64_t rows, float* y, Scratch& scratch) const {
    chain(true, x, rows, y, scratch, [&](const Step& step, const float* source, float* target, float* spare) {
        step.apply(side, source, rows, target, spare, kernels_);
    });
}

void Transforms::restoreWeights(const float* y, uint64_t rows, float* x, Scratch& scratch) const {
    chain(false, y, rows, x, scratch, [&](const Step& step, const float* source, float* target, float* spare) {
        step.restore(source, rows, target, spare, kernels_);
    });
}

}  // namespace quantscope
