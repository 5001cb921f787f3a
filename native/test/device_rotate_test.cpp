// Rotation, codes and packing on a device against the processor's rotation and RowCodec.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>

#include "base/random.h"
#include "cpu/kernels.h"
#include "device/coder.h"
#include "device/self_test/definitions.h"
#include "device_support.h"
#include "linear/activations.h"
#include "packed/codes.h"
#include "quantizer/row_codec.h"
#include "rotation/rpbh.h"
#include "support.h"
#include "tensor/decode.h"

namespace quantscope {
namespace {

using cuda::Code;
using cuda::Element;
using cuda::RotateRequest;

Quantizer shifted(int bits, Granularity granularity = Granularity::Row, uint64_t group = 0) {
    return IntQuantizer{bits, true, granularity, group, FloatType::Fp16, {}, false, false, 0.171875};
}

/// Rows as the device reads them, and the floats that they stand for.
struct Rows {
    size_t rows;
    size_t width;
    size_t stride;
    Element element;
    std::vector<float> values;  ///< [rows, stride]

    Rows(size_t count, size_t columns, size_t pitch, Element type, uint64_t seed) : rows(count), width(columns), stride(pitch), element(type) {
        test::Gaussian gaussian(seed);
        values = gaussian.floats(rows * stride);
        for (size_t i = 0; i < values.size(); ++i) {
            values[i] *= i % 97 == 0 ? 9.0f : 1.0f;  // outliers, which are what rotations are for
        }
        if (type == Element::BF16) {
            // Through memory: GCC 12 leaves the cut out when it sees both conversions of one value.
            const std::vector<uint16_t> halves = test::toBF16(values);
            std::transform(halves.begin(), halves.end(), values.begin(), decodeBF16);
        }
    }
    const float* row(size_t i) const { return values.data() + i * stride; }
    float* row(size_t i) { return values.data() + i * stride; }
};

struct Uploaded {
    DeviceArray<float> floats;
    DeviceArray<uint16_t> halves;
    Uploaded(const std::shared_ptr<Device>& device, const Rows& rows) {
        if (rows.element == Element::F32) {
            floats = device->upload(rows.values);
        } else {
            halves = device->upload(test::toBF16(rows.values));
        }
    }
    const void* data() const { return floats.data() != nullptr ? static_cast<const void*>(floats.data()) : halves.data(); }
};

/// What a device makes of rows, and the processor.
class Rotated {
public:
    Rotated(const Rows& rows, std::optional<uint64_t> seed, const Quantizer& quantizer, const ActivationCoding& given = {})
        : device_(test::testedDevice()), rows_(rows), x_(device_, rows), quantizer_(quantizer), given_(given),
          rotation_(seed ? rotationFor(rows.width, *seed) : nullptr), coder_(device_, quantizer, rows.width, rotation_.get(), given),
          expected_(rows.rows * rows.width) {
        for (size_t i = 0; i < rows.rows; ++i) {
            if (rotation_ != nullptr) {
                rotation_->apply(rows.row(i), expected_.data() + i * rows.width, scalarKernels());
            } else {
                std::copy_n(rows.row(i), rows.width, expected_.data() + i * rows.width);
            }
        }
    }

    void compareValues() const {
        const size_t width = rows_.width;
        const size_t stride = width + width % 5;
        DeviceArray<float> floats = device_->allocate<float>(rows_.rows * stride);
        DeviceArray<uint16_t> halves = device_->allocate<uint16_t>(rows_.rows * stride);
        coder_.rotate(input(), floats.data(), Element::F32, stride);
        coder_.rotate(input(), halves.data(), Element::BF16, stride);
        const std::vector<float> values = floats.read();
        const std::vector<uint16_t> rounded = halves.read();
        for (size_t i = 0; i < rows_.rows; ++i) {
            for (size_t k = 0; k < width; ++k) {
                ASSERT_NEAR(values[i * stride + k], expected_[i * width + k], 4e-6) << "row " << i << " value " << k;
                ASSERT_EQ(decodeBF16(rounded[i * stride + k]), static_cast<float>(roundTo(FloatType::Bf16, values[i * stride + k]))) << "row " << i << " value " << k;
            }
        }
    }

    void compareCodes() const {
        const auto [codes, sides] = coded();
        const Quantizer quantizer = withoutShift(quantizer_);
        std::vector<float> values = expected_;
        TensorRange range;
        for (size_t i = 0; i < rows_.rows; ++i) {
            float* const row = values.data() + i * rows_.width;
            for (size_t k = 0; k < given_.shift.size(); ++k) {
                row[k] += given_.shift[k];
            }
            if (needsTensorRange(quantizer) && std::all_of(row, row + rows_.width, [](float value) { return std::isfinite(value); })) {
                observe(quantizer, row, rows_.width, 0, scalarKernels(), range);
            }
        }
        const RowCodec codec(quantizer, rows_.width, given_.range.value_or(range), scalarKernels());
        ASSERT_EQ(codec.sides(), coder_.sides());
        EXPECT_EQ(quantscope::compareCodes(codec, values.data(), rows_.rows, codes.data(), sides.data()).value_or(""), "");
        compareBytes(codes, sides);
    }

    /// Sides are equal but for the last bit of their type, and codes are but for values that lie, within a few roundings of float32 sums, in the middle between
    /// two levels: those have one or the other.
    void compareExactly(FloatType stored) const {
        const auto [codes, sides] = coded();
        compareBytes(codes, sides);
        const RowCodec codec(quantizer_, rows_.width, {}, scalarKernels());
        const double unit = stored == FloatType::Fp16 ? 0x1p-10 : stored == FloatType::Bf16 ? 0x1p-7 : 2e-6;
        std::vector<uint8_t> want(rows_.width);
        std::vector<uint8_t> have(rows_.width);
        std::vector<float> level(rows_.width);
        std::vector<float> other(rows_.width);
        std::vector<float> wantSides(codec.sides());
        for (size_t i = 0; i < rows_.rows; ++i) {
            const float* const row = expected_.data() + i * rows_.width;
            const float* const ownSides = sides.data() + i * codec.sides();
            codec.encode(row, want.data(), wantSides.data());
            unpackCodes(codes.data() + i * coder_.rowBytes(), rows_.width, codec.bits(), have.data());
            double squares = 0;
            for (size_t k = 0; k < codec.sides(); ++k) {
                if (std::isnan(wantSides[k])) {
                    ASSERT_TRUE(std::isnan(ownSides[k])) << "row " << i << " side " << k;
                } else {
                    ASSERT_LE(std::fabs(ownSides[k] - wantSides[k]), unit * std::fabs(wantSides[k])) << "row " << i << " side " << k;
                }
            }
            for (size_t k = 0; k < rows_.width; ++k) {
                squares += double(row[k]) * row[k];
            }
            const double few = 2e-6 * std::sqrt(squares / static_cast<double>(rows_.width));
            codec.decode(want.data(), ownSides, level.data());
            codec.decode(have.data(), ownSides, other.data());
            const size_t eachSides = codec.sides() / (rows_.width / codec.group());
            for (size_t k = 0; k < rows_.width; ++k) {
                const size_t side = k / codec.group() * eachSides;
                if (have[k] != want[k] && ownSides[side] == wantSides[side]) {
                    ASSERT_EQ(std::abs(have[k] - want[k]), 1) << "row " << i << " value " << k;
                    ASSERT_NEAR(row[k], (double(level[k]) + other[k]) / 2, few) << "row " << i << " value " << k;
                }
            }
        }
    }

private:
    /// What stands in the place of codes of 4 bits where that is possible.
    void compareBytes(const std::vector<uint8_t>& codes, const std::vector<float>& sides) const {
        for (const int32_t inHalves : {0, 1}) {
            const cuda::CodeBytes form{{0x8091A2B3, 0xC4D5E6F7, 0x08192A3B, 0x4C5D6E7F}, inHalves};
            const DeviceArray<uint8_t> bytes = device_->allocate<uint8_t>(rows_.rows * rows_.width);
            const DeviceArray<float> same = device_->allocate<float>(rows_.rows * coder_.sides());
            if (coder_.writesBytes(input())) {
                coder_.encode(input(), bytes.data(), same.data(), &form);
                EXPECT_EQ(bytes.read(), asBytes(codes, form)) << inHalves;
                const std::vector<float> found = same.read();
                EXPECT_EQ(std::memcmp(found.data(), sides.data(), sides.size() * sizeof(float)), 0);
            } else {
                test::expectError(ErrorCode::Argument, "bytes in the place of these codes", [&] { coder_.encode(input(), bytes.data(), same.data(), &form); });
            }
        }
    }

    std::pair<std::vector<uint8_t>, std::vector<float>> coded() const {
        const DeviceArray<uint8_t> codes = device_->allocate<uint8_t>(rows_.rows * coder_.rowBytes());
        const DeviceArray<float> sides = device_->allocate<float>(rows_.rows * coder_.sides());
        coder_.encode(input(), codes.data(), sides.data());
        return {codes.read(), sides.read()};
    }
    DeviceRows input() const { return {x_.data(), rows_.element, rows_.rows, rows_.stride}; }

    std::shared_ptr<Device> device_;
    const Rows& rows_;
    Uploaded x_;
    Quantizer quantizer_;
    ActivationCoding given_;
    std::shared_ptr<const Rpbh> rotation_;
    DeviceCoder coder_;
    std::vector<float> expected_;
};

TEST(DeviceRotate, ValuesAreThoseOfTheProcessor) {
    // Every Hadamard block from 1 to 4096, odd widths, tails, one row and odd numbers of rows.
    for (const size_t width : {1, 2, 3, 7, 24, 77, 80, 96, 320, 640, 1152, 1280, 1536, 3072, 6144, 4096, 12288, 39000}) {
        for (const Element element : {Element::F32, Element::BF16}) {
            const Rows rows(width > 2000 ? 1 : 5, width, width + (width % 3), element, width);
            SCOPED_TRACE(std::to_string(width) + (element == Element::F32 ? " float32" : " bfloat16"));
            Rotated(rows, 11, KeepQuantizer{}).compareValues();
        }
    }
}

TEST(DeviceRotate, NonsenseOfTheQuantizersIsNamed) {
    const auto device = test::testedDevice();
    test::expectError(ErrorCode::Argument, "without the shift behind", [&] { DeviceCoder(device, shifted(4), 64, nullptr); });
    test::expectError(ErrorCode::Argument, "without the shift behind", [&] { DeviceCoder(device, IntQuantizer{}, 64, nullptr, {{}, std::vector<float>(64)}); });
    test::expectError(ErrorCode::Argument, "twin-log", [&] { DeviceCoder(device, TwinLogQuantizer{}, 64, nullptr); });
    test::expectError(ErrorCode::Argument, "larger than 4096", [&] { DeviceCoder(device, CodebookQuantizer{}, 8192, rotationFor(8192, 1).get()); });
    test::expectError(ErrorCode::Argument, "do not fit the device", [&] { DeviceCoder(device, CodebookQuantizer{}, 1 << 20, nullptr); });
}

TEST(DeviceRotate, CodebooksOfAllWidths) {
    for (const int bits : {1, 2, 3, 4, 5, 6, 7, 8}) {
        const size_t width = bits % 2 == 0 ? 1152 : 200;
        const Rows rows(5, width, width, bits > 4 ? Element::F32 : Element::BF16, static_cast<uint64_t>(bits));
        SCOPED_TRACE(bits);
        Rotated(rows, 3, CodebookQuantizer{bits, FloatType::Bf16}).compareCodes();
    }
}

TEST(DeviceRotate, CodebooksOfOddShapes) {
    SplitMix64 random(5);
    for (int i = 0; i < 12; ++i) {
        const size_t width = 1 + random.below(500);
        const Rows rows(1 + random.below(9), width, width + random.below(9), random.below(2) == 0 ? Element::F32 : Element::BF16, random.next());
        SCOPED_TRACE(std::to_string(rows.rows) + " x " + std::to_string(width) + " in " + std::to_string(rows.stride));
        Rotated(rows, random.next() >> 12, CodebookQuantizer{2 + static_cast<int>(random.below(3)), FloatType::Fp32}).compareCodes();
    }
}

TEST(DeviceRotate, MidRise) {
    for (const int bits : {2, 4, 8}) {
        const Rows rows(3, 384, 384, Element::BF16, static_cast<uint64_t>(bits));
        SCOPED_TRACE(bits);
        Rotated(rows, 3, MidRiseQuantizer{bits, FloatType::Bf16}).compareCodes();
        Rotated(rows, std::nullopt, MidRiseQuantizer{bits, FloatType::Bf16}).compareCodes();
    }
}

TEST(DeviceRotate, IntegersByRowAndByGroup) {
    for (const bool symmetric : {true, false}) {
        for (const int bits : {2, 3, 4, 8}) {
            for (const uint64_t group : {uint64_t{0}, uint64_t{128}, uint64_t{64}, uint64_t{16}, uint64_t{12}}) {
                const size_t width = group == 12 ? 120 : 384;
                const Rows rows(3, width, width, Element::BF16, static_cast<uint64_t>(bits));
                SCOPED_TRACE(std::to_string(bits) + " bits, groups of " + std::to_string(group) + (symmetric ? ", symmetric" : ""));
                IntQuantizer quantizer{bits, symmetric, group == 0 ? Granularity::Row : Granularity::Group, group, FloatType::Fp16};
                Rotated(rows, 3, quantizer).compareCodes();
                quantizer.clip = 0.8;
                quantizer.scale = FloatType::Fp32;
                Rotated(rows, std::nullopt, quantizer).compareCodes();
            }
        }
    }
}

/// Both with rows that are no codes among them, and with rows of very different sizes.
Rows unequalRows(Element element, uint64_t seed) {
    Rows rows(7, 192, 195, element, seed);
    for (size_t k = 0; k < 192; ++k) {
        rows.row(1)[k] = 0;
        rows.row(2)[k] *= 0.001f;
        rows.row(5)[k] = std::fabs(rows.row(5)[k]);
    }
    rows.row(3)[7] = std::numeric_limits<float>::quiet_NaN();
    return rows;
}

TEST(DeviceRotate, OneScaleForAllRows) {
    for (const bool symmetric : {true, false}) {
        for (const int bits : {3, 8}) {
            const Rows rows = unequalRows(bits == 8 ? Element::F32 : Element::BF16, static_cast<uint64_t>(bits));
            IntQuantizer quantizer{bits, symmetric, Granularity::Tensor, 0, FloatType::Fp32};
            SCOPED_TRACE(std::to_string(bits) + (symmetric ? " bits, symmetric" : " bits"));
            for (const auto seed : {std::optional<uint64_t>(), std::optional<uint64_t>(3)}) {
                Rotated(rows, seed, quantizer).compareCodes();
                Rotated(rows, seed, quantizer, {TensorRange{-1.5, 2.25, {}}, {}}).compareCodes();
                Rotated(rows, seed, quantizer, {TensorRange{0, 4, {}}, {}}).compareCodes();
                Rotated(rows, seed, quantizer, {TensorRange{}, {}}).compareCodes();
            }
            quantizer.clip = 0.7;
            Rotated(rows, 3, quantizer).compareCodes();
        }
    }
}

TEST(DeviceRotate, AScaleForAllRowsIsThatOfEachRun) {
    const auto device = test::testedDevice();
    const DeviceCoder coder(device, IntQuantizer{8, true, Granularity::Tensor, 0, FloatType::Fp32}, 64, nullptr);
    const auto codes = device->allocate<uint8_t>(64);
    const auto sides = device->allocate<float>(2);
    for (const float largest : {254.0f, 127.0f}) {
        std::vector<float> row(64, 1.0f);
        row[40] = -largest;
        const auto x = device->upload(row);
        coder.encode({x.data(), Element::F32, 1, 64}, codes.data(), sides.data());
        EXPECT_EQ(sides.read(), (std::vector<float>{largest / 127, -128.0f}));
    }
}

TEST(DeviceRotate, ShiftedCodesCountFromZero) {
    for (const Quantizer& quantizer : {shifted(4), shifted(8), shifted(4, Granularity::Group, 64), shifted(4, Granularity::Tensor)}) {
        const Rows rows = unequalRows(Element::BF16, 8);
        std::vector<float> shift(192);
        for (size_t k = 0; k < shift.size(); ++k) {
            shift[k] = 0.1f + 0.01f * static_cast<float>(k % 50);
        }
        Rotated(rows, std::nullopt, quantizer, {{}, shift}).compareCodes();
        Rotated(rows, 3, quantizer, {{}, shift}).compareCodes();
    }
}

TEST(DeviceRotate, RowsThatAreZeroOrNotFinite) {
    const float infinity = std::numeric_limits<float>::infinity();
    const Quantizer quantizers[] = {CodebookQuantizer{4, FloatType::Bf16}, MidRiseQuantizer{4, FloatType::Bf16},
                                    IntQuantizer{4, true, Granularity::Group, 64}, IntQuantizer{8, false}};
    for (const Quantizer& quantizer : quantizers) {
        Rows rows(6, 192, 192, Element::F32, 1);
        std::fill_n(rows.row(1), 192, 0.0f);
        rows.row(2)[7] = std::numeric_limits<float>::quiet_NaN();
        rows.row(3)[191] = -infinity;
        std::fill_n(rows.row(4), 192, -0.0f);
        Rotated(rows, 3, quantizer).compareCodes();
    }
}

TEST(DeviceRotate, RowsWhoseSquaresLeaveTheRangeOfFloats) {
    const Quantizer quantizers[] = {CodebookQuantizer{4, FloatType::Fp32}, IntQuantizer{4, true, Granularity::Group, 64, FloatType::Fp32}};
    const Quantizer whole = IntQuantizer{8, false, Granularity::Tensor, 0, FloatType::Fp32};
    for (const Quantizer& quantizer : quantizers) {
        for (const int exponent : {-100, 60, 120}) {
            Rows rows(3, 192, 192, Element::F32, 1);
            for (size_t k = 0; k < 192; ++k) {
                rows.row(1)[k] = std::ldexp(rows.row(1)[k], exponent);
            }
            SCOPED_TRACE(exponent);
            Rotated(rows, std::nullopt, quantizer).compareCodes();
            Rotated(rows, std::nullopt, whole).compareCodes();
            Rotated(rows, std::nullopt, whole, {TensorRange{-2, 3, {}}, {}}).compareCodes();
            Rotated(rows, std::nullopt, shifted(8), {{}, std::vector<float>(192, 0.25f)}).compareCodes();
        }
    }
}

// What tensor cores rotate: bfloat16 rows at multiples of 16 bytes and 4 or 8 bits.

/// Widths with Hadamard blocks of 32 to 4096, one of them and many, odd numbers of them, and what does not fill a warp's.
constexpr size_t kTensorWidths[] = {32,   64,   96,   160, 352,  448,  1120, 1152, 1280,  1536,  2304,
                                    2560, 3072, 4608, 512, 1024, 2048, 4096, 6144, 10240, 12288, 15360};

TEST(DeviceRotate, TensorCoresFindTheCodesOfCodebooks) {
    for (const size_t width : kTensorWidths) {
        const size_t count = width > 4000 ? 5 : width == 1152 ? 70 : 19;
        const Rows rows(count, width, width + width % 64, Element::BF16, width);
        SCOPED_TRACE(width);
        Rotated(rows, 3, CodebookQuantizer{4, FloatType::Fp32}).compareExactly(FloatType::Fp32);
        if (width < 2000) {
            for (const int bits : {1, 2, 3}) {
                Rotated(rows, 4, CodebookQuantizer{bits, FloatType::Bf16}).compareExactly(FloatType::Bf16);
            }
        }
    }
}

TEST(DeviceRotate, TensorCoresFindTheCodesOfIntegers) {
    for (const size_t width : kTensorWidths) {
        const size_t count = width > 4000 ? 3 : width == 1152 ? 70 : 11;
        const Rows rows(count, width, width + 8, Element::BF16, width + 1);
        for (const int bits : {4, 8}) {
            for (const uint64_t group : {uint64_t{0}, uint64_t{32}, uint64_t{64}, uint64_t{128}}) {
                if (group == 0 || width % group == 0) {
                    SCOPED_TRACE(std::to_string(width) + ", " + std::to_string(bits) + " bits, groups of " + std::to_string(group));
                    IntQuantizer quantizer{bits, true, group == 0 ? Granularity::Row : Granularity::Group, group, FloatType::Fp16};
                    Rotated(rows, 3, quantizer).compareExactly(FloatType::Fp16);
                    quantizer.clip = 0.7;
                    quantizer.scale = group == 64 ? FloatType::Bf16 : FloatType::Fp32;
                    Rotated(rows, 5, quantizer).compareExactly(quantizer.scale);
                }
            }
        }
    }
}

TEST(DeviceRotate, TensorCoresAndRowsOfAllKinds) {
    const float infinity = std::numeric_limits<float>::infinity();
    const Quantizer quantizers[] = {CodebookQuantizer{4, FloatType::Fp32}, IntQuantizer{4, true, Granularity::Group, 32, FloatType::Fp32},
                                    IntQuantizer{8, true, Granularity::Row, 0, FloatType::Fp32}};
    for (const size_t width : {160, 1152, 2304, 3072, 4096}) {
        Rows rows(15, width, width, Element::BF16, width);
        std::fill_n(rows.row(1), width, 0.0f);
        std::fill_n(rows.row(2), width, -0.0f);
        rows.row(3)[7] = std::numeric_limits<float>::quiet_NaN();
        rows.row(4)[width - 1] = -infinity;
        rows.row(4)[3] = infinity;
        size_t scaled = 5;
        for (const int exponent : {-100, -112, 100, 124, -45, 45, 20}) {
            float* const row = rows.row(scaled++);
            std::transform(row, row + width, row, [&](float value) { return std::ldexp(value, exponent); });
        }
        std::fill_n(rows.row(12), width, 0.0f);
        rows.row(12)[width / 2] = 3.0f;  // spread evenly over one block
        std::fill_n(rows.row(13), width, 1.0f);
        for (const Quantizer& quantizer : quantizers) {
            SCOPED_TRACE(std::to_string(width) + ", quantizer " + std::to_string(&quantizer - quantizers));
            Rotated(rows, 3, quantizer).compareExactly(FloatType::Fp32);
            Rotated(rows, 3, quantizer).compareCodes();
        }
    }
}

TEST(DeviceRotate, NothingToDoAndNonsense) {
    const auto device = test::testedDevice();
    const auto& calls = *device->api().rotate;
    RotateRequest request{};
    EXPECT_EQ(calls.rotate(device->context(), &request), cuda::Status::Ok);  // no rows
    request.rows = 1;
    request.block = 1;
    EXPECT_EQ(calls.rotate(device->context(), &request), cuda::Status::Argument);  // no width
    request.width = 48;
    request.block = 32;
    EXPECT_EQ(calls.rotate(device->context(), &request), cuda::Status::Argument);
    request.block = 16;
    request.code = Code::Symmetric;
    request.bits = 4;
    request.group = 20;
    request.clip = 1;
    EXPECT_EQ(calls.rotate(device->context(), &request), cuda::Status::Argument);
    request.group = 24;
    request.observes = 1;  // of what?
    EXPECT_EQ(calls.rotate(device->context(), &request), cuda::Status::Argument);
    uint32_t range[2];
    request.range = range;  // of all rows, with groups
    EXPECT_EQ(calls.rotate(device->context(), &request), cuda::Status::Argument);
    request.group = 48;
    request.code = Code::MidRise;
    EXPECT_EQ(calls.rotate(device->context(), &request), cuda::Status::Argument);
    request.width = calls.maxWidth(device->context()) + 1;
    request.block = 1;
    EXPECT_EQ(calls.rotate(device->context(), &request), cuda::Status::Argument);
    EXPECT_GE(calls.maxWidth(device->context()), 15360u);
}

}  // namespace
}  // namespace quantscope
