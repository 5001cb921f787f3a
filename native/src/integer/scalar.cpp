// The definition of every product, in the plainest way.
#include "integer/kernels.h"

namespace quantscope {

namespace {

void expandNibbles(const uint8_t* packed, size_t count, const uint8_t* levels, uint8_t* panel) {
    for (size_t begin = 0; begin < count; begin += 64) {
        for (size_t b = 0; b < 64; ++b) {
            panel[2 * begin + b] = levels[packed[begin + b] & 15];
            panel[2 * begin + 64 + b] = levels[packed[begin + b] >> 4];
        }
    }
}

void expandBytes(const uint8_t* packed, size_t count, const int16_t* offset, int16_t* panel) {
    for (size_t i = 0; i < count; ++i) {
        panel[i] = static_cast<int16_t>(packed[i] + offset[i % (kPanelColumns * kWordDepth)]);
    }
}

/// What a group's extra steps add to row i and column j.
int32_t extraOf(const ProductTile& tile, size_t g, size_t i, size_t j) {
    int32_t total = 0;
    for (size_t e = g == 0 ? 0 : tile.extraEnds[g - 1]; e < tile.extraEnds[g]; ++e) {
        const ExtraStep& extra = tile.extra[e];
        for (size_t k = 0; extra.row == i && k < kByteDepth; ++k) {
            total += extra.x[k] * static_cast<const uint8_t*>(tile.panel)[(extra.step * kPanelColumns + j) * kByteDepth + k];
        }
    }
    return total;
}

template <class X, class W, size_t kDepth>
void multiply(const ProductTile& tile, bool corrects) {
    const auto* const x = static_cast<const X*>(tile.x);
    const auto* const panel = static_cast<const W*>(tile.panel);
    for (size_t i = 0; i < tile.rows; ++i) {
        for (size_t j = 0; j < kPanelColumns; ++j) {
            float sum = 0.0f;
            for (size_t g = 0; g < tile.groups; ++g) {
                int32_t total = corrects ? tile.lowest[g * kPanelColumns + j] * tile.xSums[g * tile.rows + i] : 0;
                if (corrects && tile.extra != nullptr) {
                    total += extraOf(tile, g, i, j);
                }
                for (size_t step = g * tile.steps; step < (g + 1) * tile.steps; ++step) {
                    for (size_t k = 0; k < kDepth; ++k) {
                        total += x[(step * tile.rows + i) * kDepth + k] * panel[(step * kPanelColumns + j) * kDepth + k];
                    }
                }
                const float scale = tile.xScales[g * tile.rows + i] * tile.scales[g * kPanelColumns + j];
                const float product = static_cast<float>(total) * scale;
                sum += product;
            }
            tile.y[i * tile.yStride + j] += sum;
        }
    }
}

constexpr ProductKernels kScalar = {
    "scalar",
    8,
    true,
    expandNibbles,
    expandBytes,
    [](const ProductTile& tile) { multiply<int8_t, uint8_t, kByteDepth>(tile, true); },
    [](const ProductTile& tile) { multiply<int16_t, int16_t, kWordDepth>(tile, false); },
};

}  // namespace

const ProductKernels& scalarProductKernels() { return kScalar; }

}  // namespace quantscope
