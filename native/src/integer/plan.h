// Whether and how a linear runs on integers: what its codes stand for, and which product takes them.
//
// Integer quantizers are integers already: value = scale (code + lowest). Mid-rise codes are odd integers times half a step. A Lloyd-Max codebook is
// none, so its levels are replaced by integers times one unit, chosen for the least squared error under the normal density among those whose products fit
// the arithmetic: the surrogate, whose error is reported beside the codebook's own. The product of the integers is exact.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "integer/kernels.h"
#include "quantizer/quantizer.h"

namespace quantscope {

/// What the codes of one side of a product stand for.
struct IntegerCodes {
    int bits = 0;
    size_t group = 0;                ///< consecutive values with a scale of their own
    bool affine = false;             ///< integer = code + lowest; sides are (scale, lowest) for each group. Otherwise one side, a norm, and levels:
    std::vector<int16_t> levels{};   ///< by code, in units of `unit`
    float unit = 1.0f;
    int least = 0;                   ///< bounds of the integers
    int greatest = 0;
    double surrogateError = 0;       ///< mean squared difference to the true levels, relative to the mean square; 0 where the integers are exact
    double ownError = 0;             ///< codebooks: relative mean squared error of the codebook itself
    int largest() const { return greatest > -least ? greatest : -least; }
};

enum class PanelForm { Nibbles, Bytes, Words };  ///< four bits expanded to bytes; bytes; bytes expanded to words

struct IntegerPlan {
    IntegerCodes x;
    IntegerCodes w;
    PanelForm form = PanelForm::Words;
    size_t width = 0;
    size_t group = 0;   ///< inputs that share a scale on both sides
    size_t groups = 0;
    size_t steps = 0;   ///< of a group
    size_t run = 0;     ///< see ProductTile
    bool splits = false;  ///< neighbours of x are split where their products might exceed 16 bits, see ExtraStep
    size_t depth() const { return form == PanelForm::Words ? kWordDepth : kByteDepth; }
};

/// The plan for a layer, or the reason why its codes do not run on integers, as half a sentence after the layer's name.
std::variant<IntegerPlan, std::string> planInteger(const Quantizer& weights, const Quantizer& activations, size_t width, const ProductKernels& kernels);

}  // namespace quantscope
