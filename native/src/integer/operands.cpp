#include "integer/operands.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <utility>

namespace quantscope {

namespace {

/// Panels whose expanded weights stay in the second-level cache while all rows of x pass.
constexpr size_t kCachedBytes = size_t{256} << 10;

size_t sidesOf(const IntegerCodes& codes, size_t width) { return codes.affine ? 2 * (width / codes.group) : 1; }

/// Neighbours of one sign with |a + b| > 128 may exceed 16 bits beside unsigned bytes: 128 * 255 is the most that fits, and of two signs the larger alone
/// counts. Both are cut to at most 64, and what is missing, at most 64 each too, goes to take(step, rest). It is a few in a hundred steps of bell-shaped rows.
template <class Take>
void splitPairs(std::vector<int8_t>& x, Take take) {
    for (size_t step = 0; step < x.size() / kByteDepth; ++step) {
        int8_t* const at = x.data() + step * kByteDepth;
        std::array<int8_t, kByteDepth> rest{};
        bool any = false;
        for (size_t k = 0; k < kByteDepth; k += 2) {
            if (std::abs(at[k] + at[k + 1]) > 128) {
                any = true;
                for (size_t j = k; j < k + 2; ++j) {
                    const auto kept = std::clamp<int8_t>(at[j], -64, 64);
                    rest[j] = static_cast<int8_t>(at[j] - kept);
                    at[j] = kept;
                }
            }
        }
        if (any) {
            take(step, rest);
        }
    }
}

}  // namespace

IntegerWeight::IntegerWeight(const IntegerPlan& plan, size_t outputs, const uint8_t* codes, const float* sides)
    : plan_(plan), outputs_(outputs), codes_(allocateAligned<uint8_t>(panels() * panelBytes())),
      scales_(panels() * plan.groups * kPanelColumns), lowest_(panels() * plan.groups * kPanelColumns) {
    std::fill_n(codes_.get(), panels() * panelBytes(), uint8_t{0});
    const size_t depth = plan.depth();
    const bool nibbles = plan.form == PanelForm::Nibbles;
    const size_t ratio = plan.w.group / std::max<size_t>(plan.group, 1);  // product groups in one of the weights'
    const size_t sidesEach = sidesOf(plan.w, plan.width);
    for (size_t row = 0; row < outputs; ++row) {
        const size_t panel = row / kPanelColumns;
        const size_t column = row % kPanelColumns;
        uint8_t* const target = codes_.get() + panel * panelBytes();
        const uint8_t* const source = codes + row * plan.width;
        for (size_t g = 0; g < plan.groups; ++g) {
            const float* const side = sides + row * sidesEach + (plan.w.affine ? 2 * (g / ratio) : 0);
            const size_t at = (panel * plan.groups + g) * kPanelColumns + column;
            scales_[at] = plan.w.affine ? side[0] : side[0] * plan.w.unit;
            // A row with a NaN has NaN for its sides, which its scale then shows.
            lowest_[at] = !plan.w.affine ? plan.w.least : side[1] == side[1] ? static_cast<int32_t>(side[1]) : 0;
            for (size_t k = 0; k < plan.group; ++k) {
                uint8_t code = source[g * plan.group + k];
                if (!plan.w.affine && !nibbles) {
                    code = static_cast<uint8_t>(plan.w.levels[code] - plan.w.least);
                }
                const size_t step = g * plan.steps + k / depth;
                const size_t within = column * depth + k % depth;
                if (nibbles) {  // steps 2s and 2s + 1 share a piece of 64 bytes
                    target[step / 2 * kPanelColumns * depth + within] |= static_cast<uint8_t>(code << (step % 2 * 4));
                } else {
                    target[step * kPanelColumns * depth + within] = code;
                }
            }
        }
    }
}

size_t IntegerWeight::panelBytes() const {
    const size_t steps = plan_.groups * plan_.steps;
    return plan_.form == PanelForm::Nibbles ? (steps + 1) / 2 * kPanelColumns * kByteDepth : steps * kPanelColumns * plan_.depth();
}

size_t IntegerWeight::bytes() const {
    return panels() * panelBytes() + scales_.size() * sizeof(float) + lowest_.size() * sizeof(int32_t);
}

size_t IntegerWeight::expandedBytes() const { return panelBytes() * (plan_.form == PanelForm::Bytes ? 1 : 2); }

void IntegerWeight::expand(size_t panel, const ProductKernels& kernels, void* target) const {
    const uint8_t* const source = codes_.get() + panel * panelBytes();
    if (plan_.form == PanelForm::Nibbles) {
        uint8_t levels[16] = {};
        for (size_t code = 0; code < size_t{1} << plan_.w.bits; ++code) {
            levels[code] = static_cast<uint8_t>(plan_.w.affine ? static_cast<int>(code) : plan_.w.levels[code] - plan_.w.least);
        }
        kernels.expandNibbles(source, panelBytes(), levels, static_cast<uint8_t*>(target));
    } else if (plan_.form == PanelForm::Words) {
        const size_t each = plan_.steps * kPanelColumns * kWordDepth;
        for (size_t g = 0; g < plan_.groups; ++g) {
            int16_t offset[kPanelColumns * kWordDepth];
            for (size_t i = 0; i < kPanelColumns * kWordDepth; ++i) {
                offset[i] = static_cast<int16_t>(lowest(panel)[g * kPanelColumns + i / kWordDepth]);
            }
            kernels.expandBytes(source + g * each, each, offset, static_cast<int16_t*>(target) + g * each);
        }
    } else {
        std::memcpy(target, source, panelBytes());
    }
}

IntegerInputs::IntegerInputs(const IntegerPlan& plan, size_t rows, const ProductKernels& kernels)
    : plan_(plan), rows_(rows), height_(kernels.rows), values_(allocateAligned<uint8_t>(rows * rowBytes())), scales_(rows * plan.groups),
      sums_(rows * plan.groups), extra_(plan.splits ? tiles() : 0) {}

size_t IntegerInputs::rowBytes() const { return plan_.groups * plan_.steps * 4; }  // four bytes or two words

void IntegerInputs::fill(size_t tile, const uint8_t* codes, const float* sides) {
    const size_t count = rowsOf(tile);
    const size_t first = firstRow(tile);
    uint8_t* const target = values_.get() + first * rowBytes();
    float* const scales = scales_.data() + first * plan_.groups;
    int32_t* const sums = sums_.data() + first * plan_.groups;
    const size_t ratio = plan_.x.group / std::max<size_t>(plan_.group, 1);
    const size_t sidesEach = sidesOf(plan_.x, plan_.width);
    const size_t padded = plan_.steps * plan_.depth();
    std::vector<int16_t> words(padded);  // zeros behind a group
    std::vector<int8_t> bytes(padded);
    std::vector<std::pair<size_t, ExtraStep>> extra;  // with their group
    int16_t levels[256] = {};
    std::copy(plan_.x.levels.begin(), plan_.x.levels.end(), levels);
    for (size_t i = 0; i < count; ++i) {
        for (size_t g = 0; g < plan_.groups; ++g) {
            const float* const side = sides + i * sidesEach + (plan_.x.affine ? 2 * (g / ratio) : 0);
            const uint8_t* const source = codes + i * plan_.width + g * plan_.group;
            scales[g * count + i] = plan_.x.affine ? side[0] : side[0] * plan_.x.unit;
            int32_t sum = 0;
            if (plan_.x.affine) {
                const auto lowest = static_cast<int16_t>(side[1] == side[1] ? side[1] : 0.0f);
                for (size_t k = 0; k < plan_.group; ++k) {
                    words[k] = static_cast<int16_t>(source[k] + lowest);
                }
            } else {
                for (size_t k = 0; k < plan_.group; ++k) {
                    words[k] = levels[source[k]];
                }
            }
            const void* packed = words.data();
            if (plan_.form != PanelForm::Words) {
                for (size_t k = 0; k < plan_.group; ++k) {
                    bytes[k] = static_cast<int8_t>(words[k]);
                    sum += words[k];
                }
                if (plan_.splits) {
                    splitPairs(bytes, [&](size_t step, const std::array<int8_t, kByteDepth>& rest) {
                        extra.push_back({g, {static_cast<uint32_t>(i), static_cast<uint32_t>(g * plan_.steps + step), {rest[0], rest[1], rest[2], rest[3]}}});
                    });
                }
                packed = bytes.data();
            }
            sums[g * count + i] = sum;
            uint8_t* const column = target + (g * plan_.steps * count + i) * 4;
            for (size_t step = 0; step < plan_.steps; ++step) {
                std::memcpy(column + step * count * 4, static_cast<const uint8_t*>(packed) + step * 4, 4);
            }
        }
    }
    if (plan_.splits) {
        std::stable_sort(extra.begin(), extra.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
        Extra& kept = extra_[tile];
        kept.steps.clear();
        kept.ends.assign(plan_.groups, 0);
        for (const auto& [g, step] : extra) {
            kept.steps.push_back(step);
            ++kept.ends[g];
        }
        std::partial_sum(kept.ends.begin(), kept.ends.end(), kept.ends.begin());
    }
}

void IntegerInputs::set(size_t tile, ProductTile& to) const {
    const size_t first = firstRow(tile);
    to.rows = rowsOf(tile);
    to.x = values_.get() + first * rowBytes();
    to.xScales = scales_.data() + first * plan_.groups;
    to.xSums = sums_.data() + first * plan_.groups;
    const bool splits = plan_.splits && !extra_[tile].steps.empty();
    to.extra = splits ? extra_[tile].steps.data() : nullptr;
    to.extraEnds = splits ? extra_[tile].ends.data() : nullptr;
}

void multiplyIntegers(const IntegerInputs& x, Span tiles, const IntegerWeight& w, Span panels, float* y, size_t yStride, const ProductKernels& kernels,
                      IntegerScratch& scratch) {
    const IntegerPlan& plan = w.plan();
    if (plan.groups == 0) {
        return;
    }
    const size_t each = w.expandedBytes();
    const size_t atOnce = std::clamp<size_t>(kCachedBytes / each, 1, std::max<size_t>(panels.last - panels.first, 1));
    if (scratch.bytes < atOnce * each) {
        scratch.panels = allocateAligned<uint8_t>(atOnce * each);
        scratch.bytes = atOnce * each;
    }
    ProductTile tile{};
    tile.groups = plan.groups;
    tile.steps = plan.steps;
    tile.run = plan.run;
    const auto multiply = plan.form == PanelForm::Words ? kernels.words : kernels.bytes;
    for (size_t begin = panels.first; begin < panels.last; begin += atOnce) {
        const size_t end = std::min(panels.last, begin + atOnce);
        for (size_t panel = begin; panel < end; ++panel) {
            w.expand(panel, kernels, scratch.panels.get() + (panel - begin) * each);
        }
        for (size_t t = tiles.first; t < tiles.last; ++t) {
            x.set(t, tile);
            for (size_t panel = begin; panel < end; ++panel) {
                tile.panel = scratch.panels.get() + (panel - begin) * each;
                tile.scales = w.scales(panel);
                tile.lowest = w.lowest(panel);
                float* const target = y + (x.firstRow(t) - x.firstRow(tiles.first)) * yStride + (panel - panels.first) * kPanelColumns;
                const size_t columns = std::min(kPanelColumns, w.outputs() - panel * kPanelColumns);
                if (columns == kPanelColumns) {
                    tile.y = target;
                    tile.yStride = yStride;
                    multiply(tile);
                } else {
                    std::vector<float> whole(tile.rows * kPanelColumns);  // -0 + 0 is 0 either way: the sums start from 0
                    tile.y = whole.data();
                    tile.yStride = kPanelColumns;
                    multiply(tile);
                    for (size_t i = 0; i < tile.rows; ++i) {
                        for (size_t j = 0; j < columns; ++j) {
                            target[i * yStride + j] += whole[i * kPanelColumns + j];
                        }
                    }
                }
            }
        }
    }
}

}  // namespace quantscope
