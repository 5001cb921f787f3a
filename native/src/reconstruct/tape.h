// A block of a model with every value of a forward pass kept, so that a loss can be followed back to its linears.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/aligned.h"
#include "graph/memory_plan.h"
#include "reconstruct/block_linear.h"

namespace quantscope {

class Tape {
public:
    /// Opens every file and reads the linears' weights; those with a recipe learn. Throws Error: Argument when the program or a recipe does not
    /// fit, a recipe names no linear, or an op behind a learning linear has no derivative; Io; Memory when more is needed than this machine has.
    Tape(Program program, const Recipes& recipes, const Bench& bench);

    const Program& program() const { return program_; }
    /// Of one forward pass; a backward pass takes about twice as many.
    double flops() const { return flops_; }
    float* values(Buffer buffer) { return places_[buffer]; }
    /// Null where nothing that learns comes in.
    float* gradient(Buffer buffer) { return gradients_[buffer]; }
    /// By name.
    std::map<std::string, std::unique_ptr<BlockLinear>>& linears() { return linears_; }

    /// From the inputs' values to all others.
    void forward(const Bench& bench);
    void clearGradients();
    /// From the outputs' gradients to those of the learning linears, which it adds to.
    void backward(const Bench& bench);

private:
    std::vector<MemoryPlan::Place> check(const Recipes& recipes);
    void findGradients(const Recipes& recipes, const std::vector<MemoryPlan::Place>& plan);
    void readLinears(const Recipes& recipes, const Bench& bench);

    Program program_;
    double flops_ = 0;
    uint64_t size_ = 0;
    AlignedArray<float> values_;
    AlignedArray<float> slopes_;
    std::vector<float*> places_;     ///< by buffer
    std::vector<float*> gradients_;  ///< by buffer
    std::map<std::string, std::unique_ptr<BlockLinear>> linears_;
    std::vector<BlockLinear::Saved> saved_;  ///< by op
};

}  // namespace quantscope
