// Ops that move values, attention and convolution against plain loops; the memory plan against an exhaustive check.
#include <gtest/gtest.h>

#include <numeric>

#include "graph/checks.h"
#include "graph_support.h"

namespace quantscope {
namespace {

using test::expectClose;
using test::Model;

TEST(GraphLayout, PermuteLikeNumpy) {
    const std::pair<Shape, std::vector<uint64_t>> cases[] = {{{5, 7}, {1, 0}},
                                                             {{3, 4, 2, 5, 2}, {1, 3, 0, 2, 4}},
                                                             {{4, 5, 2, 2, 3}, {4, 0, 2, 1, 3}},
                                                             {{6, 1, 9}, {2, 0, 1}},
                                                             {{2, 3, 4}, {0, 2, 1}}};
    for (const auto& [shape, axes] : cases) {
        Model model;
        const Buffer x = model.input({elementsOf(shape)});
        model.add(PermuteOp{x, shape, axes, 0}, {elementsOf(shape), 1});
        std::vector<double> expected;
        std::vector<uint64_t> position(shape.size(), 0);
        for (size_t n = 0; n < elementsOf(shape); ++n) {  // counts through the result's axes
            std::vector<uint64_t> source(shape.size());
            for (size_t i = 0; i < shape.size(); ++i) {
                source[axes[i]] = position[i];
            }
            uint64_t flat = 0;
            for (size_t i = 0; i < shape.size(); ++i) {
                flat = flat * shape[i] + source[i];
            }
            expected.push_back(model.valuesOf(x)[flat]);
            for (size_t i = shape.size(); i-- > 0;) {
                if (++position[i] < shape[axes[i]]) {
                    break;
                }
                position[i] = 0;
            }
        }
        expectClose(model.run(), expected, 0);
    }
}

TEST(GraphLayout, SliceAndConcatAreInverse) {
    for (const uint64_t axis : {0u, 1u, 2u}) {
        Model model;
        const Shape shape{5, 6, 7};
        const Buffer x = model.input(shape);
        std::vector<Buffer> parts;
        for (const auto& [start, end] : {std::pair<uint64_t, uint64_t>{0, 2}, {2, 3}, {3, shape[axis]}}) {
            Shape part = shape;
            part[axis] = end - start;
            parts.push_back(model.add(SliceOp{x, axis, start, end, 0}, part));
        }
        model.add(ConcatOp{parts, axis, 0}, shape);
        EXPECT_EQ(model.run(), model.valuesOf(x));
        // In another order the result differs: the slices are no views of the whole.
        Shape swapped = shape;
        swapped[axis] = shape[axis] - 1;
        model.add(ConcatOp{{parts[2], parts[0]}, axis, 0}, swapped);
        EXPECT_NE(model.run().front(), model.valuesOf(x).front());
    }
}

TEST(GraphLayout, ViewsOfViewsAndOfConstants) {
    Model model;
    std::vector<float> data(24);
    std::iota(data.begin(), data.end(), 0.0f);
    const Buffer constant = model.add(ConstantOp{data, 0}, {4, 6});
    const Buffer rows = model.add(SliceOp{constant, 0, 1, 3, 0}, {2, 6});
    const Buffer flat = model.add(PermuteOp{rows, {12}, {0}, 0}, {12});
    const Buffer tail = model.add(SliceOp{flat, 0, 5, 12, 0}, {7});
    model.add(AffineOp{tail, 1, 0, {}, {}, 0}, {7});
    expectClose(model.run(), {11, 12, 13, 14, 15, 16, 17}, 0);
    model.program.outputs = {{"y", tail}};
    expectClose(model.run(), {11, 12, 13, 14, 15, 16, 17}, 0);
}

TEST(GraphLayout, ResizeTakesTheNearest) {
    Model model;
    const Shape from{2, 3, 5};
    const Shape to{2, 7, 12};
    const Buffer x = model.input(from);
    model.add(ResizeOp{x, 0}, to);
    std::vector<double> expected;
    for (uint64_t c = 0; c < to[0]; ++c) {
        for (uint64_t i = 0; i < to[1]; ++i) {
            for (uint64_t j = 0; j < to[2]; ++j) {
                expected.push_back(model.valuesOf(x)[(c * from[1] + i * from[1] / to[1]) * from[2] + j * from[2] / to[2]]);
            }
        }
    }
    expectClose(model.run(), expected, 0);
}

std::vector<double> attention(const std::vector<float>& q, const std::vector<float>& k, const std::vector<float>& v, size_t width,
                              size_t heads, const std::vector<float>* bias) {
    const size_t queries = q.size() / width, keys = k.size() / width, d = width / heads;
    std::vector<double> result(q.size());
    for (size_t head = 0; head < heads; ++head) {
        for (size_t t = 0; t < queries; ++t) {
            std::vector<double> weights(keys);
            double total = 0;
            for (size_t s = 0; s < keys; ++s) {
                double score = 0;
                for (size_t i = head * d; i < (head + 1) * d; ++i) {
                    score += static_cast<double>(q[t * width + i]) * k[s * width + i];
                }
                weights[s] = std::exp(score / std::sqrt(static_cast<double>(d)) + (bias != nullptr ? (*bias)[s] : 0.0));
                total += weights[s];
            }
            for (size_t s = 0; s < keys; ++s) {
                for (size_t i = head * d; i < (head + 1) * d; ++i) {
                    result[t * width + i] += weights[s] / total * v[s * width + i];
                }
            }
        }
    }
    return result;
}

TEST(GraphAttention, MatchesTheDefinition) {
    struct Case {
        uint64_t queries, keys, heads, d;
        bool bias;
    };
    for (const Case& c : {Case{1, 1, 1, 1, false},
                          {17, 17, 3, 8, false},
                          {33, 77, 4, 7, true},
                          {150, 20, 2, 16, true},
                          {300, 301, 2, 72, false}}) {
        for (const Kernels* level : supportedKernels()) {
            Model model(c.queries);
            const uint64_t width = c.heads * c.d;
            const Buffer q = model.input({c.queries, width});
            const Buffer k = model.input({c.keys, width});
            const Buffer v = model.input({c.keys, width});
            std::optional<Buffer> bias;
            if (c.bias) {
                bias = model.input({c.keys});
                for (uint64_t i = 0; i < c.keys; i += 3) {
                    model.valuesOf(*bias)[i] = -10000;  // a masked key
                }
            }
            model.add(AttentionOp{q, k, v, c.heads, bias, 0}, {c.queries, width});
            expectClose(model.run(2, *level), attention(model.valuesOf(q), model.valuesOf(k), model.valuesOf(v), width, c.heads,
                                                        bias ? &model.valuesOf(*bias) : nullptr));
        }
    }
}

TEST(GraphAttention, LargeScoresDoNotOverflow) {
    Model model;
    const Buffer q = model.input({9, 16});
    for (float& value : model.valuesOf(q)) {
        value *= 1e4f;
    }
    const Buffer v = model.input({9, 16});
    model.add(AttentionOp{q, q, v, 2, {}, 0}, {9, 16});
    for (const float y : model.run()) {
        ASSERT_TRUE(std::isfinite(y));
    }
}

struct Video {
    uint64_t channels, frames, height, width;
};

std::vector<double> convolve(const std::vector<float>& x, const Video& in, const std::vector<float>& w, uint64_t outputs,
                             uint64_t kt, uint64_t kh, uint64_t kw, const std::vector<float>& bias) {
    std::vector<double> result;
    for (uint64_t o = 0; o < outputs; ++o) {
        for (uint64_t t = 0; t + kt <= in.frames; ++t) {
            for (uint64_t i = 0; i < in.height; ++i) {
                for (uint64_t j = 0; j < in.width; ++j) {
                    double sum = bias.empty() ? 0 : bias[o];
                    for (uint64_t c = 0; c < in.channels; ++c) {
                        for (uint64_t a = 0; a < kt; ++a) {
                            for (uint64_t b = 0; b < kh; ++b) {
                                for (uint64_t e = 0; e < kw; ++e) {
                                    const int64_t y = static_cast<int64_t>(i + b) - static_cast<int64_t>(kh / 2);
                                    const int64_t z = static_cast<int64_t>(j + e) - static_cast<int64_t>(kw / 2);
                                    if (y >= 0 && z >= 0 && y < static_cast<int64_t>(in.height) &&
                                        z < static_cast<int64_t>(in.width)) {
                                        sum += static_cast<double>(w[(((o * in.channels + c) * kt + a) * kh + b) * kw + e]) *
                                               x[((c * in.frames + t + a) * in.height + static_cast<uint64_t>(y)) * in.width +
                                                 static_cast<uint64_t>(z)];
                                    }
                                }
                            }
                        }
                    }
                    result.push_back(sum);
                }
            }
        }
    }
    return result;
}

TEST(GraphConv, ImagesAndVideos) {
    struct Case {
        Video in;
        uint64_t outputs, kt, kh, kw;
        bool bias;
    };
    for (const Case& c : {Case{{3, 1, 9, 11}, 5, 0, 3, 3, true},
                          {{4, 1, 8, 5}, 3, 0, 1, 1, false},
                          {{2, 1, 3, 2}, 2, 0, 7, 5, true},
                          {{5, 4, 6, 7}, 3, 3, 3, 3, true},
                          {{3, 5, 4, 5}, 6, 1, 1, 1, true},
                          {{2, 3, 5, 4}, 4, 3, 1, 1, false},
                          {{8, 1, 70, 61}, 4, 0, 3, 3, true}}) {
        Model model(c.outputs);
        const bool image = c.kt == 0;
        const uint64_t kt = image ? 1 : c.kt;
        const Buffer x = model.input(image ? Shape{c.in.channels, c.in.height, c.in.width}
                                           : Shape{c.in.channels, c.in.frames, c.in.height, c.in.width});
        const Stored weight =
            model.tensor(image ? Shape{c.outputs, c.in.channels, c.kh, c.kw} : Shape{c.outputs, c.in.channels, kt, c.kh, c.kw});
        const auto bias = c.bias ? std::optional(model.tensor({c.outputs})) : std::nullopt;
        model.add(ConvOp{x, weight, bias, 0}, image ? Shape{c.outputs, c.in.height, c.in.width}
                                                    : Shape{c.outputs, c.in.frames - kt + 1, c.in.height, c.in.width});
        expectClose(model.run(3), convolve(model.valuesOf(x), c.in, model.valuesOf(weight), c.outputs, kt, c.kh, c.kw,
                                           bias ? model.valuesOf(*bias) : std::vector<float>()),
                    1e-5);
    }
}

/// A random program of sums and views: every buffer that is still to be read must keep its place for itself.
TEST(GraphMemory, LiveBuffersNeverOverlap) {
    SplitMix64 random(5);
    for (int round = 0; round < 50; ++round) {
        Model model;
        std::vector<Buffer> all{model.input({1 + random.below(40)})};
        for (int i = 0; i < 40; ++i) {
            const Buffer x = all[random.below(all.size())];
            const uint64_t size = elementsOf(model.program.buffers[x]);
            if (random.below(3) == 0) {
                const uint64_t start = random.below(size);
                all.push_back(model.add(SliceOp{x, 0, start, size, 0}, {size - start}));
            } else {
                all.push_back(model.add(ConcatOp{{x, all[random.below(all.size())]}, 0, 0}, {}));
                auto& op = std::get<ConcatOp>(model.program.ops.back());
                const uint64_t joined = size + elementsOf(model.program.buffers[op.xs[1]]);
                if (joined > 4000) {  // do not grow without end
                    op.xs.pop_back();
                }
                model.program.buffers[op.out] = {op.xs.size() == 1 ? size : joined};
            }
        }
        // What the values must be, with a buffer of its own for everything.
        std::vector<std::vector<float>> values(model.program.buffers.size());
        values[0] = model.valuesOf(0);
        for (const Op& op : model.program.ops) {
            if (const auto* slice = std::get_if<SliceOp>(&op)) {
                const auto& x = values[slice->x];
                values[slice->out].assign(x.begin() + static_cast<std::ptrdiff_t>(slice->start), x.end());
            } else {
                for (const Buffer x : std::get<ConcatOp>(op).xs) {
                    const auto copy = values[x];
                    auto& out = values[std::get<ConcatOp>(op).out];
                    out.insert(out.end(), copy.begin(), copy.end());
                }
            }
        }
        model.program.outputs.clear();
        for (int i = 0; i < 3; ++i) {
            const Buffer out = all[random.below(all.size())];
            model.program.outputs["y" + std::to_string(out)] = out;
        }
        for (const auto& [name, found] : model.runAll().outputs) {
            ASSERT_EQ(found, values[model.program.outputs.at(name)]) << "round " << round << " " << name;
        }
    }
}

TEST(GraphMemory, ALongChainNeedsTwoBuffers) {
    Model model;
    Buffer x = model.input({1000});
    for (int i = 0; i < 50; ++i) {
        x = model.add(AffineOp{x, 1, 1, {}, {}, 0}, {1000});
    }
    EXPECT_LE(Graph(model.program).bufferBytes(), 2 * (1000 + 16) * sizeof(float));
}

}  // namespace
}  // namespace quantscope
