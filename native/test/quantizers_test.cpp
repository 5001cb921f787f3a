// Quantizers whose one implementation is RowCodec: against their definitions, and against the tables of the literature.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "base/error.h"
#include "quantizer/codebook.h"
#include "quantizer/expected.h"
#include "quantizer/midrise.h"
#include "quantizer/row_codec.h"
#include "quantizer/small_float.h"
#include "support.h"

namespace quantscope {
namespace {

using test::Gaussian;

/// Rows coded and decoded, with the whole-tensor pass where the quantizer needs one.
std::vector<float> roundTrip(const Quantizer& quantizer, const std::vector<float>& values, size_t width) {
    TensorRange range;
    for (size_t i = 0; i < values.size() && needsTensorRange(quantizer); i += width) {
        observe(quantizer, values.data() + i, width, 0, kernels(), range);
    }
    const RowCodec codec(quantizer, width, range, kernels());
    std::vector<uint8_t> codes(width);
    std::vector<float> sides(codec.sides());
    std::vector<float> decoded(values.size());
    for (size_t i = 0; i < values.size(); i += width) {
        codec.encode(values.data() + i, codes.data(), sides.data());
        codec.decode(codes.data(), sides.data(), decoded.data() + i);
    }
    return decoded;
}

double relativeError(const std::vector<float>& values, const std::vector<float>& decoded) {
    double error = 0;
    double energy = 0;
    for (size_t i = 0; i < values.size(); ++i) {
        error += std::pow(static_cast<double>(values[i]) - decoded[i], 2);
        energy += std::pow(static_cast<double>(values[i]), 2);
    }
    return error / energy;
}

double relativeError(const Quantizer& quantizer, const std::vector<float>& values, size_t width) {
    return relativeError(values, roundTrip(quantizer, values, width));
}

const Quantizer kEveryKind[] = {
    IntQuantizer{4, true, Granularity::Row, 0, FloatType::Fp16, {}, true},
    IntQuantizer{3, false, Granularity::Group, 12, FloatType::Bf16, {}, true},
    IntQuantizer{4, true, Granularity::Tensor, 0, FloatType::Fp16, 0.8},
    IntQuantizer{4, true, Granularity::Group, 12, FloatType::Fp16, {}, false, false, 0.171875},
    IntQuantizer{1, true, Granularity::Row, 0, FloatType::Fp32, {}, false, false, 0.5},
    MidRiseQuantizer{1, FloatType::Bf16},
    MidRiseQuantizer{2, FloatType::Fp16},
    MidRiseQuantizer{8, FloatType::Fp32},
    TwinLogQuantizer{2, false},
    TwinLogQuantizer{4, false},
    TwinLogQuantizer{8, false},
    TwinLogQuantizer{2, true},
    TwinLogQuantizer{4, true},
    TwinLogQuantizer{7, true},
    FloatQuantizer{FloatFormat::Fp4, Granularity::Row, 0},
    FloatQuantizer{FloatFormat::Fp4, Granularity::Group, 3},
    FloatQuantizer{FloatFormat::Nvfp4, Granularity::Group, 16},
    FloatQuantizer{FloatFormat::Mxfp4, Granularity::Group, 32},
    FloatQuantizer{FloatFormat::Fp8, Granularity::Tensor, 0},
    FloatQuantizer{FloatFormat::Mxfp8, Granularity::Group, 32},
};

TEST(Quantizers, ErrorOfARowIsThatOfItsCodes) {
    constexpr size_t kWidth = 96;
    for (const double magnitude : {1.0, 1e-15, 3e20}) {
        for (const Quantizer& quantizer : kEveryKind) {
            auto row = Gaussian(1).floats(kWidth);
            for (float& value : row) {
                value *= static_cast<float>(magnitude);
            }
            row[5] = 0;
            const auto decoded = roundTrip(quantizer, row, kWidth);
            TensorRange range;
            observe(quantizer, row.data(), kWidth, 0, kernels(), range);
            float largest = 0;
            for (const float value : row) {
                largest = std::max(largest, std::fabs(value));
            }
            const int exponent = exponentFor(largest);
            double norm = 0;
            double expected = 0;
            for (size_t i = 0; i < kWidth; ++i) {
                const double error = std::ldexp(static_cast<double>(row[i]) - decoded[i], -exponent);
                row[i] = std::ldexp(row[i], -exponent);
                norm += static_cast<double>(row[i]) * row[i];
                expected += error * error;
            }
            const auto rows = makeRowQuantizer(quantizer, kWidth, range);
            EXPECT_NEAR(rows->squaredError({row.data(), kWidth, std::sqrt(norm), exponent}, kernels()), expected, 1e-5 * expected)
                << quantizer.index() << " at " << magnitude;
        }
    }
}

TEST(Quantizers, KeepZeroRowsAndRefuseNan) {
    constexpr size_t kWidth = 96;
    for (const Quantizer& quantizer : kEveryKind) {
        std::vector<float> rows(3 * kWidth);
        std::copy_n(Gaussian(2).floats(kWidth).begin(), kWidth, rows.begin());
        const auto decoded = roundTrip(quantizer, rows, kWidth);
        for (size_t i = kWidth; i < rows.size(); ++i) {
            EXPECT_NEAR(decoded[i], 0.0f, 1e-4f) << quantizer.index();
        }
        const RowCodec codec(quantizer, kWidth, {}, kernels());
        std::vector<uint8_t> codes(kWidth);
        std::vector<float> sides(codec.sides());
        rows[1] = std::numeric_limits<float>::quiet_NaN();
        codec.encode(rows.data(), codes.data(), sides.data());
        codec.decode(codes.data(), sides.data(), rows.data());
        EXPECT_TRUE(std::all_of(rows.begin(), rows.begin() + kWidth, [](float v) { return std::isnan(v); })) << quantizer.index();
    }
}

TEST(Quantizers, KeepSigns) {
    const auto rows = Gaussian(3).floats(96 * 8);
    for (const Quantizer& quantizer : kEveryKind) {
        const auto* integer = std::get_if<IntQuantizer>(&quantizer);
        const auto decoded = roundTrip(quantizer, rows, 96);
        for (size_t i = 0; i < rows.size() && (integer == nullptr || !integer->shift); ++i) {
            EXPECT_GE(rows[i] * decoded[i], 0) << quantizer.index();
        }
    }
}

TEST(Quantizers, DecodingIsIdempotent) {
    const auto rows = Gaussian(4).floats(96 * 4);
    for (const Quantizer& quantizer : {Quantizer(FloatQuantizer{FloatFormat::Fp4, Granularity::Row, 0}), Quantizer(FloatQuantizer{FloatFormat::Mxfp4, Granularity::Group, 32}),
                                       Quantizer(FloatQuantizer{FloatFormat::Fp8, Granularity::Group, 3}), Quantizer(FloatQuantizer{FloatFormat::Mxfp8, Granularity::Group, 32})}) {
        const auto once = roundTrip(quantizer, rows, 96);
        EXPECT_LT(relativeError(quantizer, once, 96), 1e-6);
    }
}

TEST(MidRise, HasTheStepsAndErrorsOfTheGaussianTable) {
    const struct {
        int bits;
        double step;
        double error;
    } table[] = {{2, .9957, .1189}, {3, .5860, .0374}, {4, .3352, .0115}, {6, .1041, .0010}};
    for (const auto& [bits, step, error] : table) {
        const MidRiseStep found = midRiseStep(uint64_t{1} << 17, bits);
        EXPECT_NEAR(found.step, step, 1e-4 + 5e-5);
        EXPECT_NEAR(found.distortion, error, 6e-5);
        const auto rows = Gaussian(5).floats(3072 * 40);
        EXPECT_NEAR(relativeError(MidRiseQuantizer{bits, FloatType::Bf16}, rows, 3072), midRiseStep(3072, bits).distortion,
                    0.02 * found.distortion);
    }
    EXPECT_NEAR(midRiseStep(1, 3).step * 3.5, 1.0, 1e-12);
}

TEST(MidRise, StepIsAMinimumAtEveryWidth) {
    // One bit: the level is the mean magnitude, as for the codebook.
    for (const uint64_t width : {2, 3, 7, 64, 1152, 5597}) {
        EXPECT_NEAR(midRiseStep(width, 1).distortion, codebookFor(width, 1)->distortion, 1e-9);
        for (const int bits : {2, 4, 8}) {
            EXPECT_GT(midRiseStep(width, bits).distortion, 0.999 * codebookFor(width, bits)->distortion) << width << " " << bits;
            EXPECT_LT(midRiseStep(width, bits).distortion, midRiseStep(width, bits - 1).distortion);
        }
    }
}

TEST(SmallFloat, HasTheElementsOfItsFormats) {
    EXPECT_EQ(elementValues(FloatFormat::Mxfp4), (std::vector<float>{0, .5, 1, 1.5, 2, 3, 4, 6}));
    const auto e4m3 = elementValues(FloatFormat::Fp8);
    ASSERT_EQ(e4m3.size(), 127u);
    EXPECT_EQ(e4m3[1], 0x1p-9f);
    EXPECT_EQ(e4m3[8], 0x1p-6f);
    EXPECT_EQ(e4m3.back(), 448.0f);
}

/// Nearest element, ties to the even bit pattern, by looking at all of them.
float nearestElement(const std::vector<float>& elements, double magnitude) {
    size_t best = 0;
    for (size_t i = 1; i < elements.size(); ++i) {
        const double error = std::fabs(elements[i] - magnitude);
        const double least = std::fabs(elements[best] - magnitude);
        best = error < least || (error == least && i % 2 == 0) ? i : best;
    }
    return elements[best];
}

TEST(SmallFloat, RoundsToTheNearestElementAndTiesToEven) {
    for (const FloatFormat format : {FloatFormat::Mxfp4, FloatFormat::Mxfp8}) {
        const auto elements = elementValues(format);
        const FloatQuantizer quantizer{format, Granularity::Group, 32};
        std::vector<double> probes;
        for (size_t i = 0; i + 1 < elements.size(); ++i) {
            const double middle = 0.5 * (static_cast<double>(elements[i]) + elements[i + 1]);
            for (const double probe : {static_cast<double>(elements[i]), middle, middle * (1 - 1e-6), middle * (1 + 1e-6)}) {
                probes.push_back(probe);
            }
        }
        const float top = elements.back();
        for (const double probe : probes) {
            for (const double sign : {1.0, -1.0}) {
                std::vector<float> row(32);
                row[0] = static_cast<float>(sign * probe);
                row[1] = top;  // keeps the scale at 1
                const auto decoded = roundTrip(quantizer, row, 32);
                EXPECT_EQ(decoded[0], static_cast<float>(sign) * nearestElement(elements, static_cast<float>(probe))) << probe;
            }
        }
    }
}

TEST(SmallFloat, MxScalesArePowersOfTwoAndValuesSaturate) {
    // The exponent of the largest value, less the exponent of the largest element: 7.9 is beyond 6 with scale 1.
    std::vector<float> row(32);
    row[0] = 7.9f;
    row[1] = -0.3f;
    EXPECT_EQ(roundTrip(FloatQuantizer{FloatFormat::Mxfp4, Granularity::Group, 32}, row, 32)[0], 6.0f);
    EXPECT_EQ(roundTrip(FloatQuantizer{FloatFormat::Mxfp4, Granularity::Group, 32}, row, 32)[1], -0.5f);
    row[0] = 8.0f;
    EXPECT_EQ(roundTrip(FloatQuantizer{FloatFormat::Mxfp4, Granularity::Group, 32}, row, 32)[1], 0.0f) << "the scale is 2 now";
    row[0] = 480.0f;
    EXPECT_EQ(roundTrip(FloatQuantizer{FloatFormat::Mxfp8, Granularity::Group, 32}, row, 32)[0], 448.0f);
    row.assign(32, 0x1p-140f);
    for (const float value : roundTrip(FloatQuantizer{FloatFormat::Mxfp4, Granularity::Group, 32}, row, 32)) {
        EXPECT_TRUE(std::isfinite(value));  // below the smallest scale
    }
}

TEST(SmallFloat, Nvfp4ScalesAreE4m3TimesOneNumber) {
    auto rows = Gaussian(6).floats(64 * 16);
    rows[100] = 40;
    float largest = 0;
    for (const float value : rows) {
        largest = std::max(largest, std::fabs(value));
    }
    const FloatQuantizer quantizer{FloatFormat::Nvfp4, Granularity::Group, 16};
    TensorRange range;
    observe(quantizer, rows.data(), rows.size(), 0, kernels(), range);
    const float tensorScale = nvfp4TensorScale(range.largest());
    EXPECT_FLOAT_EQ(tensorScale, largest / (6 * 448));
    const RowCodec codec(quantizer, 64, range, kernels());
    const auto e4m3 = elementValues(FloatFormat::Fp8);
    std::vector<uint8_t> codes(64);
    std::vector<float> sides(codec.sides());
    for (size_t i = 0; i < rows.size(); i += 64) {
        codec.encode(rows.data() + i, codes.data(), sides.data());
        for (size_t g = 0; g < 4; ++g) {
            float amax = 0;
            for (size_t k = 0; k < 16; ++k) {
                amax = std::max(amax, std::fabs(rows[i + 16 * g + k]));
            }
            EXPECT_FLOAT_EQ(sides[g], nearestElement(e4m3, static_cast<double>(amax) / 6 / tensorScale) * tensorScale);
        }
    }
    EXPECT_LT(relativeError(quantizer, rows, 64), 0.012);
}

TEST(SmallFloat, ExpectedErrorIsTheMeasuredOne) {
    for (const FloatFormat format : {FloatFormat::Fp4, FloatFormat::Fp8}) {
        for (const uint64_t group : {16, 64, 1024}) {
            const FloatQuantizer quantizer{format, Granularity::Group, group};
            const double expected = *expectedDistortion(quantizer, 1024, 1);
            EXPECT_NEAR(relativeError(quantizer, Gaussian(7).floats(1024 * 400), 1024), expected, 0.02 * expected) << group;
        }
    }
    EXPECT_FALSE(expectedDistortion(FloatQuantizer{FloatFormat::Nvfp4, Granularity::Group, 16}, 64, 1));
}

TEST(Integer, ShiftedCodesAreUnsigned) {
    // SVDQuant: outputs of GELU lie above -0.17.
    std::vector<float> row = Gaussian(8).floats(64);
    for (float& value : row) {
        value = value * 0.5f * (1 + std::erf(value / std::sqrt(2.0f)));
    }
    const double shift = 0.171875;
    const IntQuantizer quantizer{4, true, Granularity::Row, 0, FloatType::Fp32, {}, false, false, shift};
    const auto decoded = roundTrip(quantizer, row, 64);
    const double top = *std::max_element(row.begin(), row.end()) + shift;
    for (size_t i = 0; i < row.size(); ++i) {
        const double q = std::clamp(std::nearbyint((row[i] + shift) / (top / 15)), 0.0, 15.0);
        EXPECT_NEAR(decoded[i], q * top / 15 - shift, 1e-6);
    }
    const IntQuantizer plain{4, true, Granularity::Row, 0, FloatType::Fp32};
    EXPECT_LT(relativeError(row, decoded), 0.5 * relativeError(plain, row, 64));
}

TEST(Integer, ClipSearchTakesTheBestOfEightyRatios) {
    for (const bool symmetric : {true, false}) {
        auto row = Gaussian(9).floats(128);
        row[3] = 9;
        const IntQuantizer searched{3, symmetric, Granularity::Row, 0, FloatType::Fp16, {}, true};
        const auto power = [&](const std::vector<float>& decoded) {
            double sum = 0;
            for (size_t i = 0; i < row.size(); ++i) {
                sum += std::pow(std::fabs(static_cast<double>(row[i]) - decoded[i]), 2.4);
            }
            return sum;
        };
        double least = std::numeric_limits<double>::infinity();
        for (int i = 0; i < 80; ++i) {
            IntQuantizer fixed = searched;
            fixed.clipSearch = false;
            fixed.clip = 1 - i / 100.0;
            least = std::min(least, power(roundTrip(fixed, row, 128)));
        }
        EXPECT_NEAR(power(roundTrip(searched, row, 128)), least, 1e-4 * least);
        EXPECT_LT(least, 0.99 * power(roundTrip(IntQuantizer{3, symmetric, Granularity::Row, 0, FloatType::Fp16}, row, 128)));
    }
}

TEST(Integer, StaticRangeClampsWhatLiesBeyond) {
    const IntQuantizer quantizer{8, false, Granularity::Tensor, 0, FloatType::Fp32, {}, false, true};
    const RowCodec codec(quantizer, 4, {-1.0, 4.1, {}}, kernels());
    std::vector<float> row{-3, 0, 2, 9};
    std::vector<uint8_t> codes(4);
    std::vector<float> sides(codec.sides());
    codec.encode(row.data(), codes.data(), sides.data());
    codec.decode(codes.data(), sides.data(), row.data());
    const std::vector<float> expected{-1, 0, 2, 4.1f};
    for (size_t i = 0; i < row.size(); ++i) {
        EXPECT_NEAR(row[i], expected[i], 0.011f);
    }
}

TEST(Quantizers, RefuseNonsense) {
    const auto message = [](const Quantizer& quantizer, uint64_t width) -> std::string {
        try {
            validate(quantizer, width);
        } catch (const Error& error) {
            return error.what();
        }
        return "";
    };
    EXPECT_NE(message(TwinLogQuantizer{1, false}, 8).find("2 to 8"), std::string::npos);
    EXPECT_NE(message(TwinLogQuantizer{8, true}, 8).find("2 to 7 bits as released"), std::string::npos);
    EXPECT_NE(message(MidRiseQuantizer{9, FloatType::Fp16}, 8).find("1 to 8"), std::string::npos);
    EXPECT_NE(message(FloatQuantizer{FloatFormat::Nvfp4, Granularity::Group, 16}, 72).find("width 72"), std::string::npos);
    EXPECT_NE(message(FloatQuantizer{FloatFormat::Mxfp4, Granularity::Row, 0}, 64).find("groups of 32"), std::string::npos);
    EXPECT_NE(message(IntQuantizer{4, true, Granularity::Row, 0, FloatType::Fp16, 1.5}, 64).find("at most 1"), std::string::npos);
    EXPECT_NE(message(IntQuantizer{4, true, Granularity::Tensor, 0, FloatType::Fp16, {}, true}, 64).find("one group at a time"), std::string::npos);
    EXPECT_NE(message(IntQuantizer{4, true, Granularity::Row, 0, FloatType::Fp16, {}, false, true}, 64).find("whole tensor"), std::string::npos);
    for (const Quantizer& quantizer : kEveryKind) {
        EXPECT_EQ(message(quantizer, 96), "") << quantizer.index();
    }
}

/// Rows of 1152, the width of DiT-XL and PixArt.
std::vector<float> heavyTailed(const std::function<double(Gaussian&, SplitMix64&)>& draw, double scale) {
    Gaussian gaussian(10);
    SplitMix64 random(11);
    std::vector<float> values(1152 * 256);
    for (float& value : values) {
        value = static_cast<float>(scale * draw(gaussian, random));
    }
    return values;
}

TEST(TwinLog, GivesTheErrorsOfItsTable) {
    const auto normal = [](Gaussian& g, SplitMix64&) { return g(); };
    const auto laplace = [](Gaussian&, SplitMix64& r) { return (r.uniform() < 0.5 ? -1 : 1) * -std::log(1 - r.uniform()); };
    const auto student5 = [](Gaussian& g, SplitMix64&) {
        const double z = g();
        double chi = 0;
        for (int i = 0; i < 5; ++i) {
            chi += std::pow(g(), 2);
        }
        return z / std::sqrt(chi / 5);
    };
    struct Row {
        const char* name;
        std::vector<float> values;
        int bits;
        double corrected;
        double released;
    };
    const double student = std::sqrt(5.0 / 3);
    for (const Row& row : {Row{"Gauss .03", heavyTailed(normal, .03), 3, .0353, .2105}, Row{"Gauss .03", heavyTailed(normal, .03), 4, .0096, .0467},
                           Row{"Gauss .3", heavyTailed(normal, .3), 3, .0353, .0372}, Row{"Gauss .3", heavyTailed(normal, .3), 4, .0096, .0101},
                           Row{"Laplace", heavyTailed(laplace, .03 / std::sqrt(2.0)), 3, .0554, .196}, Row{"Laplace", heavyTailed(laplace, .03 / std::sqrt(2.0)), 4, .0149, .045},
                           Row{"t5", heavyTailed(student5, .03 / student), 3, .065, .202}, Row{"t5", heavyTailed(student5, .03 / student), 4, .0165, .045}}) {
        // A heavy tail's error hangs on few values; the search per sign finds a little more than the table has.
        EXPECT_NEAR(relativeError(TwinLogQuantizer{row.bits, false}, row.values, 1152), row.corrected, 0.07 * row.corrected) << row.name << row.bits;
        EXPECT_NEAR(relativeError(TwinLogQuantizer{row.bits, true}, row.values, 1152), row.released, 0.03 * row.released) << row.name << row.bits;
    }
}

}  // namespace
}  // namespace quantscope
