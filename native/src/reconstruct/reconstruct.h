// Block reconstruction (BRECQ, arXiv 2102.05426, with AdaRound's objective; PTQ4DiT, arXiv 2405.16005): the rounding of all weights of a block is
// learned so that its output with quantized weights and activations comes close to the output that full precision gives.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "base/cancellation.h"
#include "base/thread_pool.h"
#include "cpu/kernels.h"
#include "graph/program.h"
#include "linear/recipe.h"

namespace quantscope {

struct ReconstructBlockRequest {
    struct Layer {
        LinearRecipe recipe;  ///< integers as weights, without codes
        std::string out;      ///< codes and what belongs to them, as quantizeLayer() writes them
    };
    Program program;  ///< of the block
    /// F32 [samples, shape of the buffer], by the program's inputs and outputs: what goes into the block, and what should come out.
    std::map<std::string, TensorRef> inputs;
    std::map<std::string, TensorRef> outputs;
    std::map<std::string, Layer> layers;  ///< by name; the block's other linears stay in full precision
    uint64_t iterations;
    uint64_t batch;  ///< samples of one iteration, or all where there are fewer
    uint64_t seed;   ///< of the draw of the batches
};

struct ReconstructedBlock {
    double lossBefore = 0;  ///< mean squared error of the outputs over all samples, weights rounded to nearest
    double lossAfter = 0;   ///< with what the files hold
    /// False when learning ended no better than rounding to nearest, which the files then hold.
    bool learned = false;
    std::map<std::string, uint64_t> flipped;  ///< by layer: weights that are not rounded to nearest
};

/// Adam on the roundings alone, as published: regulariser share 0.01 after a fifth of the iterations, its exponent from 20 down to 2. Not as published,
/// where results depend on the scale of the outputs: the loss is 4 times the squared error over that of rounding to nearest. The step is the published
/// 0.001 for 20 000 iterations and larger for fewer, so that a rounding can get as far; it does not exceed 0.1. Equal seeds give equal results whatever
/// the number of threads.
/// Throws Error: Argument naming the layer, input or op that does not fit; Io; Memory; Cancelled. Files appear only when all went well.
ReconstructedBlock reconstructBlock(const ReconstructBlockRequest& request, ThreadPool& pool, const Cancellation& cancellation,
                                    const Progress& progress, const Kernels& kernels);

}  // namespace quantscope
