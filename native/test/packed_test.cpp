// Coded weights as files hold them: nothing is lost on the way.
#include <gtest/gtest.h>

#include <limits>

#include "base/error.h"
#include "packed/codes.h"
#include "packed/packed_weight.h"
#include "solver/gptq.h"
#include "support.h"

namespace quantscope {
namespace {

TEST(PackedCodes, AreALittleEndianBitstream) {
    const uint8_t codes[] = {1, 2, 3, 4, 5};
    uint8_t packed[4] = {0xFF, 0xFF, 0xFF, 0xFF};
    packCodes(codes, 5, 3, packed);
    EXPECT_EQ(packedBytes(5, 3), 2u);
    EXPECT_EQ(packed[0], 0b11'010'001);
    EXPECT_EQ(packed[1], 0b0'101'100'0);
    EXPECT_EQ(packed[2], 0xFF);
    for (int bits = 1; bits <= 8; ++bits) {
        for (const size_t count : {1, 2, 7, 8, 9, 1000}) {
            SplitMix64 random(count);
            std::vector<uint8_t> values(count), found(count), stream(packedBytes(count, bits));
            for (auto& value : values) {
                value = static_cast<uint8_t>(random.below(uint64_t{1} << bits));
            }
            packCodes(values.data(), count, bits, stream.data());
            unpackCodes(stream.data(), count, bits, found.data());
            EXPECT_EQ(found, values);
        }
    }
}

const Quantizer kQuantizers[] = {
    IntQuantizer{4, true, Granularity::Row, 0, FloatType::Fp16},
    IntQuantizer{3, true, Granularity::Group, 32, FloatType::Bf16},
    IntQuantizer{5, false, Granularity::Group, 16, FloatType::Fp16},
    IntQuantizer{8, false, Granularity::Row, 0, FloatType::Fp32},
    IntQuantizer{4, false, Granularity::Tensor, 0, FloatType::Fp16},
    IntQuantizer{8, true, Granularity::Tensor, 0, FloatType::Fp32},
    CodebookQuantizer{3, FloatType::Bf16},
    CodebookQuantizer{4, FloatType::Fp16},
    CodebookQuantizer{8, FloatType::Fp32},
    MidRiseQuantizer{3, FloatType::Bf16},
    MidRiseQuantizer{6, FloatType::Fp32},
    TwinLogQuantizer{4, false},
    TwinLogQuantizer{3, true},
    FloatQuantizer{FloatFormat::Fp4, Granularity::Group, 16},
    FloatQuantizer{FloatFormat::Fp8, Granularity::Row, 0},
    FloatQuantizer{FloatFormat::Nvfp4, Granularity::Group, 16},
    FloatQuantizer{FloatFormat::Mxfp4, Granularity::Group, 32},
    FloatQuantizer{FloatFormat::Mxfp8, Granularity::Group, 32},
};

struct Context {
    ThreadPool pool{2};
    Cancellation cancellation;
    Progress progress = [](double) {};
    Workers workers{pool, cancellation, progress, 1};
};

TEST(PackedWeight, DecodesToTheSameBitsForEveryQuantizer) {
    constexpr size_t kRows = 41, kWidth = 96;
    for (const double magnitude : {1e-30, 1e-4, 1.0, 3e4}) {
        for (const Quantizer& quantizer : kQuantizers) {
            test::Gaussian random(7);
            auto rows = random.floats(kRows * kWidth);
            for (size_t i = 0; i < rows.size(); ++i) {
                rows[i] = i / kWidth == 5 ? 0.0f : static_cast<float>(rows[i] * magnitude * (i % 31 == 0 ? 30 : 1));
            }
            TensorRange range;
            for (size_t i = 0; needsTensorRange(quantizer) && i < kRows; ++i) {
                observe(quantizer, rows.data() + i * kWidth, kWidth, 0, kernels(), range);
            }
            const RowCodec codec(quantizer, kWidth, range, kernels());
            Context context;
            const Rounding rounding = roundToNearest(rows.data(), kRows, codec, context.workers);

            std::vector<StoredTensor> tensors = storeSides(quantizer, codec, range, kRows, rounding.sides);
            const StoredTensor codes = storeCodes(codec, kRows, rounding.codes);
            std::vector<std::unique_ptr<test::TemporaryFile>> files;
            const auto place = [&](const StoredTensor& tensor) {
                files.push_back(std::make_unique<test::TemporaryFile>(std::span(tensor.bytes)));
                return test::tensorIn(*files.back(), tensor.dtype, tensor.shape);
            };
            std::map<std::string, TensorRef> sides;
            for (const StoredTensor& tensor : tensors) {
                sides[tensor.name] = place(tensor);
            }
            const RowCodec reader(quantizer, kWidth, {}, kernels());
            const auto foundCodes = loadCodes(place(codes), reader, kRows);
            const auto foundSides = loadSides(sides, "codes.safetensors", quantizer, reader, kRows, kernels());
            EXPECT_EQ(foundCodes, rounding.codes);
            std::vector<float> expected(kWidth), found(kWidth);
            for (size_t i = 0; i < kRows; ++i) {
                codec.decode(rounding.codes.data() + i * kWidth, rounding.sides.data() + i * codec.sides(), expected.data());
                reader.decode(foundCodes.data() + i * kWidth, foundSides.data() + i * codec.sides(), found.data());
                ASSERT_EQ(found, expected) << "quantizer " << (&quantizer - kQuantizers) << ", magnitude " << magnitude << ", row " << i;
            }
        }
    }
}

TEST(PackedWeight, RefusesTensorsThatDoNotFit) {
    constexpr size_t kRows = 4, kWidth = 32;
    const Quantizer quantizer = IntQuantizer{4, false, Granularity::Group, 16, FloatType::Fp16};
    const RowCodec codec(quantizer, kWidth, {}, kernels());
    const std::vector<std::byte> nothing(4096);
    const test::TemporaryFile file(nothing);
    const auto ref = [&](Dtype dtype, std::vector<uint64_t> shape) { return test::tensorIn(file, dtype, std::move(shape)); };
    const auto complaint = [&](const std::map<std::string, TensorRef>& sides) {
        try {
            loadSides(sides, file.path(), quantizer, codec, kRows, kernels());
        } catch (const Error& error) {
            return std::string(error.what());
        }
        return std::string("none");
    };
    EXPECT_EQ(complaint({{"scales", ref(Dtype::F16, {4, 2})}, {"zeros", ref(Dtype::U8, {4, 1})}}), "none");
    EXPECT_NE(complaint({{"scales", ref(Dtype::F16, {4, 2})}}).find("no tensor \"zeros\""), std::string::npos);
    EXPECT_NE(complaint({{"scales", ref(Dtype::F32, {4, 2})}}).find("scales is F32 [4, 2], expected F16 [4, 2]"), std::string::npos);
    EXPECT_NE(complaint({{"scales", ref(Dtype::F16, {4, 2})}, {"zeros", ref(Dtype::U8, {4, 2})}}).find(file.path()), std::string::npos);
    EXPECT_THROW(loadCodes(ref(Dtype::U8, {4, 32}), codec, kRows), Error);
    EXPECT_THROW(loadCodes(ref(Dtype::U8, {3, 16}), codec, kRows), Error);
    EXPECT_THROW(loadTail(ref(Dtype::F16, {4, 8}), kRows, 8), Error);
    const Quantizer nvfp4 = FloatQuantizer{FloatFormat::Nvfp4, Granularity::Group, 16};
    const test::TemporaryFile broken(test::bytesOf(std::vector<uint8_t>(64, 0xFF)));
    EXPECT_THROW(loadSides({{"scales", test::tensorIn(broken, Dtype::U8, {4, 2})}, {"tensor_scale", ref(Dtype::F32, {1})}}, file.path(), nvfp4,
                           RowCodec(nvfp4, kWidth, {}, kernels()), kRows, kernels()),
                 Error);
}

}  // namespace
}  // namespace quantscope
