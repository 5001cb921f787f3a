// Codes that quantizeLayer() writes, run by a model; weights that dequantizeLayer() writes.
#include <gtest/gtest.h>

#include <limits>

#include "base/error.h"
#include "graph_support.h"
#include "packed_support.h"
#include "solver/layer.h"

namespace quantscope {
namespace {

using test::Model;
using test::tensorsOf;
using test::withCodes;

constexpr uint64_t kOutputs = 70, kInputs = 128, kRows = 200;

class Folder {
public:
    Folder() : path_(std::filesystem::temp_directory_path() / ("quantscope-layer-" + std::to_string(::getpid()))) {
        std::filesystem::create_directories(path_);
    }
    ~Folder() { std::filesystem::remove_all(path_); }
    std::string file(const std::string& name) const { return (path_ / name).string(); }
    bool isEmpty() const { return std::filesystem::is_empty(path_); }

private:
    std::filesystem::path path_;
};

struct Layer {
    explicit Layer(uint64_t seed = 3) : model(seed) {
        x = model.input({kRows, kInputs});
        auto values = test::Gaussian(seed).floats(kOutputs * kInputs);
        for (size_t i = 0; i < values.size(); ++i) {
            values[i] *= i % 37 == 0 ? 8.0f : 1.0f;
        }
        std::fill_n(values.begin() + 4 * kInputs, kInputs, 0.0f);
        weight = model.tensor({kOutputs, kInputs}, values);
        model.add(LinearOp{"layer", x, weight, {}, 0}, {kRows, kOutputs});
        auto& inputs = model.valuesOf(x);  // correlated, with two strong channels
        for (size_t i = 0; i < inputs.size(); ++i) {
            inputs[i] = (i % kInputs > 0 ? 0.8f * inputs[i - 1] : 0.0f) + inputs[i];
        }
        std::vector<float> h(kInputs * kInputs);
        for (size_t i = 0; i < h.size(); ++i) {
            double sum = 0;
            for (size_t row = 0; row < kRows; ++row) {
                sum += static_cast<double>(inputs[row * kInputs + i / kInputs]) * inputs[row * kInputs + i % kInputs];
            }
            h[i] = static_cast<float>(sum / kRows);
        }
        moments = model.tensor({kInputs, kInputs}, h);
        scale = model.tensor({kInputs}, std::vector<float>(kInputs, 0.5f));
    }

    LayerFit quantize(const LinearRecipe& recipe, const Solver& solver, std::optional<LowRankRequest> lowRank, const std::string& out) {
        ThreadPool pool(2);
        const bool informed = std::holds_alternative<GptqSolver>(solver);
        return quantizeLayer({"layer", weight.ref, recipe, solver, informed ? std::optional(moments.ref) : std::nullopt, lowRank, out}, pool, Cancellation{},
                             [](double) {}, kernels());
    }
    std::vector<float> run(const LinearRecipe& recipe) {
        model.request.recipes["layer"] = recipe;
        return model.run();
    }
    double outputError(const LinearRecipe& recipe) {
        const auto exact = run({{}, KeepQuantizer{}, KeepQuantizer{}});
        const auto found = run(recipe);
        double error = 0;
        for (size_t i = 0; i < exact.size(); ++i) {
            error += std::pow(static_cast<double>(found[i]) - exact[i], 2);
        }
        return error / kRows;
    }

    Model model;
    Buffer x = 0;
    Stored weight;
    Stored moments;
    Stored scale;
};

const Quantizer kQuantizers[] = {IntQuantizer{4, true, Granularity::Row, 0, FloatType::Fp16},
                                 IntQuantizer{3, false, Granularity::Group, 16, FloatType::Bf16},
                                 IntQuantizer{4, true, Granularity::Tensor, 0, FloatType::Fp16},
                                 CodebookQuantizer{3, FloatType::Bf16},
                                 MidRiseQuantizer{4, FloatType::Fp16},
                                 TwinLogQuantizer{4, false},
                                 TwinLogQuantizer{4, true},
                                 FloatQuantizer{FloatFormat::Fp4, Granularity::Group, 16},
                                 FloatQuantizer{FloatFormat::Nvfp4, Granularity::Group, 16},
                                 FloatQuantizer{FloatFormat::Mxfp4, Granularity::Group, 32},
                                 FloatQuantizer{FloatFormat::Fp8, Granularity::Row, 0}};

TEST(QuantizeLayer, RoundedCodesRunLikeThoseMadeOnTheFly) {
    const Folder folder;
    for (const Quantizer& quantizer : kQuantizers) {
        for (const uint64_t tail : {0, 32}) {
            Layer layer;
            const LinearRecipe recipe{{ScaleTransform{layer.scale.ref}, RpbhTransform{5}}, quantizer, KeepQuantizer{}, tail};
            const std::string out = folder.file("codes.safetensors");
            const LayerFit fit = layer.quantize(recipe, RtnSolver{}, std::nullopt, out);
            EXPECT_GT(fit.relativeMse, 0);
            EXPECT_FALSE(fit.loss);
            EXPECT_EQ(layer.run(withCodes(recipe, out)), layer.run(recipe)) << "quantizer " << quantizer.index() << ", tail " << tail;
            const LayerFit branch = layer.quantize(recipe, RtnSolver{}, LowRankRequest{4, 3}, out);
            EXPECT_LT(branch.relativeMse, fit.relativeMse);
            EXPECT_GT(branch.lowRankIterations, 0u);
            LinearRecipe coded = withCodes(recipe, out);
            LinearRecipe onTheFly = coded;
            onTheFly.packed.reset();
            EXPECT_EQ(layer.run(coded), layer.run(onTheFly)) << "quantizer " << quantizer.index() << ", tail " << tail;
        }
    }
}

TEST(QuantizeLayer, GptqLowersTheErrorOfTheOutput) {
    const Folder folder;
    for (const Quantizer& quantizer : kQuantizers) {
        for (const uint64_t tail : {0, 32}) {
            Layer layer;
            const LinearRecipe recipe{{ScaleTransform{layer.scale.ref}, RpbhTransform{5}}, quantizer, KeepQuantizer{}, tail};
            const std::string out = folder.file("codes.safetensors");
            const LayerFit fit = layer.quantize(recipe, GptqSolver{}, std::nullopt, out);
            ASSERT_TRUE(fit.loss);
            EXPECT_LT(fit.loss->solver, fit.loss->rtn) << "quantizer " << quantizer.index();
            // The moments are those of the very inputs: the proxy is the error, up to the tail's BF16.
            const double found = layer.outputError(withCodes(recipe, out));
            EXPECT_NEAR(found, fit.loss->solver, (tail == 0 ? 1e-3 : 3e-2) * found) << "quantizer " << quantizer.index();
            const LayerFit both = layer.quantize(recipe, GptqSolver{}, LowRankRequest{8, 20}, out);
            EXPECT_LT(both.loss->solver, fit.loss->solver) << "quantizer " << quantizer.index();
            EXPECT_NEAR(layer.outputError(withCodes(recipe, out)), both.loss->solver, (tail == 0 ? 1e-3 : 3e-2) * both.loss->solver);
        }
    }
}

TEST(QuantizeLayer, RefusesWhatDoesNotFitTogether) {
    const Folder folder;
    Layer layer;
    const std::string out = folder.file("codes.safetensors");
    const auto complaint = [&](LinearRecipe recipe, const Solver& solver, std::optional<TensorRef> moments, std::optional<LowRankRequest> lowRank,
                               const TensorRef& weight) {
        ThreadPool pool(1);
        try {
            quantizeLayer({"blocks.0.q", weight, recipe, solver, moments, lowRank, out}, pool, Cancellation{}, [](double) {}, kernels());
        } catch (const Error& error) {
            return std::string(error.what());
        }
        return std::string("none");
    };
    const LinearRecipe recipe{{}, IntQuantizer{}, KeepQuantizer{}};
    const TensorRef weight = layer.weight.ref;
    EXPECT_NE(complaint({{}, KeepQuantizer{}, KeepQuantizer{}}, RtnSolver{}, {}, {}, weight).find("blocks.0.q: weights that are kept"), std::string::npos);
    EXPECT_NE(complaint(recipe, GptqSolver{}, {}, {}, weight).find("needs the second moments"), std::string::npos);
    EXPECT_NE(complaint(recipe, GptqSolver{}, layer.scale.ref, {}, weight).find("F32 [128, 128]"), std::string::npos);
    EXPECT_NE(complaint(recipe, RtnSolver{}, {}, LowRankRequest{100, 1}, weight).find("ranks from 1 to 70"), std::string::npos);
    TensorRef vector = weight;
    vector.shape = {kInputs};
    EXPECT_NE(complaint(recipe, RtnSolver{}, {}, {}, vector).find("[outputs, inputs]"), std::string::npos);
    TensorRef beyond = weight;
    beyond.shape = {kOutputs + 1, kInputs};
    EXPECT_NE(complaint(recipe, RtnSolver{}, {}, {}, beyond).find(weight.file), std::string::npos);
    auto values = layer.model.valuesOf(layer.weight);
    values[9 * kInputs + 2] = std::numeric_limits<float>::quiet_NaN();
    const Stored broken = layer.model.tensor({kOutputs, kInputs}, values);
    const std::string message = complaint({{RpbhTransform{1}}, IntQuantizer{}, KeepQuantizer{}}, RtnSolver{}, {}, {}, broken.ref);
    EXPECT_NE(message.find("blocks.0.q: row 9 of the weight in " + broken.ref.file + " holds NaN"), std::string::npos) << message;
    EXPECT_TRUE(folder.isEmpty());
}

TEST(QuantizeLayer, LeavesNoFileWhenCancelled) {
    const Folder folder;
    Layer layer;
    ThreadPool pool(2);
    Cancellation cancellation;
    const Progress progress = [&](double) { cancellation.cancel(); };
    try {
        quantizeLayer({"layer", layer.weight.ref, {{}, IntQuantizer{}, KeepQuantizer{}}, GptqSolver{}, layer.moments.ref, LowRankRequest{4, 50},
                       folder.file("codes.safetensors")},
                      pool, cancellation, progress, kernels());
        FAIL();
    } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::Cancelled);
    }
    EXPECT_TRUE(folder.isEmpty());
}

TEST(DequantizeLayer, ComputesWhatTheRecipeComputes) {
    const Folder folder;
    for (const uint64_t tail : {0, 32}) {
        Layer layer;
        const auto order = [] {
            std::vector<int32_t> sources(kInputs);
            for (size_t i = 0; i < sources.size(); ++i) {
                sources[i] = static_cast<int32_t>((i * 5 + 3) % kInputs);
            }
            return sources;
        }();
        const test::TemporaryFile permutation(test::bytesOf(order));
        std::vector<float> factors(kInputs);
        for (size_t i = 0; i < factors.size(); ++i) {
            factors[i] = static_cast<float>(0.25 + static_cast<double>(i % 9));
        }
        const Stored scale = layer.model.tensor({kInputs}, factors);
        const LinearRecipe recipe{{ScaleTransform{scale.ref}, PermuteTransform{test::tensorIn(permutation, Dtype::I32, {kInputs})}, RpbhTransform{1},
                                   HadamardTransform{2}, RandomTransform{3}},
                                  IntQuantizer{6, true, Granularity::Group, 32, FloatType::Fp16}, KeepQuantizer{}, tail};
        const std::string codes = folder.file("codes.safetensors");
        layer.quantize(recipe, RtnSolver{}, LowRankRequest{4, 2}, codes);
        const LinearRecipe coded = withCodes(recipe, codes);
        const std::string out = folder.file("weight.safetensors");
        ThreadPool pool(2);
        const DequantizedLayer result = dequantizeLayer({"layer", layer.weight.ref, coded, out}, pool, Cancellation{}, [](double) {}, kernels());
        EXPECT_GT(result.relativeMse, 0);
        EXPECT_LT(result.relativeMse, 0.01);
        const auto expected = layer.run(coded);
        Model plain;
        const Buffer x = plain.input({kRows, kInputs}, layer.model.valuesOf(layer.x));
        plain.add(LinearOp{"layer", x, Stored{tensorsOf(out).at("weight"), nullptr}, {}, 0}, {kRows, kOutputs});
        const auto found = plain.run();
        double error = 0, energy = 0;
        for (size_t i = 0; i < found.size(); ++i) {
            error += std::pow(static_cast<double>(found[i]) - expected[i], 2);
            energy += std::pow(static_cast<double>(expected[i]), 2);
        }
        EXPECT_LT(std::sqrt(error / energy), 4e-3) << "tail " << tail;  // BF16
    }
}

}  // namespace
}  // namespace quantscope
