// The weights of linears as a device takes them, made from files and recipes on the processor.
#pragma once

#include <vector>

#include "base/workers.h"
#include "cpu/kernels.h"
#include "device/linear.h"
#include "graph/program.h"
#include "linear/recipe.h"

namespace quantscope {

/// What of the processor reads and codes weights.
struct DeviceBench {
    Workers& workers;
    std::vector<TileMemory>& memory;
    const Kernels& kernels;
};

struct LayerWeights {
    explicit LayerWeights(const LinearOp& linear) : op(linear) {}
    const LinearOp& op;
    uint64_t inputs = 0;
    uint64_t outputs = 0;
    const LinearRecipe* recipe = nullptr;  ///< none: as they are stored
    bool coded = false;                    ///< as codes; otherwise as what they decode to
    std::vector<float> shift{};            ///< of the quantized inputs behind the transforms, which the bias takes off again; empty without one
};

/// Into product.weightBytes() bytes. Codes are those of the processor's linears. Throws Error: Io, Argument, Cancelled.
void packProduct(const LayerWeights& layer, const DeviceLinear& product, const DeviceBench& bench, std::byte* target);
/// The down matrix of the low-rank branch, likewise.
void packDown(const LayerWeights& layer, const DeviceLinear& branch, const DeviceBench& bench, std::byte* target);

}  // namespace quantscope
