// Derivatives of ops against differences of their outputs.
#include <gtest/gtest.h>

#include "graph/checks.h"
#include "graph/ops.h"
#include "graph_support.h"
#include "reconstruct/reverse.h"

namespace quantscope {
namespace {

using test::Gaussian;
using test::Model;

/// A model of one op on memory of its own, and the loss Σ c y with Gaussian c.
class OneOp {
public:
    explicit OneOp(Model& model) : program_(model.program) {
        Checks checks(program_);
        checks.startOp(0, program_.ops[0]);
        std::visit([&](auto& each) { check(each, checks); }, program_.ops[0]);
        out_ = program_.outputs.at("y");
        for (const Shape& shape : program_.buffers) {
            values_.emplace_back(elementsOf(shape));
            slopes_.emplace_back(elementsOf(shape), 0.0f);
        }
        for (const auto& [name, buffer] : program_.inputs) {
            values_[buffer] = model.request.inputs.at(name);
        }
        slopes_[out_] = Gaussian(99).floats(slopes_[out_].size());
        for (size_t i = 0; i < values_.size(); ++i) {
            places_.push_back(values_[i].data());
            gradients_.push_back(slopes_[i].data());
        }
    }

    double loss() {
        std::visit([&](const auto& each) { run(each, in_); }, program_.ops[0]);
        double sum = 0;
        for (size_t i = 0; i < values_[out_].size(); ++i) {
            sum += static_cast<double>(slopes_[out_][i]) * values_[out_][i];
        }
        return sum;
    }

    /// Gradients of these inputs against differences of fourth order. Gradients are added to what is there.
    void expectDerivatives(const std::vector<Buffer>& inputs, double tolerance = 2e-4) {
        loss();
        for (const Buffer input : inputs) {
            std::fill(slopes_[input].begin(), slopes_[input].end(), 1.0f);
        }
        backward(program_.ops[0], {in_, gradients_});
        for (const Buffer input : inputs) {
            for (size_t i = 0; i < values_[input].size(); ++i) {
                const float before = values_[input][i];
                const auto at = [&](double step) {
                    values_[input][i] = static_cast<float>(before + step);
                    return loss();
                };
                constexpr double kStep = 0.03125;
                const double difference = (8 * (at(kStep) - at(-kStep)) - (at(2 * kStep) - at(-2 * kStep))) / (12 * kStep);
                values_[input][i] = before;
                ASSERT_NEAR(slopes_[input][i] - 1.0, difference, tolerance * (1 + std::fabs(difference))) << "buffer " << input << " at " << i;
            }
        }
    }

    void dropGradient(Buffer buffer) { gradients_[buffer] = nullptr; }

private:
    Program program_;
    Buffer out_ = 0;
    std::vector<std::vector<float>> values_;
    std::vector<std::vector<float>> slopes_;
    std::vector<float*> places_;
    std::vector<float*> gradients_;
    ThreadPool pool_{2};
    Cancellation cancellation_;
    Progress progress_ = [](double) {};
    Workers workers_{pool_, cancellation_, progress_, 1};
    std::vector<TileMemory> memory_{2};
    Run in_{program_, places_, workers_, nullptr, kernels(), memory_};
};

TEST(Reverse, LayerNorm) {
    for (const bool affine : {false, true}) {
        Model model;
        const Buffer x = model.input({5, 33});
        LayerNormOp op{x, 1e-5, std::nullopt, std::nullopt, 0};
        if (affine) {
            op.weight = model.tensor({33});
            op.bias = model.tensor({33});
        }
        model.add(op, {5, 33});
        OneOp(model).expectDerivatives({x});
    }
}

TEST(Reverse, RmsNorm) {
    Model model;
    const Buffer x = model.input({3, 4, 9});
    model.add(RmsNormOp{x, 1e-6, model.tensor({9}), 0}, {3, 4, 9});
    OneOp(model).expectDerivatives({x});
}

TEST(Reverse, ConstantRowOfANormHasAFiniteGradient) {
    Model model;
    const Buffer x = model.input({2, 8}, std::vector<float>(16, 3.0f));
    model.add(LayerNormOp{x, 1.0, std::nullopt, std::nullopt, 0}, {2, 8});
    OneOp(model).expectDerivatives({x});
}

TEST(Reverse, Modulate) {
    Model model;
    const Buffer x = model.input({37, 70});
    const Buffer shift = model.input({70});
    const Buffer scale = model.input({1, 70});
    model.add(ModulateOp{x, shift, scale, 0}, {37, 70});
    OneOp(model).expectDerivatives({x, shift, scale});
}

TEST(Reverse, GateAdd) {
    Model model;
    const Buffer x = model.input({7, 65});
    const Buffer gate = model.input({65});
    const Buffer y = model.input({7, 65});
    model.add(GateAddOp{x, gate, y, 0}, {7, 65});
    OneOp(model).expectDerivatives({x, gate, y});
}

TEST(Reverse, BinaryBroadcasts) {
    const std::pair<Shape, Shape> shapes[] = {{{4, 5}, {4, 5}}, {{3, 4, 5}, {5}}, {{4, 1}, {3, 1, 5}}, {{1}, {2, 3}}, {{3, 1, 2}, {1, 4, 2}}};
    for (const BinaryKind kind : {BinaryKind::Add, BinaryKind::Sub, BinaryKind::Mul}) {
        for (const auto& [left, right] : shapes) {
            Model model;
            const Buffer a = model.input(left);
            const Buffer b = model.input(right);
            Shape out(std::max(left.size(), right.size()), 1);
            for (size_t i = 0; i < out.size(); ++i) {
                const auto sizeOf = [&](const Shape& shape) { return i < shape.size() ? shape[shape.size() - 1 - i] : 1; };
                out[out.size() - 1 - i] = std::max(sizeOf(left), sizeOf(right));
            }
            model.add(BinaryOp{kind, a, b, 0}, out);
            OneOp(model).expectDerivatives({a, b});
        }
    }
}

TEST(Reverse, OneBufferOnBothSides) {
    Model model;
    const Buffer x = model.input({3, 4});
    model.add(BinaryOp{BinaryKind::Mul, x, x, 0}, {3, 4});
    OneOp(model).expectDerivatives({x});
}

TEST(Reverse, Unary) {
    for (const UnaryKind kind : {UnaryKind::Silu, UnaryKind::GeluTanh, UnaryKind::Tanh}) {
        Model model;
        const Buffer x = model.input({1, 41});
        model.add(UnaryOp{kind, x, 0}, {1, 41});
        OneOp(model).expectDerivatives({x});
    }
    Model model;
    const Buffer x = model.input({4}, {-3.0f, -0.5f, 0.5f, 2.0f});
    model.add(UnaryOp{UnaryKind::Relu, x, 0}, {4});
    OneOp(model).expectDerivatives({x});
}

TEST(Reverse, AffineStopsAtItsBounds) {
    Model model;
    const Buffer x = model.input({5}, {-4.0f, -0.5f, 0.25f, 1.0f, 7.0f});
    model.add(AffineOp{x, 2.0, 0.5, -3.0, 4.0, 0}, {5});
    OneOp(model).expectDerivatives({x});
}

TEST(Reverse, Rope) {
    Model model;
    const Buffer x = model.input({5, 24});
    const Buffer cos = model.input({5, 4});
    const Buffer sin = model.input({5, 4});
    model.add(RopeOp{x, cos, sin, 3, 0}, {5, 24});
    OneOp(model).expectDerivatives({x});
}

TEST(Reverse, Attention) {
    for (const bool biased : {false, true}) {
        Model model;
        const Buffer q = model.input({70, 6});  // more than one block of queries
        const Buffer k = model.input({11, 6});
        const Buffer v = model.input({11, 6});
        AttentionOp op{q, k, v, 2, std::nullopt, 0};
        if (biased) {
            op.bias = model.input({11});
        }
        model.add(op, {70, 6});
        OneOp(model).expectDerivatives({q, k, v});
    }
}

TEST(Reverse, AttentionOfABufferWithItself) {
    Model model;
    const Buffer x = model.input({6, 8});
    model.add(AttentionOp{x, x, x, 2, std::nullopt, 0}, {6, 8});
    OneOp(model).expectDerivatives({x});
}

TEST(Reverse, Layout) {
    Model permuted;
    const Buffer x = permuted.input({4, 15});
    permuted.add(PermuteOp{x, {2, 2, 3, 5}, {3, 0, 2, 1}, 0}, {5, 12});
    OneOp(permuted).expectDerivatives({x});

    Model sliced;
    const Buffer y = sliced.input({3, 7, 2});
    sliced.add(SliceOp{y, 1, 2, 5, 0}, {3, 3, 2});
    OneOp(sliced).expectDerivatives({y});

    Model joined;
    const Buffer a = joined.input({2, 3, 2});
    const Buffer b = joined.input({2, 1, 2});
    joined.add(ConcatOp{{a, b, a}, 1, 0}, {2, 7, 2});
    OneOp(joined).expectDerivatives({a, b});
}

TEST(Reverse, InputsWithoutAGradientAreLeftAlone) {
    Model model;
    const Buffer x = model.input({7, 65});
    const Buffer gate = model.input({65});
    const Buffer y = model.input({7, 65});
    model.add(GateAddOp{x, gate, y, 0}, {7, 65});
    OneOp op(model);
    op.dropGradient(x);
    op.dropGradient(gate);
    op.expectDerivatives({y});
}

TEST(Reverse, KnowsWhatItCanDo) {
    EXPECT_TRUE(isDifferentiable(LinearOp{}));
    EXPECT_TRUE(isDifferentiable(AttentionOp{}));
    EXPECT_FALSE(isDifferentiable(ConvOp{}));
    EXPECT_FALSE(isDifferentiable(ResizeOp{}));
    EXPECT_FALSE(isDifferentiable(RowOp{}));
}

}  // namespace
}  // namespace quantscope
