// GPTQ on a device against the processor's.
#include "device/gptq.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <optional>

#include "device/either.h"
#include "device_support.h"
#include "support.h"

namespace quantscope {
namespace {

struct Moments {
    std::vector<float> values;
    size_t width;
};

Moments momentsOf(size_t width, size_t samples, uint64_t seed) {
    const auto x = test::correlated(samples, width, seed);
    Moments result{std::vector<float>(width * width), width};
    for (size_t i = 0; i < width; ++i) {
        for (size_t j = 0; j < width; ++j) {
            double sum = 0;
            for (size_t s = 0; s < samples; ++s) {
                sum += double(x[s * width + i]) * double(x[s * width + j]);
            }
            result.values[i * width + j] = static_cast<float>(sum / static_cast<double>(samples));
        }
    }
    return result;
}

TEST(DeviceGptq, FindsWhatTheProcessorFinds) {
    const auto device = test::testedDevice();
    test::OneThread one;
    test::Gaussian random(21);
    const IntQuantizer groups{4, true, Granularity::Group, 32}, rowsOf3{3, false, Granularity::Row, 0};
    for (const auto& [quantizer, rows, width, actOrder] :
         {std::tuple<Quantizer, size_t, size_t, bool>{groups, 70, 160, true}, {rowsOf3, 5, 64, false}, {CodebookQuantizer{4, FloatType::Bf16}, 9, 100, true},
          {MidRiseQuantizer{2, FloatType::Bf16}, 3, 65, false}, {IntQuantizer{8, true, Granularity::Row, 0}, 66, 40, true}}) {
        const Moments moments = momentsOf(width, 3 * width, width);
        const auto weights = random.floats(rows * width);
        const RowCodec codec(quantizer, width, {}, scalarKernels());
        GptqOptions options;
        options.actOrder = actOrder;
        ASSERT_FALSE(gptqUnsupported(quantizer, options));
        const Gptq twin = gptq(weights, moments.values.data(), width, codec, options, one.workers);
        const Gptq found = gptqOnDevice(device, weights, moments.values.data(), width, quantizer, codec, options, one.workers);
        EXPECT_EQ(found.rounding.sides, twin.rounding.sides);
        EXPECT_EQ(found.rounding.codes, twin.rounding.codes);
        EXPECT_EQ(found.damping, twin.damping);
        EXPECT_EQ(found.retries, twin.retries);
        EXPECT_NEAR(found.loss.rtn, twin.loss.rtn, 1e-9 * twin.loss.rtn);
        EXPECT_NEAR(found.loss.solver, twin.loss.solver, 1e-9 * twin.loss.solver);
        EXPECT_LT(found.loss.solver, found.loss.rtn);
    }
}

TEST(DeviceGptq, DampsMoreWhenTheFactorisationFails) {
    test::OneThread one;
    // Two inputs that are nearly opposite and a little more: no Gram matrix, so that it takes damping.
    std::vector<float> moments = {1, -1.02f, 0, -1.02f, 1, 0, 0, 0, 1};
    const Quantizer quantizer = IntQuantizer{4, true, Granularity::Row, 0};
    const RowCodec codec(quantizer, 3, {}, scalarKernels());
    const std::vector<float> weights = {0.3f, -1, 0.7f, 2, 0.1f, 0.4f};
    GptqOptions options;
    options.damping.share = 0.001;
    const Gptq twin = gptq(weights, moments.data(), 3, codec, options, one.workers);
    const Gptq found = gptqOnDevice(test::testedDevice(), weights, moments.data(), 3, quantizer, codec, options, one.workers);
    EXPECT_GT(found.retries, 0u);
    EXPECT_EQ(found.retries, twin.retries);
    EXPECT_EQ(found.damping, twin.damping);
    EXPECT_EQ(found.rounding.codes, twin.rounding.codes);
    moments[1] = moments[3] = std::numeric_limits<float>::infinity();
    test::expectError(ErrorCode::Argument, "not finite", [&] {
        gptqOnDevice(test::testedDevice(), weights, moments.data(), 3, quantizer, codec, options, one.workers);
    });
}

TEST(DeviceGptq, RunsOnTheProcessorWhatDoesNotFit) {
    const auto device = test::testedDevice();
    test::OneThread one;
    const Moments moments = momentsOf(64, 200, 1);
    const auto weights = test::Gaussian(5).floats(40 * 64);
    const Quantizer quantizer = IntQuantizer{4, true, Granularity::Row, 0};
    const RowCodec codec(quantizer, 64, {}, scalarKernels());
    const auto solve = [&](const GptqOptions& options, std::optional<std::string>& onProcessor) {
        return onEither(gptqUnsupported(quantizer, options), onProcessor,
                        [&] { return gptqOnDevice(device, weights, moments.values.data(), 64, quantizer, codec, options, one.workers); },
                        [&] { return gptq(weights, moments.values.data(), 64, codec, options, one.workers); })
            .rounding.codes;
    };
    std::optional<std::string> onProcessor;
    const auto codes = solve({}, onProcessor);
    EXPECT_FALSE(onProcessor);
    {
        const auto taken = device->allocate<uint8_t>(device->freeBytes() - 60000);  // the factor fits, the sweep does not
        EXPECT_EQ(solve({}, onProcessor), codes);
        ASSERT_TRUE(onProcessor);
        EXPECT_NE(onProcessor->find("out of memory"), std::string::npos) << *onProcessor;
    }
    solve({}, onProcessor);
    EXPECT_FALSE(onProcessor);
}

TEST(DeviceGptq, SaysWhatItDoesNotTake) {
    GptqOptions options;
    EXPECT_EQ(gptqUnsupported(FloatQuantizer{}, options), "codes without common levels");
    options.staticGroups = false;
    EXPECT_EQ(gptqUnsupported(IntQuantizer{4, true, Granularity::Group, 32}, options), "groups take their scales while they are decided");
    EXPECT_FALSE(gptqUnsupported(IntQuantizer{4, true, Granularity::Row, 0}, options));
}

}  // namespace
}  // namespace quantscope
