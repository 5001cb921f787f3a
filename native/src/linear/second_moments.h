// Mean x xᵀ of the rows that go into linears, added up over the runs of a graph: what GPTQ and principal components are made from.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/aligned.h"
#include "base/workers.h"
#include "cpu/kernels.h"

namespace quantscope {

/// Of one input. Sums in float64, of products in float32 over at most 1024 rows. Results do not depend on the number of threads.
class SecondMoments {
public:
    explicit SecondMoments(uint64_t width);

    uint64_t width() const { return width_; }
    uint64_t rows() const { return rows_; }  ///< added; rows with a NaN or an infinity are left out
    static uint64_t bytes(uint64_t width);

    void add(const float* x, uint64_t rows, Workers& workers, const Kernels& kernels);
    /// Row `i` of the mean, [width]. Zeros before the first row was added.
    void meanRow(uint64_t i, float* row) const;

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
    /// Begins a run that adds to these layers. Throws Error(Memory) when all sums together would take more than `maxBytes`.
    void startRun(const std::vector<Layer>& layers, uint64_t maxBytes);
    void forget() {
        sums_.clear();
        adding_.clear();
    }

    /// Takes x [rows, width] when this layer's sums are wanted and no other layer adds the same.
    void add(const std::string& layer, const float* x, uint64_t rows, Workers& workers, const Kernels& kernels);
    /// Multiply-adds of so many rows of the layer, times two; 0 when it adds none.
    double workOf(const std::string& layer, uint64_t rows) const;

    /// Inputs that take() will write.
    size_t size() const { return sums_.size(); }
    /// Writes a file for each input into the folder and forgets everything, advancing by 1 per file. Kept when it fails.
    std::vector<SecondMomentsFile> take(const std::string& folder, Workers& workers);

private:
    struct Sums {
        SecondMoments moments;
        std::set<std::string> layers;
    };
    std::map<Inputs, Sums> sums_;
    std::map<std::string, Sums*> adding_;
};

}  // namespace quantscope
