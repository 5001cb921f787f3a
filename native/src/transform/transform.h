// What a recipe does to the inputs of a linear before they are quantized. The rows of the weight get the inverse transpose, so that the product
// is the same: (T x)ᵀ (T⁻ᵀ w) = xᵀ w. All but the scale are orthogonal: T⁻ᵀ = T.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "base/workers.h"
#include "cpu/kernels.h"
#include "tensor/tensor.h"

namespace quantscope {

/// y_j = x_j v_j; `values` F32 [width], finite and not 0.
struct ScaleTransform {
    TensorRef values;
    bool operator==(const ScaleTransform&) const = default;
};
/// y_j = x[sources_j]; `sources` I32 [width].
struct PermuteTransform {
    TensorRef sources;
    bool operator==(const PermuteTransform&) const = default;
};
/// See rotation/rpbh.h.
struct RpbhTransform {
    uint64_t seed;
    bool operator==(const RpbhTransform&) const = default;
};
/// See hadamard.h.
struct HadamardTransform {
    uint64_t seed;
    bool operator==(const HadamardTransform&) const = default;
};
/// See orthogonal.h.
struct RandomTransform {
    uint64_t seed;
    bool operator==(const RandomTransform&) const = default;
};
/// y_block = M x_block; `matrices` F32 [width / b, b, b], or [1, b, b] when all blocks share one.
struct BlocksTransform {
    TensorRef matrices;
    bool operator==(const BlocksTransform&) const = default;
};
using Transform = std::variant<ScaleTransform, PermuteTransform, RpbhTransform, HadamardTransform, RandomTransform, BlocksTransform>;

/// Throws Error(Argument) when a transform does not fit the width; `name` is how messages call the list. Opens no file.
void validate(const std::vector<Transform>& list, uint64_t width, const std::string& name = "transforms");

/// Transforms of one width, loaded. Immutable and thread-safe.
class Transforms {
public:
    enum class Side { Inputs, Weights };
    class Step;

    /// validate() has passed. Throws Error(Io), and Error(Argument) naming the file when what it holds is no such transform.
    Transforms(const std::vector<Transform>& list, uint64_t width, Workers& workers, const Kernels& kernels);
    ~Transforms();

    bool empty() const { return steps_.empty(); }
    /// Rows that are worth doing at once.
    uint64_t rowsAtOnce() const { return rowsAtOnce_; }
    /// y = transformed x, both [rows, width], not overlapping. The bits of a row do not depend on `rows`.
    void apply(Side side, const float* x, uint64_t rows, float* y, Scratch& scratch) const;
    /// The inverse of the weight side: x = rows [rows, width] in the layer's own coordinates, y = transformed rows, not overlapping.
    void restoreWeights(const float* y, uint64_t rows, float* x, Scratch& scratch) const;

private:
    /// Runs body(step, source, target) for the steps in one of both directions, from `source` to `target` by way of spare memory.
    template <class Body>
    void chain(bool forward, const float* source, uint64_t rows, float* target, Scratch& scratch, Body body) const;

    uint64_t width_;
    const Kernels& kernels_;
    uint64_t rowsAtOnce_;
    std::vector<std::unique_ptr<const Step>> steps_;
};

// What the files of transforms hold, checked. Throw Error(Io), and Error(Argument) naming the file.
std::vector<float> readScale(const TensorRef& ref, const Kernels& kernels);
std::vector<uint32_t> readSources(const TensorRef& ref);
/// [ref.shape[0], b, b]
std::shared_ptr<const std::vector<float>> readMatrices(const TensorRef& ref, const Kernels& kernels);

/// All of a tensor of dtype F32 or BF16 that a recipe names.
std::vector<float> readFloats(const TensorRef& ref, const Kernels& kernels);

}  // namespace quantscope
