// Mean x xᵀ of the rows that go into linears, added up over the runs of a graph: what GPTQ and principal components are made from.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/aligned.h"
#include "base/workers.h"
#include "cpu/kernels.h"

namespace quantscope {

/// Of one input, wherever they are added up. Sums in float64, of products in float32 over at most 1024 rows.
class MomentSums {
public:
    MomentSums() = default;
    virtual ~MomentSums() = default;
    MomentSums(const MomentSums&) = delete;
    MomentSums& operator=(const MomentSums&) = delete;

    virtual uint64_t width() const = 0;
    virtual uint64_t rows() const = 0;  ///< added; rows with a NaN or an infinity are left out
    virtual void add(const float* x, uint64_t rows, Workers& workers, const Kernels& kernels) = 0;
    /// Row `i` of the mean, [width]. Zeros before the first row was added.
    virtual void meanRow(uint64_t i, float* row) = 0;
};

/// On the processor. Results do not depend on the number of threads.
class SecondMoments : public MomentSums {
public:
    explicit SecondMoments(uint64_t width);

    uint64_t width() const override { return width_; }
    uint64_t rows() const override { return rows_; }
    static uint64_t bytes(uint64_t width);

    void add(const float* x, uint64_t rows, Workers& workers, const Kernels& kernels) override;
    void meanRow(uint64_t i, float* row) override;

private:
    double sum(uint64_t i, uint64_t j) const;

    uint64_t width_;
    uint64_t rows_ = 0;
    AlignedArray<double> tiles_;  ///< square tiles (i, j <= i), row by row
};

struct SecondMomentsFile {
    std::string layer;
    std::string file;  ///< tensor `second_moments`, F32 [width, width]; layers with the same inputs share one
    uint64_t rows;
};

/// The inputs of one graph's linears by layer. Layers that read the same buffers share their sums.
class SecondMomentsStore {
public:
    /// Buffers that a layer reads, in order of its ops.
    using Inputs = std::vector<uint32_t>;

    struct Layer {
        std::string name;
        Inputs inputs;
        uint64_t width;
    };
    /// Where sums of inputs that have none yet will be, and how much memory those of one width take there.
    struct Place {
        uint64_t (*bytes)(uint64_t width);
        std::function<std::unique_ptr<MomentSums>(uint64_t width)> make;
    };
    static Place processor();

    /// Begins a run that adds to these layers. Throws Error(Memory) when all sums together would take more than `maxBytes`, and what `place` throws:
    /// then everything is forgotten.
    void startRun(const std::vector<Layer>& layers, uint64_t maxBytes, const Place& place);
    void forget() {
        sums_.clear();
        adding_.clear();
    }

    /// What inputs of this layer are to be added to; null when nobody asked for it, or another layer adds the same.
    MomentSums* of(const std::string& layer) const;
    /// Multiply-adds of so many rows of the layer, times two; 0 when it adds none.
    double workOf(const std::string& layer, uint64_t rows) const;

    /// Inputs that take() will write.
    size_t size() const { return sums_.size(); }
    /// Writes a file for each input into the folder and forgets everything, advancing by 1 per file. Kept when it fails.
    std::vector<SecondMomentsFile> take(const std::string& folder, Workers& workers);

private:
    struct Sums {
        std::unique_ptr<MomentSums> moments;
        std::set<std::string> layers;
    };
    std::map<Inputs, Sums> sums_;
    std::map<std::string, Sums*> adding_;
};

}  // namespace quantscope
