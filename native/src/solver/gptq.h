// Codes by GPTQ, for every quantizer that has codes.
#pragma once

#include <optional>
#include <vector>

#include "quantizer/row_codec.h"
#include "solver/feedback.h"

namespace quantscope {

/// Codes and side numbers of all rows, as RowCodec has them.
struct Rounding {
    std::vector<uint8_t> codes;  ///< [rows, width]
    std::vector<float> sides;    ///< [rows, sides]
};

/// Round to nearest, row by row. `weights` [rows, codec.width()].
Rounding roundToNearest(const float* weights, size_t rows, const RowCodec& codec, Workers& workers);

struct GptqOptions {
    Damping damping;
    bool actOrder = true;
    /// Scales from the weights as they were. Otherwise those of a group come from its weights when its first column is decided,
    /// with the errors so far moved to them.
    bool staticGroups = true;
};

/// tr(D H Dᵀ), H the second moments: mean squared error of the outputs, summed over them.
struct ProxyLoss {
    double rtn = 0;
    double solver = 0;
};

struct Gptq {
    Rounding rounding;
    ProxyLoss loss;
    double damping = 0;
    unsigned retries = 0;
};

/// `moments` [codec.width(), codec.width()] with `stride`. Weights of inputs that are always zero become 0, as in the paper's
/// program. Throws Error(Argument) for act-order without static groups, and as Feedback does.
Gptq gptq(std::vector<float> weights, const float* moments, size_t stride, const RowCodec& codec, const GptqOptions& options,
          Workers& workers);

/// What gptq() advances the workers by, unless damping has to grow.
double gptqWork(size_t rows, size_t width);

}  // namespace quantscope
