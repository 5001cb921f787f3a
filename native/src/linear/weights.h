// The weights of one linear as its recipe leaves them. They are read from the file when they are needed, a panel of rows at a
// time, so that a model larger than the memory runs; only the codes of quantized weights are kept from run to run, as far as a
// limit allows.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/workers.h"
#include "integer/operands.h"
#include "linear/low_rank.h"
#include "linear/recipe.h"
#include "quantizer/row_codec.h"
#include "tensor/tensor.h"

namespace quantscope {

/// A whole weight as codes.
struct CodedWeight {
    RowCodec codec;
    std::vector<uint8_t> codes;
    std::vector<float> sides;
    std::vector<uint16_t> tail;  ///< BF16 [outputs, tail]
    std::shared_ptr<const IntegerWeight> integer{};  ///< in place of codes and sides, for a layer that runs on integers
    size_t bytes() const {
        return codes.size() + sides.size() * sizeof(float) + tail.size() * sizeof(uint16_t) + (integer ? integer->bytes() : 0);
    }
};

/// Codes by layer name, for one model. When the limit is reached, layers that the run before last used leave first; what does not
/// fit then is not kept at all: with layers used in turn, dropping others for it would only make all of them start over. Not
/// thread-safe.
class WeightCache {
public:
    explicit WeightCache(size_t maxBytes = size_t{2} << 30) : maxBytes_(maxBytes) {}

    void startRun() { ++run_; }
    std::shared_ptr<const CodedWeight> find(const std::string& layer, const LinearRecipe& recipe);
    /// False when there is no room for so many bytes.
    bool makeRoom(size_t bytes);
    void insert(const std::string& layer, const LinearRecipe& recipe, std::shared_ptr<const CodedWeight> weight);
    size_t bytes() const { return bytes_; }

private:
    struct Entry {
        LinearRecipe recipe;
        uint64_t lastRun;
        std::shared_ptr<const CodedWeight> weight;
    };
    size_t maxBytes_;
    size_t bytes_ = 0;
    uint64_t run_ = 0;
    std::map<std::string, Entry> entries_;
};

/// A stored matrix [outputs, inputs] and what is done to its rows.
class WeightRows {
public:
    /// What a recipe brings; the factors may be null. With a plan the rows are read by readIntegers().
    struct Parts {
        const LinearRecipe& recipe;
        const Transforms& transforms;
        const LowRankFactors* factors;
        const IntegerPlan* plan = nullptr;
    };
    /// Quantizes the whole matrix into the cache when it has room and the recipe asks for codes. `parts` may be null.
    /// `tensor` may be null when the recipe brings packed codes. Throws Error(Argument) when there is neither.
    WeightRows(const std::string& layer, const Tensor* tensor, uint64_t outputs, uint64_t inputs, const Parts* parts, WeightCache& cache,
               Workers& workers, std::vector<TileMemory>& memory, const Kernels& kernels);

    /// `count` rows from `first` on, as float32 behind the transforms, without the low-rank branch. Thread-safe with a memory of its own for
    /// each thread, whose `panel` is left alone.
    void read(uint64_t first, uint64_t count, float* panel, TileMemory& memory) const;
    /// The same before they are quantized. Their bits do not depend on `first` and `count`.
    void readUnquantized(uint64_t first, uint64_t count, float* panel, TileMemory& memory) const;

    /// The whole matrix as codes, from a file, the cache or made now. Not for weights that are kept, and without a plan.
    std::shared_ptr<const CodedWeight> codes(Workers& workers, std::vector<TileMemory>& memory) const { return coded_ != nullptr ? coded_ : encodeAll(workers, memory); }

    /// Rows as integers, and where in `weight` they start.
    struct Integers {
        std::shared_ptr<const IntegerWeight> weight;
        size_t firstPanel;
    };
    /// `count` rows from `first` on, a multiple of kPanelColumns, and their tail as float32 [count, tail].
    Integers readIntegers(uint64_t first, uint64_t count, float* tail, TileMemory& memory) const;

private:
    void readTail(uint64_t first, uint64_t count, float* tail, uint64_t stride) const;
    std::shared_ptr<const CodedWeight> asIntegers(std::shared_ptr<const CodedWeight> weight) const;
    TensorRange findRange(Workers& workers, std::vector<TileMemory>& memory) const;
    std::shared_ptr<const CodedWeight> load(const PackedWeight& packed) const;
    std::shared_ptr<const CodedWeight> encodeAll(Workers& workers, std::vector<TileMemory>& memory) const;

    const Tensor* tensor_;
    uint64_t outputs_;
    uint64_t inputs_;
    const Kernels& kernels_;
    const Parts* parts_;
    uint64_t quantized_;  ///< inputs without the tail
    std::optional<FloatType> cast_;
    std::optional<RowCodec> codec_;
    std::shared_ptr<const CodedWeight> coded_;
};

}  // namespace quantscope
