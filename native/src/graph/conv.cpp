// Convolutions of the decoders, stride 1: image patches become the columns of a matrix, a strip of positions at a time.
#include <algorithm>
#include <cstring>

#include "graph/conv_geometry.h"
#include "graph/ops.h"
#include "linear/gemm.h"

namespace quantscope {

namespace {

/// Row `row` of the patch matrix, (channel, kt, kh, kw) in the weight's order, for positions first..first+count of one output
/// frame.
void gatherRow(const ConvGeometry& g, const float* x, uint64_t row, uint64_t frame, uint64_t first, uint64_t count, float* target) {
    const uint64_t kw = row % g.kernelW;
    const uint64_t kh = row / g.kernelW % g.kernelH;
    const uint64_t kt = row / (g.kernelW * g.kernelH) % g.kernelT;
    const uint64_t channel = row / (g.kernelW * g.kernelH * g.kernelT);
    const float* image = x + (channel * g.frames + frame + kt) * g.area();
    const int64_t shiftX = static_cast<int64_t>(kw) - static_cast<int64_t>(g.kernelW / 2);
    const int64_t shiftY = static_cast<int64_t>(kh) - static_cast<int64_t>(g.kernelH / 2);
    const int64_t width = static_cast<int64_t>(g.width);
    for (uint64_t done = 0; done < count;) {  // one line of the image at a time
        const int64_t y = static_cast<int64_t>((first + done) / g.width);
        const int64_t begin = static_cast<int64_t>((first + done) % g.width);
        const int64_t end = std::min<int64_t>(width, begin + static_cast<int64_t>(count - done));
        float* line = target + done - begin;
        const int64_t from = std::clamp<int64_t>(-shiftX, begin, end);
        const int64_t until = std::clamp<int64_t>(width - shiftX, from, end);
        if (y + shiftY < 0 || y + shiftY >= static_cast<int64_t>(g.height)) {
            std::fill(line + begin, line + end, 0.0f);
        } else {
            std::fill(line + begin, line + from, 0.0f);
            std::memcpy(line + from, image + (y + shiftY) * width + from + shiftX,
                        static_cast<size_t>(until - from) * sizeof(float));
            std::fill(line + until, line + end, 0.0f);
        }
        done += static_cast<uint64_t>(end - begin);
    }
}

}  // namespace

void check(ConvOp& op, Checks& to) {
    const Shape& x = to.read(op.x, "x");
    const Shape& weight = op.weight.ref.shape;
    to.require(x.size() == 3 || x.size() == 4, "x: expected [C, H, W] or [C, T, H, W], found " + describe(x));
    to.require(weight.size() == x.size() + 1 && weight[1] == x[0] && weight[0] >= 1,
               "weight is " + describe(weight) + ", which does not fit x " + describe(x));
    to.open(op.weight, "weight");
    const ConvGeometry g = geometryOf(x, weight);
    to.require(g.kernelH % 2 == 1 && g.kernelW % 2 == 1,
               "weight: the kernel's height and width must be odd, found " + describe(weight));
    to.require(g.kernelT >= 1 && g.kernelT <= g.frames,
               "x has " + std::to_string(g.frames) + " frames, the kernel takes " + std::to_string(g.kernelT));
    to.require(g.patch() < uint64_t{1} << 31 && g.frames * g.area() < uint64_t{1} << 31,
               "x or weight are too large for one convolution");
    if (op.bias) {
        to.open(*op.bias, "bias", g.outputs);
    }
    const Shape expected =
        x.size() == 3 ? Shape{g.outputs, g.height, g.width} : Shape{g.outputs, g.outFrames(), g.height, g.width};
    const Shape& out = to.write(op.out);
    to.require(out == expected, "out is " + describe(out) + ", expected " + describe(expected));
    to.addFlops(g.flops(g.outFrames() * g.area()));
}

void run(const ConvOp& op, Run& in) {
    const ConvGeometry g = geometryOf(in.shape(op.x), op.weight.ref.shape);
    const auto weight = load(*op.weight.tensor, in.kernels);
    const auto bias = op.bias ? load(*op.bias->tensor, in.kernels) : std::vector<float>(g.outputs, 0.0f);
    const float* x = in.in(op.x);
    // Strips whose patches take about four mebibytes: they stay close to the processor while the product reads them.
    const uint64_t strip = std::clamp<uint64_t>((uint64_t{1} << 20) / g.patch(), 16, 2048);
    const uint64_t strips = (g.area() + strip - 1) / strip;
    const uint64_t outStride = g.outFrames() * g.area();
    const bool pointwise = g.kernelT * g.kernelH * g.kernelW == 1;
    in.workers.tiles(g.outFrames() * strips, [&](size_t tile, unsigned worker) {
        const uint64_t frame = tile / strips;
        const uint64_t first = tile % strips * strip;
        const uint64_t count = std::min(strip, g.area() - first);
        float* out = in.out(op.out) + frame * g.area() + first;
        for (uint64_t o = 0; o < g.outputs; ++o) {
            std::fill_n(out + o * outStride, count, bias[o]);
        }
        const float* patches = x + frame * g.area() + first;
        uint64_t patchStride = g.frames * g.area();
        if (!pointwise) {
            float* gathered = in.memory[worker].panel.get<float>(g.patch() * strip);
            for (uint64_t row = 0; row < g.patch(); ++row) {
                gatherRow(g, x, row, frame, first, count, gathered + row * count);
            }
            patches = gathered;
            patchStride = count;
        }
        multiply(g.outputs, count, g.patch(), weight.data(), g.patch(), patches, patchStride, 1.0f, out, outStride);
        in.workers.advance(g.flops(count));
    });
}

}  // namespace quantscope
