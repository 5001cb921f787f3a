// Ops of the CUDA backend, each held against the processor's own on odd shapes: one program of many ops, all of them outputs.
#include <gtest/gtest.h>

#include <limits>

#include "device_graph_support.h"

namespace quantscope {
namespace {

using cuda::Element;
using test::Model;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

class Ops : public Model {
public:
    /// As add(), with the result among the outputs.
    template <class OpType>
    Buffer out(OpType op, Shape shape) {
        const Buffer buffer = add(std::move(op), std::move(shape));
        outputs_["y" + std::to_string(buffer)] = buffer;
        return buffer;
    }
    /// Values that both elements hold.
    Buffer exact(Shape shape) {
        const Buffer buffer = input(std::move(shape));
        valuesOf(buffer) = test::throughBf16(valuesOf(buffer));
        return buffer;
    }
    using Model::valuesOf;
    Stored exactTensor(Shape shape) {
        return tensor(shape, test::throughBf16(test::Gaussian(elementsOf(shape)).floats(elementsOf(shape))));
    }

    /// Float32 up to `tolerance` and bfloat16 up to its rounding, once or more often, relative to 1 + |value|.
    void compare(double tolerance = 2e-6, double roundings = 1) {
        program.outputs = outputs_;
        const auto expected = runAll().outputs;
        for (const Element element : {Element::F32, Element::BF16}) {
            SCOPED_TRACE(element == Element::F32 ? "float32" : "bfloat16");
            const RunResult found = test::OnDevice(program, element).run(request);
            EXPECT_TRUE(found.device->processor.empty());
            const double allowed = element == Element::F32 ? tolerance : 0x1p-8 * roundings;
            for (const auto& [name, values] : expected) {
                SCOPED_TRACE(name);
                const std::vector<float>& own = found.outputs.at(name);
                ASSERT_EQ(own.size(), values.size());
                for (size_t i = 0; i < values.size(); ++i) {
                    if (!std::isfinite(values[i])) {
                        ASSERT_TRUE(std::isnan(values[i]) ? std::isnan(own[i]) : own[i] == values[i]) << own[i] << " at " << i << ", not " << values[i];
                    } else {
                        ASSERT_NEAR(own[i], values[i], allowed * (1 + std::fabs(values[i]))) << "at " << i;
                    }
                }
            }
        }
    }

private:
    std::map<std::string, Buffer> outputs_;
};

TEST(DeviceOps, CombineValuesWithBroadcasting) {
    Ops ops;
    const Shape pairs[][3] = {{{5, 33}, {33}, {5, 33}},          {{5, 1}, {1, 33}, {5, 33}},       {{3, 1, 7}, {1, 4, 1}, {3, 4, 7}}, {{2, 3, 64}, {3, 64}, {2, 3, 64}},
                              {{1}, {1}, {1}},                   {{4, 5, 16}, {4, 1, 16}, {4, 5, 16}}, {{2, 1, 3, 1, 2}, {3, 1, 4, 1}, {2, 3, 3, 4, 2}},
                              {{301, 96}, {301, 96}, {301, 96}}, {{1, 1}, {3, 128}, {3, 128}}};
    for (const auto& [a, b, out] : pairs) {
        for (const BinaryKind kind : {BinaryKind::Add, BinaryKind::Sub, BinaryKind::Mul}) {
            ops.out(BinaryOp{kind, ops.exact(a), ops.exact(b), 0}, out);
        }
    }
    for (const Shape& shape : test::kOddRows) {
        const Buffer x = ops.exact(shape);
        ops.out(ModulateOp{x, ops.exact({shape[1]}), ops.exact({shape[1]}), 0}, shape);
        ops.out(GateAddOp{x, ops.exact({shape[1]}), ops.exact(shape), 0}, shape);
    }
    ops.compare();
}

TEST(DeviceOps, MapValuesThatAreNotFiniteToo) {
    Ops ops;
    for (const Shape& shape : test::kOddRows) {
        const Buffer x = ops.exact(shape);
        std::vector<float>& values = ops.valuesOf(x);
        const float special[] = {0.0f, -0.0f, 1000.0f, -1000.0f, 1e-30f, kNan};
        for (size_t i = 0; i < std::size(special) && i + 1 < values.size(); ++i) {
            values[values.size() - 1 - i] = test::throughBf16(special[i]);
        }
        for (const UnaryKind kind : {UnaryKind::Silu, UnaryKind::GeluTanh, UnaryKind::Tanh, UnaryKind::Relu}) {
            ops.out(UnaryOp{kind, x, 0}, shape);
        }
        ops.out(AffineOp{x, 1.5, -0.25, {}, {}, 0}, shape);
        ops.out(AffineOp{x, 2.0, 0.5, -1.0, 1.25, 0}, shape);
    }
    ops.compare();
}

TEST(DeviceOps, NormaliseRowsGroupsAndChannels) {
    Ops ops;
    const Shape rows[] = {{1, 1}, {1, 7}, {5, 33}, {37, 129}, {301, 96}, {3, 1152}, {2, 4100}, {9, 8, 128}, {3, 15360}, {2, 16512}};
    for (const Shape& shape : rows) {
        const Buffer x = ops.exact(shape);
        ops.valuesOf(x)[0] += 4.0f;
        ops.out(LayerNormOp{x, 1e-6, {}, {}, 0}, shape);
        ops.out(LayerNormOp{x, 1e-5, ops.tensor({shape.back()}), ops.tensor({shape.back()}), 0}, shape);
        ops.out(RmsNormOp{x, 1e-6, ops.tensor({shape.back()}), 0}, shape);
    }
    const Buffer bad = ops.exact({3, 40});
    ops.valuesOf(bad)[47] = kNan;
    ops.valuesOf(bad)[85] = kInf;
    ops.out(LayerNormOp{bad, 1e-6, {}, {}, 0}, {3, 40});
    ops.out(RmsNormOp{bad, 1e-6, ops.tensor({40}), 0}, {3, 40});
    const struct {
        Shape shape;
        uint64_t groups;
    } images[] = {{{6, 5, 7}, 2}, {{8, 31, 33}, 1}, {{64, 3, 3}, 32}, {{4, 70, 70}, 2}, {{4, 64, 528}, 1}, {{4, 1}, 4}};
    for (const auto& [shape, groups] : images) {
        const Buffer x = ops.exact(shape);
        ops.out(GroupNormOp{x, groups, 1e-6, ops.tensor({shape[0]}), ops.tensor({shape[0]}), 0}, shape);
        ops.out(ChannelNormOp{x, ops.tensor({shape[0]}), 0}, shape);
    }
    ops.compare(5e-6);
}

TEST(DeviceOps, ReadWhatIsNotAligned) {
    Ops ops;
    const Buffer odd = ops.add(SliceOp{ops.exact({37}), 0, 3, 36, 0}, {33});
    ops.out(UnaryOp{UnaryKind::Silu, odd, 0}, {33});
    ops.out(BinaryOp{BinaryKind::Mul, odd, odd, 0}, {33});
    ops.out(LayerNormOp{odd, 1e-6, {}, {}, 0}, {33});
    ops.out(RopeOp{ops.add(PermuteOp{ops.add(SliceOp{odd, 0, 1, 33, 0}, {32}), {4, 8}, {0, 1}, 0}, {4, 8}), ops.input({4, 4}), ops.input({4, 4}), 1, 0}, {4, 8});
    ops.compare();
}

TEST(DeviceOps, KeepAnglesAndTimesInFloat32) {
    Ops ops;
    for (const auto& [tokens, heads, pairs] : {std::tuple{5, 3, 4}, {1, 1, 1}, {70, 2, 33}}) {
        const auto n = static_cast<uint64_t>(tokens), h = static_cast<uint64_t>(heads), p = static_cast<uint64_t>(pairs);
        ops.out(RopeOp{ops.exact({n, 2 * h * p}), ops.input({n, p}), ops.input({n, p}), h, 0}, {n, 2 * h * p});
    }
    ops.out(TimestepOp{ops.input({1}, {987.654f}), 256, 0, 1, 0}, {256});
    ops.out(TimestepOp{ops.input({1}, {0.3217f}), 62, 1, 1000, 0}, {62});
    const Buffer both = ops.exact({4, 6});  // angles that are activations elsewhere
    ops.out(RopeOp{ops.exact({4, 12}), both, both, 1, 0}, {4, 12});
    ops.out(UnaryOp{UnaryKind::Relu, both, 0}, {4, 6});
    ops.compare();
}

TEST(DeviceOps, ModulateWhatIsNormalised) {
    Ops ops;
    for (const Shape& shape : test::kOddRows) {
        const auto vector = [&] { return ops.exact({shape[1]}); };
        const auto norm = [&](Buffer x) { return LayerNormOp{x, 1e-6, ops.tensor({shape[1]}), ops.tensor({shape[1]}), 0}; };
        const Buffer x = ops.exact(shape);
        ops.out(ModulateOp{ops.add(LayerNormOp{x, 1e-6, {}, {}, 0}, shape), vector(), vector(), 0}, shape);
        ops.out(ModulateOp{ops.add(norm(x), shape), vector(), vector(), 0}, shape);
        ops.out(ModulateOp{ops.out(norm(x), shape), vector(), vector(), 0}, shape);  // somebody else reads the norm, too
        const Buffer twice = ops.add(norm(x), shape);
        ops.out(ModulateOp{twice, vector(), vector(), 0}, shape);
        ops.out(ModulateOp{twice, vector(), vector(), 0}, shape);
        // Nobody needs the norm's rows behind it: their memory is given to what comes in between, or to the modulation.
        for (const bool between : {false, true}) {
            const Buffer normed = ops.add(norm(ops.add(UnaryOp{UnaryKind::Relu, x, 0}, shape)), shape);
            const Buffer scale = between ? ops.add(UnaryOp{UnaryKind::Tanh, vector(), 0}, {shape[1]}) : vector();
            const Buffer other = between ? ops.add(BinaryOp{BinaryKind::Add, x, x, 0}, shape) : x;
            const Buffer modulated = ops.add(ModulateOp{normed, scale, vector(), 0}, shape);
            ops.out(ConcatOp{{modulated, other}, 0, 0}, {2 * shape[0], shape[1]});
        }
    }
    ops.compare(5e-6, 4);  // norms that are rounded before they are modulated are multiplied by up to 4
}

TEST(DeviceOps, MoveValues) {
    Ops ops;
    const struct {
        Shape x;
        std::vector<uint64_t> axes;
    } permutes[] = {{{5, 33}, {1, 0}}, {{3, 4, 16}, {1, 0, 2}}, {{2, 3, 5, 7}, {3, 1, 0, 2}}, {{4, 2, 6, 2, 3}, {0, 2, 4, 1, 3}}, {{40, 70}, {1, 0}}, {{6, 1, 8}, {2, 1, 0}},
                   {{3, 40, 70}, {0, 2, 1}},  {{2, 33, 3, 64}, {0, 3, 2, 1}}, {{17, 2, 5, 31}, {3, 2, 1, 0}}, {{20, 3, 48}, {2, 1, 0}}};
    for (const auto& [x, axes] : permutes) {
        Shape out;
        for (const uint64_t axis : axes) {
            out.push_back(x[axis]);
        }
        ops.out(PermuteOp{ops.exact(x), x, axes, 0}, out);
    }
    const Buffer x = ops.exact({6, 10, 8});
    ops.out(SliceOp{x, 1, 2, 7, 0}, {6, 5, 8});
    ops.out(SliceOp{x, 2, 3, 4, 0}, {6, 10, 1});
    const Buffer view = ops.out(SliceOp{x, 0, 1, 3, 0}, {2, 10, 8});
    ops.out(PermuteOp{view, {20, 8}, {0, 1}, 0}, {160});
    ops.out(ConcatOp{{x, ops.exact({6, 1, 8}), ops.exact({6, 3, 8})}, 1, 0}, {6, 14, 8});
    ops.out(ConcatOp{{ops.exact({3, 5}), ops.exact({2, 5})}, 0, 0}, {5, 5});
    ops.out(ResizeOp{ops.exact({3, 5, 7}), 0}, {3, 10, 14});
    ops.out(ResizeOp{ops.exact({4, 6}), 0}, {3, 13});
    ops.out(ResizeOp{ops.exact({2, 9, 12}), 0}, {2, 18, 24});
    ops.out(ResizeOp{ops.exact({5, 7}), 0}, {8, 40});
    ops.out(TensorOp{ops.exactTensor({7, 9}), 0}, {7, 9});
    ops.out(RowOp{ops.exactTensor({5, 12}), ops.input({1}, {3.0f}), 0}, {12});
    ops.out(ConstantOp{test::throughBf16(test::Gaussian(3).floats(11)), 0}, {11});
    ops.compare(0);
}

TEST(DeviceOps, Convolve) {
    Ops ops;
    const struct {
        Shape x;
        Shape weight;
        bool bias;
    } cases[] = {{{3, 9, 7}, {5, 3, 3, 3}, true},       {{8, 6, 6}, {4, 8, 1, 1}, true}, {{2, 5, 4}, {3, 2, 5, 3}, false},
                 {{4, 3, 6, 5}, {6, 4, 3, 3, 3}, true}, {{16, 33, 40}, {3, 16, 3, 3}, true}, {{1, 1, 1}, {1, 1, 1, 1}, true}};
    for (const auto& [x, weight, bias] : cases) {
        Shape out = x;
        out[0] = weight[0];
        if (x.size() == 4) {
            out[1] = x[1] - weight[2] + 1;
        }
        ops.out(ConvOp{ops.exact(x), ops.exactTensor(weight), bias ? std::optional(ops.tensor({weight[0]})) : std::nullopt, 0}, out);
    }
    ops.compare(1e-5);
}

TEST(DeviceOps, FindWhatIsNotFinite) {
    const auto device = test::testedDevice();
    constexpr uint16_t kLargest[] = {0x7F7F, 0xFF7F};  // of bfloat16; as words of 32 bits finite, too
    const auto found = device->allocate<uint32_t>(1);
    for (const Element element : {Element::F32, Element::BF16}) {
        const uint64_t each = element == Element::F32 ? 2 : 1;
        for (const uint64_t count : {1, 7, 8, 100, 5003}) {
            for (const uint64_t skipped : {0, 1}) {
                const auto search = [&](const std::vector<uint16_t>& words) {
                    const auto x = device->upload(words);
                    const cuda::NonFiniteRequest request{x.data() + skipped * each, element, count, found.data()};
                    device->check(device->calls().clear(device->context(), found.data(), 4), "clearing");
                    device->check(device->api().ops->findNonFinite(device->context(), &request), "searching");
                    return found.read()[0];
                };
                std::vector<uint16_t> words((count + skipped) * each);
                for (size_t i = 0; i < words.size(); ++i) {
                    words[i] = kLargest[i % 3 % 2];
                }
                EXPECT_EQ(search(words), 0u);
                for (const uint16_t bad : {0x7F80, 0xFF80, 0x7FC0}) {
                    for (const uint64_t at : {uint64_t{0}, count / 2, count - 1}) {
                        std::vector<uint16_t> spoilt = words;
                        spoilt[(skipped + at) * each + each - 1] = bad;
                        EXPECT_EQ(search(spoilt), 1u) << at << " of " << count;
                    }
                }
                if (skipped > 0) {
                    words[each - 1] = 0x7F80;  // before the first value
                    EXPECT_EQ(search(words), 0u);
                }
            }
        }
    }
}

TEST(DeviceOps, RefuseWhatMakesNoSense) {
    const auto device = test::testedDevice();
    const cuda::OpCalls& calls = *device->api().ops;
    cuda::CombineRequest combine{};
    EXPECT_EQ(calls.combine(device->context(), &combine), cuda::Status::Argument);
    cuda::MoveRequest move{};
    move.axes = cuda::kMaxAxes + 1;
    EXPECT_EQ(calls.move(device->context(), &move), cuda::Status::Argument);
    cuda::GroupNormRequest norm{};
    norm.channels = 6;
    norm.groups = 4;
    norm.size = 1;
    EXPECT_EQ(calls.groupNorm(device->context(), &norm), cuda::Status::Argument);
    cuda::ConvRequest conv{};
    EXPECT_EQ(calls.conv(device->context(), &conv), cuda::Status::Argument);
    cuda::MapRequest nothing{};
    EXPECT_EQ(calls.map(device->context(), &nothing), cuda::Status::Ok);
    cuda::RowNormRequest noRows{};
    EXPECT_EQ(calls.rowNorm(device->context(), &noRows), cuda::Status::Ok);
}

}  // namespace
}  // namespace quantscope
