// Whole programs on a device against the same on the processor.
#include <gtest/gtest.h>

#include <limits>

#include "base/error.h"
#include "device_graph_support.h"
#include "graph_linear_support.h"

namespace quantscope {
namespace {

using cuda::Element;
using test::distance;
using test::Linear;
using test::Model;
using test::OnDevice;
using test::rpbh;

Quantizer integers(int bits, uint64_t group = 0, bool symmetric = true) {
    return IntQuantizer{bits, symmetric, group == 0 ? Granularity::Row : Granularity::Group, group};
}

/// One scale for the whole tensor.
Quantizer whole(int bits, bool symmetric) { return IntQuantizer{bits, symmetric, Granularity::Tensor, 0, FloatType::Fp32}; }

Quantizer shifted(int bits, Granularity granularity = Granularity::Row, uint64_t group = 0) {
    return IntQuantizer{bits, true, granularity, group, FloatType::Fp16, {}, false, false, 0.171875};
}

void quantize(Model& model, const LinearRecipe& recipe) {
    for (const char* name : {"q", "k", "v", "out", "up"}) {
        model.request.recipes[name] = recipe;
    }
}

TEST(DeviceGraph, ABlockGivesWhatTheProcessorGives) {
    Model model;
    test::buildBlock(model, 37, 64, 4);
    for (const bool quantized : {false, true}) {
        if (quantized) {
            quantize(model, {rpbh(1), integers(8), integers(8)});
        }
        const auto expected = model.runAll();
        const auto wide = OnDevice(model.program, Element::F32).run(model.request);
        // A value at a threshold may get the other code.
        EXPECT_LT(distance(wide.outputs.at("y"), expected.outputs.at("y")), quantized ? 2e-3 : 2e-6);
        const auto narrow = OnDevice(model.program, Element::BF16).run(model.request);
        EXPECT_LT(distance(narrow.outputs.at("y"), expected.outputs.at("y")), 0.02);
        EXPECT_GT(distance(narrow.outputs.at("y"), expected.outputs.at("y")), 1e-4);
        for (const RunResult& found : {wide, narrow}) {
            ASSERT_TRUE(found.device.has_value());
            EXPECT_EQ(found.device->name, test::testedDevice()->description().name);
            EXPECT_TRUE(found.device->processor.empty());
            EXPECT_EQ(found.device->residentBytes, found.device->weightBytes);
            EXPECT_EQ(found.flops, expected.flops);
            EXPECT_EQ(found.firstNonFinite, std::nullopt);
        }
        EXPECT_EQ(expected.device, std::nullopt);
    }
}

TEST(DeviceGraph, RunsEveryKindOfRecipe) {
    constexpr uint64_t kWidth = 128, kOutputs = 72;
    struct Case {
        const char* name;
        LinearRecipe recipe;
        double tolerance;  ///< of float32 graphs; bfloat16 adds what it rounds
    };
    // Integers are exact, up to codes at thresholds; what is decoded, tails and branches are bfloat16.
    const Case cases[] = {{"W8A8", {{}, integers(8), integers(8)}, 1e-4},
                          {"W4A4, rotated, groups", {rpbh(2), integers(4, 32), integers(4, 64)}, 1e-3},
                          {"W4A8, asymmetric", {rpbh(2), integers(4, 64, false), integers(8, 0, false)}, 1e-3},
                          {"mid-rise", {rpbh(3), MidRiseQuantizer{4}, MidRiseQuantizer{4}}, 1e-3},
                          {"codebooks", {rpbh(3), CodebookQuantizer{4}, CodebookQuantizer{4}}, 6e-3},
                          {"W4A16", {rpbh(3), integers(4, 64), KeepQuantizer{}}, 6e-3},
                          {"W16A8", {{}, KeepQuantizer{}, integers(8)}, 6e-3},
                          {"FP8 weights, decoded", {{}, FloatQuantizer{FloatFormat::Fp8, Granularity::Row, 0}, integers(8)}, 6e-3},
                          {"one scale for the weights", {{}, whole(8, true), KeepQuantizer{}}, 6e-3},
                          {"one scale for either side", {{}, whole(8, true), whole(8, false)}, 1e-4},
                          {"a range of calibration", {{}, integers(4, 0, false), whole(8, false), 0, {}, ActivationRange{-3.5, 2}}, 1e-4},
                          {"a range of calibration, rotated", {rpbh(4), integers(8), whole(8, true), 0, {}, ActivationRange{-3, 4}}, 1e-3},
                          {"shifted", {{}, integers(4, 64), shifted(4, Granularity::Group, 64)}, 1e-4},
                          {"shifted, rotated", {rpbh(4), integers(4, 0, false), shifted(8)}, 1e-3},
                          {"shifted over the whole tensor, mid-rise", {{}, MidRiseQuantizer{4}, shifted(8, Granularity::Tensor)}, 1e-4},
                          {"shifted, codebook", {{}, CodebookQuantizer{4}, shifted(8)}, 6e-3},
                          {"shifted, FP8 weights", {{}, FloatQuantizer{FloatFormat::Fp8, Granularity::Row, 0}, shifted(8)}, 6e-3},
                          {"FP8 activations", {{}, integers(4), FloatQuantizer{FloatFormat::Fp8, Granularity::Row, 0}}, 6e-3},
                          {"NVFP4", {{}, FloatQuantizer{}, FloatQuantizer{}}, 6e-3},
                          {"MXFP4, rotated", {rpbh(2), FloatQuantizer{FloatFormat::Mxfp4, Granularity::Group, 32}, FloatQuantizer{FloatFormat::Mxfp4, Granularity::Group, 32}}, 6e-3},
                          {"FP4 activations beside kept weights", {{}, KeepQuantizer{}, FloatQuantizer{FloatFormat::Fp4, Granularity::Tensor, 0}}, 6e-3},
                          {"rotated, kept", {rpbh(5), KeepQuantizer{}, KeepQuantizer{}}, 1e-4}};
    for (const Case& c : cases) {
        for (const auto& [tail, branch] : {std::pair<uint64_t, bool>{0, false}, {64, true}}) {
            SCOPED_TRACE(std::string(c.name) + (branch ? ", tail and branch" : ""));
            Linear linear({29, kWidth}, kOutputs, true);
            linear.model.valuesOf(linear.input) = test::throughBf16(linear.model.valuesOf(linear.input));
            const Stored down = linear.model.tensor({3, kWidth}), up = linear.model.tensor({kOutputs, 3});
            LinearRecipe recipe = c.recipe;
            recipe.tail = tail;
            if (branch) {
                recipe.lowRank = LowRank{down.ref, up.ref};
            }
            linear.model.request.recipes["layer"] = recipe;
            const auto expected = linear.model.runAll();
            for (const Element element : {Element::F32, Element::BF16}) {
                const auto found = OnDevice(linear.model.program, element).run(linear.model.request);
                EXPECT_TRUE(found.device->processor.empty());
                EXPECT_TRUE(found.integers.empty());
                const double extra = (branch ? 8e-3 : 0) + (element == Element::BF16 ? 6e-3 : 0);
                EXPECT_LT(distance(found.outputs.at("y"), expected.outputs.at("y")), c.tolerance + extra);
            }
        }
    }
}

TEST(DeviceGraph, TransformsInputsAsTheProcessorDoes) {
    constexpr uint64_t kWidth = 192, kOutputs = 40;
    std::vector<std::unique_ptr<test::TemporaryFile>> files;
    const auto stored = [&](const auto& values, Dtype dtype, Shape shape) {
        files.push_back(std::make_unique<test::TemporaryFile>(test::bytesOf(values)));
        return test::tensorIn(*files.back(), dtype, std::move(shape));
    };
    std::vector<float> factors = test::Gaussian(3).floats(kWidth);
    std::vector<int32_t> sources(kWidth);
    for (uint64_t i = 0; i < kWidth; ++i) {
        factors[i] = 1.5f + std::tanh(factors[i]);
        sources[i] = static_cast<int32_t>(i * 35 % kWidth);
    }
    const std::vector<float> turn{0.6f, -0.8f, 0.8f, 0.6f};
    std::vector<float> turns;  // of pairs, each by another angle
    for (uint64_t i = 0; i < kWidth / 2; ++i) {
        const float angle = static_cast<float>(i);
        turns.insert(turns.end(), {std::cos(angle), -std::sin(angle), std::sin(angle), std::cos(angle)});
    }
    const ScaleTransform scale{stored(factors, Dtype::F32, {kWidth})};
    const PermuteTransform permute{stored(sources, Dtype::I32, {kWidth})};
    const BlocksTransform shared{stored(turn, Dtype::F32, {1, 2, 2})};
    const BlocksTransform each{stored(turns, Dtype::F32, {kWidth / 2, 2, 2})};
    const std::vector<Transform> lists[] = {{scale}, {permute}, {HadamardTransform{1}}, {RandomTransform{2}}, {shared}, {each}, {scale, HadamardTransform{4}},
                                            {scale, permute, RpbhTransform{5}}, {each, permute, shared}};
    for (const auto& list : lists) {
        SCOPED_TRACE(list[0].index());
        Linear linear({29, kWidth}, kOutputs, true);
        linear.model.valuesOf(linear.input) = test::throughBf16(linear.model.valuesOf(linear.input));
        for (const bool coded : {false, true}) {
            linear.model.request.recipes["layer"] = coded ? LinearRecipe{list, integers(8), integers(8)} : LinearRecipe{list, KeepQuantizer{}, KeepQuantizer{}};
            const auto expected = linear.model.runAll().outputs.at("y");
            for (const Element element : {Element::F32, Element::BF16}) {
                const auto found = OnDevice(linear.model.program, element).run(linear.model.request);
                EXPECT_TRUE(found.device->processor.empty());
                // Where nothing is coded the weights and what is transformed are bfloat16 in graphs of that.
                EXPECT_LT(distance(found.outputs.at("y"), expected), element == Element::F32 ? (coded ? 1e-3 : 2e-6) : 6e-3);
            }
        }
    }
}

TEST(DeviceGraph, MultipliesIntegersWhereTheyAreAskedFor) {
    for (const auto& [weights, activations, tolerance] : {std::tuple{integers(4, 32), integers(4, 64), 1e-3}, {CodebookQuantizer{4}, CodebookQuantizer{4}, 1e-3}}) {
        Linear linear({29, 192}, 72, true);
        linear.model.request.recipes["layer"] = {rpbh(3), weights, activations};
        const auto fake = OnDevice(linear.model.program, Element::F32).run(linear.model.request).outputs.at("y");
        linear.model.request.recipes["layer"].execution = Execution::Integer;
        const auto expected = linear.model.runAll();
        const auto found = OnDevice(linear.model.program, Element::F32).run(linear.model.request);
        EXPECT_LT(distance(found.outputs.at("y"), expected.outputs.at("y")), tolerance);
        EXPECT_EQ(found.outputs.at("y") == fake, std::holds_alternative<IntQuantizer>(weights));  // codebooks have surrogates
        ASSERT_EQ(found.integers.size(), 1u);
        EXPECT_EQ(found.integers[0].layer, "layer");
        EXPECT_EQ(found.integers[0].reason, std::nullopt);
        EXPECT_EQ(found.integers[0].weightSurrogate, expected.integers[0].weightSurrogate);
    }
    Linear linear({5, 64}, 8, false);
    linear.model.request.recipes["layer"] = {{}, integers(4), KeepQuantizer{}};
    linear.model.request.recipes["layer"].execution = Execution::Integer;
    const auto found = OnDevice(linear.model.program, Element::BF16).run(linear.model.request);
    ASSERT_EQ(found.integers.size(), 1u);
    EXPECT_NE(found.integers[0].reason, std::nullopt);
}

/// PTQ4DiT: channels balanced between both sides, weights clipped by search, one range of calibration for the inputs. Layers that read the same inputs
/// have ranges of their own.
TEST(DeviceGraph, RunsWholeLayersOfPtq4dit) {
    constexpr uint64_t kWidth = 96;
    Model model;
    const Buffer x = model.input({29, kWidth});
    model.valuesOf(x) = test::throughBf16(model.valuesOf(x));
    std::vector<float> factors(kWidth);
    for (uint64_t i = 0; i < kWidth; ++i) {
        factors[i] = 0.5f + 0.125f * static_cast<float>(i % 13);
    }
    const ScaleTransform balance{model.tensor({kWidth}, factors).ref};
    const auto recipe = [&](int weightBits, double low, double high) {
        return LinearRecipe{{balance}, IntQuantizer{weightBits, false, Granularity::Row, 0, FloatType::Fp16, {}, true},
                            IntQuantizer{8, false, Granularity::Tensor, 0, FloatType::Fp32, {}, false, true}, 0, {}, ActivationRange{low, high}};
    };
    const Buffer first = model.add(LinearOp{"first", x, model.weight(64, kWidth), model.tensor({64}), 0}, {29, 64});
    const Buffer second = model.add(LinearOp{"second", x, model.weight(64, kWidth), {}, 0}, {29, 64});
    model.program.outputs = {{"first", first}, {"second", second}};
    model.request.recipes = {{"first", recipe(8, -2.5, 3)}, {"second", recipe(4, -0.5, 1)}};
    for (const Execution execution : {Execution::Fake, Execution::Integer}) {
        for (auto& [name, each] : model.request.recipes) {
            each.execution = execution;
        }
        const auto expected = model.runAll();
        const auto found = OnDevice(model.program, Element::F32).run(model.request);
        EXPECT_TRUE(found.device->processor.empty());
        ASSERT_EQ(found.integers.size(), execution == Execution::Integer ? 2u : 0u);
        for (const IntegerExecution& each : found.integers) {
            EXPECT_EQ(each.reason, std::nullopt);
        }
        for (const char* name : {"first", "second"}) {
            EXPECT_LT(distance(found.outputs.at(name), expected.outputs.at(name)), 1e-3) << name;
            EXPECT_LT(distance(OnDevice(model.program, Element::BF16).run(model.request).outputs.at(name), expected.outputs.at(name)), 6e-3) << name;
        }
    }
}

/// The bias takes the shift off, of layers without one too, and of what a codebook's integers stand for.
TEST(DeviceGraph, MultipliesShiftedCodesAsIntegers) {
    for (const bool bias : {false, true}) {
        for (const Quantizer& weights : {integers(4, 32), Quantizer(CodebookQuantizer{4})}) {
            Linear linear({29, 192}, 72, bias);
            IntQuantizer activations = std::get<IntQuantizer>(shifted(8));
            activations.shift = 6.0;  // what is taken off of other weights shows
            linear.model.request.recipes["layer"] = {{}, weights, activations};
            const auto expected = linear.model.runAll().outputs.at("y");  // the processor multiplies what they decode to
            linear.model.request.recipes["layer"].execution = Execution::Integer;
            const auto found = OnDevice(linear.model.program, Element::F32).run(linear.model.request);
            EXPECT_TRUE(found.device->processor.empty());
            ASSERT_EQ(found.integers.size(), 1u);
            EXPECT_EQ(found.integers[0].reason, std::nullopt);
            EXPECT_LT(distance(found.outputs.at("y"), expected), 1e-4 + std::sqrt(found.integers[0].weightSurrogate) * 1.5);
        }
    }
}

TEST(DeviceGraph, LeavesToTheProcessorWhatItDoesNotTake) {
    struct Case {
        const char* reason;
        uint64_t inputs;
        LinearRecipe recipe;
    };
    const Case cases[] = {{"clipping by search", 64, {{}, integers(4), IntQuantizer{4, true, Granularity::Row, 0, FloatType::Fp16, {}, true}}},
                          {"rows of 65536 values do not fit", 65536, {{}, integers(4), integers(4)}}};
    for (const Case& c : cases) {
        SCOPED_TRACE(c.reason);
        Linear linear({3, c.inputs}, 4, true);
        linear.model.request.recipes["layer"] = c.recipe;
        const auto expected = linear.model.runAll().outputs.at("y");
        const auto found = OnDevice(linear.model.program, Element::F32).run(linear.model.request);
        ASSERT_EQ(found.device->processor.size(), 1u);
        EXPECT_EQ(found.device->processor[0].name, "layer");
        EXPECT_NE(found.device->processor[0].reason.find(c.reason), std::string::npos) << found.device->processor[0].reason;
        EXPECT_EQ(found.outputs.at("y"), expected);
        EXPECT_EQ(found.device->weightBytes, 0u);
    }
    Model model;
    Shape many(18, 1), a(18, 1), b(18, 1);
    for (size_t i = 0; i < 9; ++i) {
        a[2 * i] = many[2 * i] = 2;
        b[2 * i + 1] = many[2 * i + 1] = 2;
    }
    many.resize(16), a.resize(16), b.resize(16);
    a[0] = many[0] = 3;
    model.add(BinaryOp{BinaryKind::Mul, model.input(a), model.input(b), 0}, many);
    const auto found = OnDevice(model.program, Element::F32).run(model.request);
    EXPECT_EQ(found.device->processor, (std::vector<ProcessorOp>{{"binary", "broadcasts along more axes than kernels take"}}));
    EXPECT_EQ(found.outputs.at("y"), model.run());
}

TEST(DeviceGraph, ResidentAndStreamedWeightsGiveTheSameBits) {
    Model model;
    Buffer x = model.input({5, 128});
    for (int i = 0; i < 5; ++i) {
        const std::string name = "layer" + std::to_string(i);
        x = model.add(LinearOp{name, x, model.tensor({128, 128}), model.tensor({128}), 0}, {5, 128});
        if (i > 0) {
            model.request.recipes[name] = {rpbh(2), CodebookQuantizer{4}, CodebookQuantizer{4}, 16};
        }
    }
    const Stored down = model.tensor({4, 128}), up = model.tensor({128, 4});
    model.request.recipes["layer2"] = {rpbh(2), integers(4), integers(4), 0, LowRank{down.ref, up.ref}};
    const auto device = test::testedDevice();
    const uint64_t free = device->freeBytes();
    OnDevice resident(model.program, Element::BF16);
    const auto expected = resident.run(model.request);
    const uint64_t weights = expected.device->weightBytes;
    EXPECT_EQ(expected.device->residentBytes, weights);
    // What a graph takes beside its weights; a real device counts so little memory in pieces of megabytes, or not at all.
    const uint64_t others = device->api().emulated != 0 ? free - device->freeBytes() - weights : 0;
    for (const uint64_t room : {others + weights - 1, others}) {  // for some of the weights, and for none
        const uint64_t before = device->freeBytes();
        {
            OnDevice streamed(model.program, Element::BF16, before - room);
            for (int run = 0; run < 2; ++run) {
                const auto found = streamed.run(model.request);
                EXPECT_EQ(found.outputs, expected.outputs) << room;
                EXPECT_EQ(found.device->weightBytes, weights);
                EXPECT_LT(found.device->residentBytes, weights);
                EXPECT_TRUE(device->api().emulated == 0 || (found.device->residentBytes > 0) == (room > others));
            }
            auto plain = model.request;  // other weights, then the first again
            plain.recipes.clear();
            EXPECT_NE(streamed.run(plain).outputs, expected.outputs);
            EXPECT_EQ(streamed.run(model.request).outputs, expected.outputs);
        }
        test::expectFreeAgain(*device, before);
    }
}

TEST(DeviceGraph, OutOfMemoryIsAnErrorOfItsOwn) {
    const auto device = test::testedDevice();
    constexpr uint64_t kLeft = uint64_t{32} << 20;
    const auto rest = test::fill(device, kLeft);
    Model activations;
    activations.add(UnaryOp{UnaryKind::Relu, activations.input({kLeft / 4}, std::vector<float>(kLeft / 4)), 0}, {kLeft / 4});
    Model weights;
    weights.add(LinearOp{"layer", weights.input({1, 1024}), weights.tensor({8192, 1024}, std::vector<float>(uint64_t{8192} * 1024)), {}, 0}, {1, 8192});
    for (const Model* model : {&activations, &weights}) {
        try {
            OnDevice(model->program, Element::F32).run(model->request);
            ADD_FAILURE() << "it fitted";
        } catch (const DeviceError& error) {
            EXPECT_EQ(error.status(), cuda::Status::OutOfMemory);
            EXPECT_NE(std::string(error.what()).find("choose a smaller size"), std::string::npos) << error.what();
        }
    }
    EXPECT_LE(device->freeBytes(), kLeft + (uint64_t{4} << 20));
}

TEST(DeviceGraph, CanBeCancelledAndRunsAgain) {
    Model model;
    test::buildBlock(model, 37, 64, 4);
    quantize(model, {rpbh(1), integers(4), integers(4)});
    OnDevice graph(model.program, Element::BF16);
    for (const double at : {0.0, 0.3, 0.7}) {
        Cancellation cancellation;
        if (at == 0) {
            cancellation.cancel();
        }
        test::expectError(ErrorCode::Cancelled, "cancelled", [&] {
            graph.run(model.request, cancellation, [&](double done) {
                if (done >= at) {
                    cancellation.cancel();
                }
            });
        });
    }
    std::atomic<double> last{0};
    const auto again = graph.run(model.request, {}, [&](double done) { last = done; });
    EXPECT_EQ(again.outputs, OnDevice(model.program, Element::BF16).run(model.request).outputs);
    EXPECT_NEAR(last.load(), 1.0, 1e-9);
    EXPECT_EQ(again.outputs, graph.run(model.request).outputs);
}

TEST(DeviceGraph, FindsTheFirstValueThatIsNotFinite) {
    Model model;
    test::buildBlock(model, 37, 64, 4);
    OnDevice graph(model.program, Element::F32);
    model.valuesOf(0)[70] = std::numeric_limits<float>::infinity();
    EXPECT_EQ(graph.run(model.request).firstNonFinite, model.runAll().firstNonFinite);
}

}  // namespace
}  // namespace quantscope
