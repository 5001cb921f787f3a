// A block with every value kept: its outputs, and its gradients against differences.
#include <gtest/gtest.h>

#include "reconstruct_support.h"

namespace quantscope {
namespace {

using test::Block;
using test::bytesOf;
using test::Gaussian;
using test::integers;
using test::messageOf;
using test::Model;
using test::Shop;
using test::TemporaryFile;

/// Σ c y with Gaussian c, and its gradient.
double lossOf(Tape& tape, const Model& model, const Bench& bench, bool backward) {
    for (const auto& [name, buffer] : tape.program().inputs) {
        std::copy(model.request.inputs.at(name).begin(), model.request.inputs.at(name).end(), tape.values(buffer));
    }
    for (auto& [name, layer] : tape.linears()) {
        if (layer->rounding() != nullptr) {
            layer->useSoft(bench.workers);
        }
    }
    tape.forward(bench);
    const Buffer out = tape.program().outputs.at("y");
    const std::vector<float> c = Gaussian(3).floats(elementsOf(tape.program().buffers[out]));
    if (backward) {
        tape.clearGradients();
        std::copy(c.begin(), c.end(), tape.gradient(out));
        tape.backward(bench);
    }
    double sum = 0;
    for (size_t i = 0; i < c.size(); ++i) {
        sum += static_cast<double>(c[i]) * tape.values(out)[i];
    }
    return sum;
}

TEST(Tape, ForwardIsThatOfTheModel) {
    Block block;
    const std::vector<float> expected = block.model.run();
    Shop shop;
    Tape tape(block.model.program, {}, shop.bench);
    lossOf(tape, block.model, shop.bench, false);
    const float* const found = tape.values(tape.program().outputs.at("y"));
    for (size_t i = 0; i < expected.size(); ++i) {
        ASSERT_NEAR(found[i], expected[i], 1e-5) << i;
    }
}

/// The gradient of every layer along a random direction against differences of fourth order.
TEST(Tape, GradientsAreThoseOfTheBlock) {
    const std::vector<std::vector<Transform>> choices = {{}, {RpbhTransform{5}}, {HadamardTransform{2}, RandomTransform{3}}};
    for (const auto& transforms : choices) {
        Block block;
        Shop shop;
        Recipes recipes;
        for (const auto& [name, stored] : block.stored) {
            recipes[name] = integers(8, transforms);
            std::get<IntQuantizer>(recipes[name].weights).symmetric = true;  // cuts nothing off: soft weights are the weights
        }
        Tape tape(block.model.program, recipes, shop.bench);
        lossOf(tape, block.model, shop.bench, true);
        for (const auto& [name, stored] : block.stored) {
            const std::vector<float> weights = block.model.valuesOf(stored);
            const std::vector<float> direction = Gaussian(11).floats(weights.size());
            const uint64_t inputs = stored.ref.shape[1];
            const Transforms turn(transforms, inputs, shop.workers, kernels());
            std::vector<float> turned(direction.size());
            Scratch scratch;
            turn.apply(Transforms::Side::Weights, direction.data(), stored.ref.shape[0], turned.data(), scratch);
            double slope = 0;
            for (size_t i = 0; i < turned.size(); ++i) {
                slope += static_cast<double>(turned[i]) * tape.linears().at(name)->gradient[i];
            }
            const auto at = [&](double step) {
                std::vector<float> moved = weights;
                for (size_t i = 0; i < moved.size(); ++i) {
                    moved[i] += static_cast<float>(step * direction[i]);
                }
                const TemporaryFile file(bytesOf(moved));
                Program program = block.model.program;
                for (Op& op : program.ops) {
                    if (auto* linear = std::get_if<LinearOp>(&op); linear != nullptr && linear->name == name) {
                        linear->weight = {test::tensorIn(file, Dtype::F32, stored.ref.shape), nullptr};
                    }
                }
                Tape other(program, {}, shop.bench);
                return lossOf(other, block.model, shop.bench, false);
            };
            constexpr double kStep = 0.004;
            const double difference = (8 * (at(kStep) - at(-kStep)) - (at(2 * kStep) - at(-2 * kStep))) / (12 * kStep);
            EXPECT_NEAR(slope, difference, 5e-3 * (1 + std::fabs(difference))) << name;
        }
    }
}

TEST(Tape, ClippedInputsPassNoGradient) {
    Model model;
    const Buffer x = model.input({1, 3}, {1.0f, 1.0f, 1.0f});
    const Buffer hidden = model.add(LinearOp{"first", x, model.tensor({3, 3}, {1, 1, 1, 1, 0, -1, 4, 0, 1}), std::nullopt, 0}, {1, 3});
    model.add(LinearOp{"second", hidden, model.tensor({1, 3}, {2, 3, 5}), std::nullopt, 0}, {1, 1});
    LinearRecipe first = integers(8);
    LinearRecipe second = integers(8);
    second.activations = IntQuantizer{.bits = 8, .symmetric = false, .granularity = Granularity::Tensor, .group = 0};
    second.activationRange = ActivationRange{-1, 4};
    Shop shop;
    Tape tape(model.program, {{"first", first}, {"second", second}}, shop.bench);
    lossOf(tape, model, shop.bench, true);
    const double c = Gaussian(3).floats(1)[0];
    const std::vector<double> expected{2 * c, 3 * c, 0};  // hidden is 3, 0 and 5: the last was cut off at 4
    for (size_t row = 0; row < 3; ++row) {
        for (size_t i = 0; i < 3; ++i) {
            EXPECT_NEAR(tape.linears().at("first")->gradient[row * 3 + i], expected[row], 0.02) << row;
        }
    }
}

TEST(Tape, RefusesWhatHasNoDerivative) {
    Model model;
    const Buffer x = model.input({4, 4});
    const Buffer y = model.add(LinearOp{"layer", x, model.tensor({4, 4}), std::nullopt, 0}, {4, 4});
    model.add(ResizeOp{y, 0}, {8, 4});
    Shop shop;
    EXPECT_NO_THROW(Tape(model.program, {}, shop.bench)) << "forward alone needs none";
    EXPECT_NE(messageOf([&] { Tape(model.program, {{"layer", integers(4)}}, shop.bench); }).find("op 1 (resize): a loss cannot"), std::string::npos);
    Model wide;
    const std::vector<float> zeros(kMaxWidth + 1);
    const Buffer row = wide.input({1, kMaxWidth + 1}, zeros);
    wide.add(LinearOp{"wide", row, wide.tensor({1, kMaxWidth + 1}, zeros), std::nullopt, 0}, {1, 1});
    EXPECT_NE(messageOf([&] { Tape(wide.program, {{"wide", integers(4)}}, shop.bench); }).find("(linear wide): takes"), std::string::npos);
    EXPECT_NE(messageOf([&] { Tape(model.program, {{"other", integers(4)}}, shop.bench); }).find("no linear \"other\""), std::string::npos);
}

}  // namespace
}  // namespace quantscope
