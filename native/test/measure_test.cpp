#include "measure/measure.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <limits>

#include "base/error.h"
#include "quantizer/codebook.h"
#include "quantizer/integer.h"
#include "support.h"

namespace quantscope {
namespace {

using test::TemporaryFile;

Measurement run(const MeasureRequest& request, unsigned threads = 2, const Kernels& level = kernels()) {
    ThreadPool pool(threads);
    return measure(request, pool, Cancellation{}, [](double) {}, level);
}

MeasureRequest requestFor(TensorRef tensor, Quantizer weights, std::optional<uint64_t> seed = {}) {
    MeasureRequest request;
    request.tensor = std::move(tensor);
    request.weights = weights;
    request.rotationSeed = seed;
    return request;
}

const Quantizer kQuantizers[] = {
    CodebookQuantizer{2, FloatType::Bf16},
    CodebookQuantizer{4, FloatType::Fp16},
    CodebookQuantizer{6, FloatType::Fp32},
    IntQuantizer{3, true, Granularity::Row, 0, FloatType::Fp16},
    IntQuantizer{4, false, Granularity::Group, 32, FloatType::Bf16},
    IntQuantizer{4, true, Granularity::Tensor, 0, FloatType::Fp32},
    IntQuantizer{8, false, Granularity::Tensor, 0, FloatType::Fp16},
    KeepQuantizer{FloatType::Bf16},
    KeepQuantizer{FloatType::Fp16},
    KeepQuantizer{},
};

/// Relative error of a matrix from the definitions, in double.
double referenceError(const std::vector<double>& matrix, size_t width, const Quantizer& weights, std::optional<uint64_t> seed) {
    std::vector<double> rotated;
    for (size_t start = 0; start < matrix.size(); start += width) {
        const std::span row(matrix.data() + start, width);
        const auto values = seed ? test::rotatePlainly(*rotationFor(width, *seed), row) : std::vector<double>(row.begin(), row.end());
        rotated.insert(rotated.end(), values.begin(), values.end());
    }
    double error = 0;
    double energy = 0;
    const auto add = [&](double value, double stored) {
        error += (value - stored) * (value - stored);
        energy += value * value;
    };
    if (const auto* codebook = std::get_if<CodebookQuantizer>(&weights)) {
        const auto book = codebookFor(width, codebook->bits);
        for (size_t start = 0; start < rotated.size(); start += width) {
            double norm = 0;
            for (size_t i = 0; i < width; ++i) {
                norm += rotated[start + i] * rotated[start + i];
            }
            norm = std::sqrt(norm);
            for (size_t i = 0; i < width; ++i) {
                const double value = rotated[start + i];
                const auto cell = std::upper_bound(book->thresholds.begin(), book->thresholds.end(), value / std::max(norm, 1e-30));
                add(value, roundTo(codebook->norm, norm) * book->levels[static_cast<size_t>(cell - book->thresholds.begin())]);
            }
        }
    } else if (const auto* integer = std::get_if<IntQuantizer>(&weights)) {
        const size_t group = integer->granularity == Granularity::Tensor ? rotated.size()
                             : integer->granularity == Granularity::Row  ? width
                                                                         : integer->group;
        for (size_t start = 0; start < rotated.size(); start += group) {
            const auto [low, high] = std::minmax_element(rotated.begin() + static_cast<ptrdiff_t>(start),
                                                         rotated.begin() + static_cast<ptrdiff_t>(start + group));
            const IntegerGrid grid = integerGrid(*integer, *low, *high, 0);
            for (size_t i = start; i < start + group; ++i) {
                const double code = std::clamp<double>(std::nearbyint(rotated[i] / grid.scale), grid.lowest, grid.highest);
                add(rotated[i], code * grid.scale);
            }
        }
    } else {
        const auto type = std::get<KeepQuantizer>(weights).type;
        for (const double value : rotated) {
            add(value, type ? roundTo(*type, value) : value);
        }
    }
    return error / energy;
}

TEST(Measure, AgreesWithThePlainReference) {
    constexpr size_t kWidth = 96;
    constexpr size_t kRows = 50;
    test::Gaussian gaussian(21);
    const auto floats = gaussian.floats(kWidth * kRows);
    std::vector<std::byte> noise(floats.size());
    SplitMix64 random(22);
    for (auto& byte : noise) {
        byte = static_cast<std::byte>(random.below(112));  // finite in both F8 types, positive and negative in I8
        byte ^= static_cast<std::byte>(random.below(2) << 7);
    }
    const auto bf16 = test::toBF16(floats);
    const std::vector<double> f64(floats.begin(), floats.end());
    const std::pair<Dtype, std::span<const std::byte>> sources[] = {
        {Dtype::F32, test::bytesOf(floats)}, {Dtype::BF16, test::bytesOf(bf16)}, {Dtype::F64, test::bytesOf(f64)},
        {Dtype::F8E4M3, noise},              {Dtype::I8, noise},                 {Dtype::U8, noise},
    };
    for (const auto& [dtype, bytes] : sources) {
        const TemporaryFile file(bytes);
        std::vector<double> matrix(kWidth * kRows);
        decodeToDouble(dtype, bytes.data(), matrix.data(), matrix.size());
        for (const Quantizer& quantizer : kQuantizers) {
            for (const std::optional<uint64_t> seed : {std::optional<uint64_t>{}, std::optional<uint64_t>{5}}) {
                const Measurement result = run(requestFor(test::tensorIn(file, dtype, {kRows, kWidth}), quantizer, seed));
                const double expected = referenceError(matrix, kWidth, quantizer, seed);
                // The engine rotates in float32, whose rounding shows beside the 2e-4 that a cast to 16 bits costs.
                EXPECT_NEAR(result.relativeMse, expected, (seed ? 3e-5 : 1e-5) * expected + 1e-13)
                    << nameOf(dtype) << " quantizer " << (&quantizer - kQuantizers) << (seed ? " rotated" : "");
                EXPECT_EQ(result.rows, kRows);
                EXPECT_EQ(result.sampledRows, kRows);
            }
        }
    }
}

TEST(Measure, GaussianWeightsGetTheExpectedErrorAndMarginal) {
    test::Gaussian gaussian(23);
    const auto values = gaussian.floats(256 * 1152);
    const TemporaryFile file(test::bytesOf(values));
    const TensorRef tensor = test::tensorIn(file, Dtype::F32, {256, 1152});
    for (const Quantizer& quantizer : {Quantizer(CodebookQuantizer{4, FloatType::Bf16}), Quantizer(CodebookQuantizer{2, FloatType::Bf16}),
                                       Quantizer(IntQuantizer{4, true, Granularity::Group, 64, FloatType::Fp16})}) {
        const Measurement result = run(requestFor(tensor, quantizer, 0));
        EXPECT_NEAR(result.relativeMse / *result.expectedRelativeMse, 1, 0.01);
        EXPECT_LT(result.before.ks, 0.003);
        EXPECT_LT(result.after.ks, 0.003);
    }
}

TEST(Measure, RotationRepairsOutlierColumns) {
    test::Gaussian gaussian(24);
    auto values = gaussian.floats(128 * 1024);
    for (size_t row = 0; row < 128; ++row) {
        values[row * 1024 + 7] *= 12;
        values[row * 1024 + 500] *= 12;
    }
    const TemporaryFile file(test::bytesOf(values));
    const TensorRef tensor = test::tensorIn(file, Dtype::F32, {128, 1024});
    const CodebookQuantizer quantizer{4, FloatType::Bf16};
    const Measurement plain = run(requestFor(tensor, quantizer));
    const Measurement rotated = run(requestFor(tensor, quantizer, 0));
    EXPECT_LT(rotated.relativeMse, 0.5 * plain.relativeMse);
    EXPECT_LT(rotated.after.ks, 0.3 * rotated.before.ks);
    // Without a rotation in the recipe the second marginal is that of the diagnostic one, here the same draw.
    EXPECT_EQ(plain.after.ks, rotated.after.ks);
    // rho from its definition, with the block 1024.
    double rho = 0;
    for (size_t row = 0; row < 128; ++row) {
        double square = 0;
        double largest = 0;
        for (size_t i = 0; i < 1024; ++i) {
            const double value = values[row * 1024 + i];
            square += value * value;
            largest = std::max(largest, value * value);
        }
        rho = std::max(rho, 1024 * largest / square * std::sqrt(std::log(4 / 0.01) / (2 * 1024)));
    }
    EXPECT_NEAR(plain.rho, rho, 1e-5 * rho);
}

TEST(Measure, SameForEveryNumberOfThreads) {
    test::Gaussian gaussian(25);
    const TemporaryFile file(test::bytesOf(gaussian.floats(3000 * 384)));
    for (const Quantizer& quantizer : kQuantizers) {
        const MeasureRequest request = requestFor(test::tensorIn(file, Dtype::F32, {3000, 384}), quantizer, 1);
        const Measurement one = run(request, 1);
        const Measurement three = run(request, 3);
        EXPECT_EQ(one.relativeMse, three.relativeMse);
        EXPECT_EQ(one.after.ks, three.after.ks);
        EXPECT_EQ(one.before.wasserstein1, three.before.wasserstein1);
        EXPECT_EQ(one.after.excessKurtosis, three.after.excessKurtosis);
        EXPECT_EQ(one.after.histogram.counts, three.after.histogram.counts);
    }
}

TEST(Measure, LevelsAgree) {
    test::Gaussian gaussian(26);
    const TemporaryFile file(test::bytesOf(test::toBF16(gaussian.floats(64 * 1152))));
    for (const Quantizer& quantizer : kQuantizers) {
        const MeasureRequest request = requestFor(test::tensorIn(file, Dtype::BF16, {64, 1152}), quantizer, 1);
        const Measurement reference = run(request, 1, scalarKernels());
        for (const Kernels* level : supportedKernels()) {
            const Measurement result = run(request, 1, *level);
            EXPECT_NEAR(result.relativeMse, reference.relativeMse, 1e-5 * reference.relativeMse) << level->name;
            EXPECT_NEAR(result.after.ks, reference.after.ks, 1e-4) << level->name;
        }
    }
}

TEST(Measure, RowsWithNonFiniteValuesAreLeftOut) {
    test::Gaussian gaussian(27);
    auto values = gaussian.floats(8 * 64);
    const TemporaryFile clean(test::bytesOf(values));
    auto extended = values;
    auto bad = gaussian.floats(64);
    bad[3] = std::numeric_limits<float>::quiet_NaN();
    bad[60] = -std::numeric_limits<float>::infinity();
    extended.insert(extended.begin() + 128, bad.begin(), bad.end());
    const TemporaryFile dirty(test::bytesOf(extended));
    for (const Quantizer& quantizer : kQuantizers) {
        const Measurement expected = run(requestFor(test::tensorIn(clean, Dtype::F32, {8, 64}), quantizer, 2));
        const Measurement result = run(requestFor(test::tensorIn(dirty, Dtype::F32, {9, 64}), quantizer, 2));
        EXPECT_EQ(result.relativeMse, expected.relativeMse);
        EXPECT_EQ(result.before.ks, expected.before.ks);
        EXPECT_EQ(result.rho, expected.rho);
        EXPECT_EQ(result.nonFinite, 2u);
        EXPECT_EQ(result.rows, 9u);
    }
}

TEST(Measure, ZeroRowsAndZeroWeights) {
    std::vector<float> values(6 * 32, 0.0f);
    const TemporaryFile zeros(test::bytesOf(values));
    for (const Quantizer& quantizer : kQuantizers) {
        const Measurement result = run(requestFor(test::tensorIn(zeros, Dtype::F32, {6, 32}), quantizer, 0));
        EXPECT_EQ(result.relativeMse, 0.0);
        EXPECT_EQ(result.zeroRows, 6u);
        EXPECT_EQ(result.after.ks, 0.0);
    }
    values[40] = 1.0f;
    const TemporaryFile one(test::bytesOf(values));
    const Measurement result = run(requestFor(test::tensorIn(one, Dtype::F32, {6, 32}), KeepQuantizer{FloatType::Bf16}));
    EXPECT_EQ(result.zeroRows, 5u);
    EXPECT_EQ(result.relativeMse, 0.0);
}

TEST(Measure, ScalingTheWeightsByAPowerOfTwoChangesNothing) {
    // Far beyond the range where float squares survive. BF16 and fp32 side data have the exponents; fp16 scales do not.
    test::Gaussian gaussian(28);
    const auto values = gaussian.floats(16 * 128);
    const TemporaryFile plain(test::bytesOf(values));
    for (const int power : {-100, 90}) {
        auto scaled = values;
        for (auto& value : scaled) {
            value = std::ldexp(value, power);
        }
        const TemporaryFile file(test::bytesOf(scaled));
        for (const Quantizer& quantizer : {kQuantizers[0], kQuantizers[2], kQuantizers[4], kQuantizers[5], kQuantizers[7]}) {
            const Measurement expected = run(requestFor(test::tensorIn(plain, Dtype::F32, {16, 128}), quantizer, 3));
            const Measurement result = run(requestFor(test::tensorIn(file, Dtype::F32, {16, 128}), quantizer, 3));
            EXPECT_NEAR(result.relativeMse, expected.relativeMse, 1e-6 * expected.relativeMse) << power;
            EXPECT_NEAR(result.after.ks, expected.after.ks, 1e-5) << power;
        }
    }
}

TEST(Measure, SampledRowsAreEvenlySpread) {
    // Row r holds values of size 1 + r, quantized by keeping them in BF16 with the error of one known value per row.
    constexpr uint64_t kRows = 23;
    std::vector<float> values;
    for (uint64_t row = 0; row < kRows; ++row) {
        values.insert(values.end(), 8, std::ldexp(1.0f, static_cast<int>(row)));
        values.back() *= 1.0f + 1.0f / 512;  // lost in BF16
    }
    const TemporaryFile file(test::bytesOf(values));
    for (const uint64_t sample : {1u, 4u, 22u, 23u, 100u}) {
        MeasureRequest request = requestFor(test::tensorIn(file, Dtype::F32, {kRows, 8}), KeepQuantizer{FloatType::Bf16});
        request.sampleRows = sample;
        const uint64_t count = std::min<uint64_t>(sample, kRows);
        double error = 0;
        double energy = 0;
        for (uint64_t i = 0; i < count; ++i) {
            const auto row = static_cast<uint64_t>((static_cast<double>(i) + 0.5) * kRows / static_cast<double>(count));
            for (size_t k = 0; k < 8; ++k) {
                const double value = values[row * 8 + k];
                energy += value * value;
                error += std::pow(value - roundTo(FloatType::Bf16, value), 2);
            }
        }
        const Measurement result = run(request);
        EXPECT_EQ(result.sampledRows, count);
        EXPECT_EQ(result.rows, kRows);
        EXPECT_NEAR(result.relativeMse, error / energy, 1e-6 * error / energy) << sample;
    }
}

TEST(Measure, AWholeTensorScaleComesFromAllRows) {
    std::vector<float> values(100 * 16, 0.1f);
    values[0] = 7.0f;  // in row 0, which a sample of one row does not read
    const TemporaryFile file(test::bytesOf(values));
    const IntQuantizer quantizer{4, true, Granularity::Tensor, 0, FloatType::Fp32};
    MeasureRequest request = requestFor(test::tensorIn(file, Dtype::F32, {100, 16}), quantizer);
    request.sampleRows = 1;
    EXPECT_NEAR(run(request).relativeMse, 1.0, 1e-6);  // 0.1 rounds to 0 with the scale 1
}

TEST(Measure, KeepingF64InFp32CountsTheLostBits) {
    const std::vector<double> values(64, 1.0 / 3);
    const TemporaryFile file(test::bytesOf(values));
    const double lost = 1.0 / 3 - static_cast<double>(1.0f / 3);
    const Measurement result = run(requestFor(test::tensorIn(file, Dtype::F64, {2, 32}), KeepQuantizer{FloatType::Fp32}));
    EXPECT_NEAR(result.relativeMse / (lost * lost * 9), 1, 1e-6);
    EXPECT_EQ(run(requestFor(test::tensorIn(file, Dtype::F64, {2, 32}), KeepQuantizer{})).relativeMse, 0.0);
}

TEST(Measure, OddShapes) {
    test::Gaussian gaussian(29);
    const TemporaryFile file(test::bytesOf(gaussian.floats(300000)));
    for (const Quantizer& quantizer : {kQuantizers[0], kQuantizers[3], kQuantizers[5], kQuantizers[7]}) {
        for (const auto& shape : {std::vector<uint64_t>{}, {1}, {7}, {1, 1}, {0, 5}, {5, 0}, {3, 1}, {9, 2}, {2, 3, 5, 7}, {1, 299999},
                                  {100000, 3}}) {
            const Measurement result = run(requestFor(test::tensorIn(file, Dtype::F32, shape), quantizer, 0));
            EXPECT_TRUE(std::isfinite(result.relativeMse));
            EXPECT_GE(result.relativeMse, 0.0);
            EXPECT_LT(result.relativeMse, 1.0);
            EXPECT_TRUE(std::isfinite(result.after.ks) && std::isfinite(result.after.excessKurtosis));
        }
    }
}

TEST(Measure, ProgressEndsAtOne) {
    const TemporaryFile file(test::bytesOf(std::vector<float>(3000 * 256, 0.5f)));
    for (const Quantizer& quantizer : {kQuantizers[0], kQuantizers[5]}) {
        ThreadPool pool(2);
        std::atomic<double> largest{0};
        measure(requestFor(test::tensorIn(file, Dtype::F32, {3000, 256}), quantizer), pool, Cancellation{},
                [&](double fraction) {
                    double seen = largest;
                    while (fraction > seen && !largest.compare_exchange_weak(seen, fraction)) {
                    }
                },
                kernels());
        EXPECT_EQ(largest, 1.0);
    }
}

TEST(Measure, RefusesNonsense) {
    const TemporaryFile file(test::bytesOf(std::vector<float>(64)));
    const auto code = [&](const MeasureRequest& request) {
        try {
            run(request);
        } catch (const Error& error) {
            return error.code();
        }
        ADD_FAILURE() << "no error";
        return ErrorCode::Memory;
    };
    const TensorRef tensor = test::tensorIn(file, Dtype::F32, {4, 16});
    EXPECT_EQ(code(requestFor(tensor, IntQuantizer{4, true, Granularity::Group, 5, FloatType::Fp16})), ErrorCode::Argument);
    EXPECT_EQ(code(requestFor(test::tensorIn(file, Dtype::I32, {4, 16}), KeepQuantizer{})), ErrorCode::Argument);
    EXPECT_EQ(code(requestFor(test::tensorIn(file, Dtype::F32, {5, 16}), KeepQuantizer{})), ErrorCode::Io);
    MeasureRequest bins = requestFor(tensor, KeepQuantizer{});
    bins.histogramBins = 0;
    EXPECT_EQ(code(bins), ErrorCode::Argument);
    const TemporaryFile wide({});
    std::filesystem::resize_file(wide.path(), kMaxWidth + 1);
    EXPECT_EQ(code(requestFor(test::tensorIn(wide, Dtype::U8, {kMaxWidth + 1}), KeepQuantizer{})), ErrorCode::Argument);
}

}  // namespace
}  // namespace quantscope
