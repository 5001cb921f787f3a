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
#include "linear/recipe.h"
#include "quantizer/row_codec.h"
#include "rotation/rpbh.h"
#include "tensor/tensor.h"

namespace quantscope {

/// A whole weight as codes.
struct CodedWeight {
    RowCodec codec;
    std::vector<uint8_t> codes;
    std::vector<float> sides;
    size_t bytes() const { return codes.size() + sides.size() * sizeof(float); }
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
    /// Quantizes the whole matrix into the cache when it has room and the recipe asks for codes. `recipe` may be null.
    WeightRows(const std::string& layer, const Tensor& tensor, uint64_t outputs, uint64_t inputs, const LinearRecipe* recipe,
               WeightCache& cache, Workers& workers, std::vector<TileMemory>& memory, const Kernels& kernels);

    /// `count` rows from `first` on, as float32. Thread-safe with a scratch of its own for each thread.
    void read(uint64_t first, uint64_t count, float* panel, Scratch& scratch) const;

private:
    /// Decoded and rotated.
    void readUnquantized(uint64_t first, uint64_t count, float* panel, Scratch& scratch) const;
    TensorRange findRange(Workers& workers, std::vector<TileMemory>& memory) const;
    std::shared_ptr<const CodedWeight> encodeAll(Workers& workers, std::vector<TileMemory>& memory) const;

    const Tensor& tensor_;
    uint64_t outputs_;
    uint64_t inputs_;
    const Kernels& kernels_;
    std::shared_ptr<const Rpbh> rotation_;
    std::optional<FloatType> cast_;
    std::optional<RowCodec> codec_;
    std::shared_ptr<const CodedWeight> coded_;
};

}  // namespace quantscope
