// Rotation, codes and packing on a device against the processor's rotation and RowCodec.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "base/random.h"
#include "cpu/kernels.h"
#include "device_support.h"
#include "packed/codes.h"
#include "quantizer/codebook.h"
#include "quantizer/midrise.h"
#include "quantizer/row_codec.h"
#include "rotation/rpbh.h"
#include "support.h"
#include "tensor/decode.h"

namespace quantscope {
namespace {

using cuda::Code;
using cuda::Element;
using cuda::RotateRequest;
using cuda::Stored;

Stored storedOf(FloatType type) { return type == FloatType::Fp16 ? Stored::Fp16 : type == FloatType::Bf16 ? Stored::Bf16 : Stored::Fp32; }

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

/// What rotate() is asked for, and what it left behind.
class Rotated {
public:
    Rotated(const Rows& rows, std::optional<uint64_t> seed, const Quantizer& quantizer, bool values = false)
        : device_(test::testedDevice()), rows_(rows), quantizer_(quantizer) {
        const Uploaded x(device_, rows);
        request_.x = x.data();
        request_.rows = rows.rows;
        request_.width = rows.width;
        request_.xStride = rows.stride;
        request_.element = rows.element;
        request_.block = 1;
        request_.clip = 1.0;
        DeviceArray<uint32_t> sources;
        if (seed) {
            rotation_ = rotationFor(rows.width, *seed);
            std::vector<uint32_t> wanted(rows.width);
            for (size_t i = 0; i < rows.width; ++i) {
                wanted[i] = rotation_->source(i) | (rotation_->sign(i) < 0 ? 0x80000000u : 0u);
            }
            sources = device_->upload(wanted);
            request_.sources = sources.data();
            request_.block = static_cast<uint32_t>(std::min<uint64_t>(rotation_->block(), 4096));
        }
        DeviceArray<float> thresholds;
        size_t sidesEach = 0;
        if (const auto* codebook = std::get_if<CodebookQuantizer>(&quantizer)) {
            const LevelTable& table = codebookFor(rows.width, codebook->bits)->table;
            thresholds = device_->upload(std::vector<float>(table.thresholds.begin(), table.thresholds.begin() + (table.size - 1)));
            request_.thresholds = thresholds.data();
            set(Code::Codebook, codebook->bits, codebook->norm);
            sidesEach = 1;
        } else if (const auto* midrise = std::get_if<MidRiseQuantizer>(&quantizer)) {
            request_.step = static_cast<float>(midRiseStep(rows.width, midrise->bits).step);
            set(Code::MidRise, midrise->bits, midrise->norm);
            sidesEach = 1;
        } else if (const auto* integer = std::get_if<IntQuantizer>(&quantizer)) {
            set(integer->symmetric ? Code::Symmetric : Code::Asymmetric, integer->bits, integer->scale);
            request_.group = integer->granularity == Granularity::Group ? integer->group : rows.width;
            request_.clip = integer->clip.value_or(1.0);
            sidesEach = 2 * rows.width / request_.group;
        }
        rowBytes_ = packedBytes(rows.width, request_.bits);
        DeviceArray<uint8_t> codes = device_->allocate<uint8_t>(rows.rows * rowBytes_);
        DeviceArray<float> sides = device_->allocate<float>(rows.rows * sidesEach);
        request_.codes = codes.data();
        request_.sides = sides.data();
        DeviceArray<float> y = device_->allocate<float>(values ? rows.rows * rows.width : 0);
        request_.y = values ? y.data() : nullptr;
        request_.yStride = rows.width;
        request_.yElement = Element::F32;
        device_->check(device_->api().rotate->rotate(device_->context(), &request_), "rotating");
        device_->synchronise();
        packed = codes.read();
        this->sides = sides.read();
        this->values = y.read();
    }

    /// The processor's rotated row.
    std::vector<float> expectedRow(size_t i) const {
        std::vector<float> row(rows_.width);
        if (rotation_ == nullptr) {
            row.assign(rows_.row(i), rows_.row(i) + rows_.width);
        } else if (rotation_->block() <= 4096) {
            rotation_->apply(rows_.row(i), row.data(), scalarKernels());
        }
        return row;
    }

    /// Codes and sides against RowCodec's. A value within `margin` of the next code's cell, as a share of the distance between levels, may have either.
    void compare() const {
        const RowCodec codec(quantizer_, rows_.width, {}, scalarKernels());
        size_t differences = 0;
        for (size_t i = 0; i < rows_.rows; ++i) {
            const std::vector<float> row = expectedRow(i);
            std::vector<uint8_t> codes(rows_.width);
            std::vector<float> expected(codec.sides());
            codec.encode(row.data(), codes.data(), expected.data());
            std::vector<uint8_t> got(rows_.width);
            unpackCodes(packed.data() + i * rowBytes_, rows_.width, request_.bits, got.data());
            const float* const own = sides.data() + i * codec.sides();
            const bool affine = std::holds_alternative<IntQuantizer>(quantizer_);
            for (size_t k = 0; k < codec.sides(); ++k) {
                if (std::isnan(expected[k])) {
                    ASSERT_TRUE(std::isnan(own[k])) << "row " << i << " side " << k;
                } else if (affine && k % 2 == 1) {
                    ASSERT_NEAR(own[k], expected[k], 1.0f) << "row " << i << " side " << k;  // zero points may fall either way at a half
                } else {
                    ASSERT_NEAR(own[k], expected[k], std::fabs(expected[k]) * 0x1p-7f) << "row " << i << " side " << k;
                }
            }
            std::vector<float> want(rows_.width);
            std::vector<float> have(rows_.width);
            codec.decode(codes.data(), expected.data(), want.data());
            codec.decode(got.data(), own, have.data());
            for (size_t k = 0; k < rows_.width; ++k) {
                if (got[k] != codes[k]) {
                    ++differences;
                    // Both are then as near as each other, but for rounding and, where a scale fell to the next number of its type, for that.
                    ASSERT_NEAR(std::fabs(have[k] - row[k]), std::fabs(want[k] - row[k]), 0.02f * std::fabs(row[k]) + 1e-4f * std::fabs(want[k])) << "row " << i << " value " << k;
                }
            }
            const size_t used = rows_.width * static_cast<size_t>(request_.bits) % 8;
            if (used != 0) {
                ASSERT_EQ(packed[(i + 1) * rowBytes_ - 1] >> used, 0) << "bits behind the last code of row " << i;
            }
        }
        EXPECT_LE(differences, 2 + rows_.rows * rows_.width / 500);
    }

    std::vector<uint8_t> packed;
    std::vector<float> sides;
    std::vector<float> values;

private:
    void set(Code code, int bits, FloatType stored) {
        request_.code = code;
        request_.bits = bits;
        request_.stored = storedOf(stored);
    }

    std::shared_ptr<Device> device_;
    const Rows& rows_;
    Quantizer quantizer_;
    std::shared_ptr<const Rpbh> rotation_;
    RotateRequest request_{};
    size_t rowBytes_ = 0;
};

TEST(DeviceRotate, ValuesAreThoseOfTheProcessor) {
    // Every Hadamard block from 1 to 4096, odd widths, tails, one row and odd numbers of rows.
    for (const size_t width : {1, 2, 3, 7, 24, 77, 80, 96, 320, 640, 1152, 1280, 1536, 3072, 6144, 8192, 12288, 39000}) {
        for (const Element element : {Element::F32, Element::BF16}) {
            const Rows rows(width > 2000 ? 1 : 5, width, width + (width % 3), element, width);
            const Rotated rotated(rows, 11, KeepQuantizer{}, true);
            for (size_t i = 0; i < rows.rows; ++i) {
                const std::vector<float> expected = rotationFor(width, 11)->block() <= 4096 ? rotated.expectedRow(i) : std::vector<float>{};
                for (size_t k = 0; k < expected.size(); ++k) {
                    ASSERT_NEAR(rotated.values[i * width + k], expected[k], 4e-6) << "width " << width << " row " << i << " value " << k << (element == Element::F32 ? " float32" : " bfloat16") << " from " << rows.row(i)[k];
                }
            }
        }
    }
}

TEST(DeviceRotate, CodebooksOfAllWidths) {
    for (const int bits : {1, 2, 3, 4, 5, 6, 7, 8}) {
        const size_t width = bits % 2 == 0 ? 1152 : 200;
        const Rows rows(5, width, width, bits > 4 ? Element::F32 : Element::BF16, static_cast<uint64_t>(bits));
        SCOPED_TRACE(bits);
        Rotated(rows, 3, CodebookQuantizer{bits, FloatType::Bf16}).compare();
    }
}

TEST(DeviceRotate, CodebooksOfOddShapes) {
    SplitMix64 random(5);
    for (int i = 0; i < 12; ++i) {
        const size_t width = 1 + random.below(500);
        const Rows rows(1 + random.below(9), width, width + random.below(9), random.below(2) == 0 ? Element::F32 : Element::BF16, random.next());
        SCOPED_TRACE(std::to_string(rows.rows) + " x " + std::to_string(width) + " in " + std::to_string(rows.stride));
        Rotated(rows, random.next() >> 12, CodebookQuantizer{2 + static_cast<int>(random.below(3)), FloatType::Fp32}).compare();
    }
}

TEST(DeviceRotate, MidRise) {
    for (const int bits : {2, 4, 8}) {
        const Rows rows(3, 384, 384, Element::BF16, static_cast<uint64_t>(bits));
        SCOPED_TRACE(bits);
        Rotated(rows, 3, MidRiseQuantizer{bits, FloatType::Bf16}).compare();
        Rotated(rows, std::nullopt, MidRiseQuantizer{bits, FloatType::Bf16}).compare();
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
                Rotated(rows, 3, quantizer).compare();
                quantizer.clip = 0.8;
                quantizer.scale = FloatType::Fp32;
                Rotated(rows, std::nullopt, quantizer).compare();
            }
        }
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
        Rotated(rows, 3, quantizer).compare();
    }
}

TEST(DeviceRotate, RowsWhoseSquaresLeaveTheRangeOfFloats) {
    const Quantizer quantizers[] = {CodebookQuantizer{4, FloatType::Fp32}, IntQuantizer{4, true, Granularity::Group, 64, FloatType::Fp32}};
    for (const Quantizer& quantizer : quantizers) {
        for (const int exponent : {-100, 60, 120}) {
            Rows rows(3, 192, 192, Element::F32, 1);
            for (size_t k = 0; k < 192; ++k) {
                rows.row(1)[k] = std::ldexp(rows.row(1)[k], exponent);
            }
            SCOPED_TRACE(exponent);
            Rotated(rows, std::nullopt, quantizer).compare();
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
    request.width = calls.maxWidth(device->context()) + 1;
    request.block = 1;
    EXPECT_EQ(calls.rotate(device->context(), &request), cuda::Status::Argument);
    EXPECT_GE(calls.maxWidth(device->context()), 15360u);
}

}  // namespace
}  // namespace quantscope
