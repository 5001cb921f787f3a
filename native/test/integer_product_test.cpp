// Products of integers: every level this processor supports against the scalar twin bit for bit, and the whole linear against exact sums and against
// what the codes decode to.
#include "integer/operands.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "cpu/kernels.h"
#include "integer/kernels.h"
#include "integer/plan.h"
#include "quantizer/codebook.h"
#include "quantizer/row_codec.h"
#include "support.h"

namespace quantscope {
namespace {

std::vector<std::string> productLevels() {
    std::vector<std::string> names;
    for (const ProductKernels* level : supportedProductKernels()) names.emplace_back(level->name);
    return names;
}

const ProductKernels& levelNamed(const std::string& name) {
    for (const ProductKernels* level : supportedProductKernels()) {
        if (level->name == name) return *level;
    }
    return scalarProductKernels();
}

class EachProductLevel : public ::testing::TestWithParam<std::string> {
protected:
    const ProductKernels& level() const { return levelNamed(GetParam()); }
    const ProductKernels& twin() const { return scalarProductKernels(); }
    SplitMix64 random{7};
    int between(int low, int high) { return low + static_cast<int>(random.below(static_cast<uint64_t>(high - low + 1))); }
    /// Now and then one of the ends.
    int code(int low, int high) { return random.below(8) == 0 ? (random.below(2) == 0 ? low : high) : between(low, high); }
};

INSTANTIATE_TEST_SUITE_P(Integers, EachProductLevel, ::testing::ValuesIn(productLevels()), [](const auto& info) { return info.param; });

TEST_P(EachProductLevel, ExpandsCodes) {
    for (const size_t count : {0, 64, 128, 1088}) {
        std::vector<uint8_t> packed(count), levels(16);
        for (auto& value : packed) value = static_cast<uint8_t>(random.next());
        for (auto& value : levels) value = static_cast<uint8_t>(random.next());
        std::vector<int16_t> offset(32);
        for (auto& value : offset) value = static_cast<int16_t>(between(-255, 0));
        std::vector<uint8_t> bytes(2 * count + 1, 9), bytesOfTwin = bytes;
        level().expandNibbles(packed.data(), count, levels.data(), bytes.data());
        twin().expandNibbles(packed.data(), count, levels.data(), bytesOfTwin.data());
        EXPECT_EQ(bytes, bytesOfTwin) << count;
        std::vector<int16_t> words(count + 1, 9), wordsOfTwin = words;
        level().expandBytes(packed.data(), count, offset.data(), words.data());
        twin().expandBytes(packed.data(), count, offset.data(), wordsOfTwin.data());
        EXPECT_EQ(words, wordsOfTwin) << count;
    }
}

/// One tile of random integers in these ranges, by both, into 16 columns of a wider y.
struct TileCase {
    int xLow, xHigh, wHigh;
    size_t run;
    bool words;
    bool extra;
};

TEST_P(EachProductLevel, TilesEqualTheTwinBitForBit) {
    // 4 x 4, 4 x 4 at the end of 16 bits, 8 x 4 at 32640 of 32767, surrogates, 8 x 8 in parts, words.
    const TileCase cases[] = {{-8, 7, 15, 136, false, false}, {-15, 15, 15, 72, false, false}, {-128, 127, 15, 8, false, false}, {-90, 90, 180, 1, false, false},
                              {-64, 64, 255, 1, false, true}, {-255, 255, 255, 1, true, false}};
    for (const TileCase& c : cases) {
        for (int time = 0; time < 60; ++time) {
            const size_t rows = 1 + static_cast<size_t>(time) % level().rows;
            const size_t groups = random.below(4), steps = random.below(time % 10 == 0 ? 300 : 40);
            const size_t depth = c.words ? kWordDepth : kByteDepth;
            const bool extremes = time % 5 == 0;  // everything at one end: the largest sums there are
            const int end = random.below(2) == 0 ? c.xLow : c.xHigh;
            std::vector<int16_t> x(groups * steps * rows * depth);
            for (auto& value : x) value = static_cast<int16_t>(extremes ? end : code(c.xLow, c.xHigh));
            const auto panel = allocateAligned<int16_t>(groups * steps * kPanelColumns * depth);
            const auto bytesOfPanel = allocateAligned<uint8_t>(groups * steps * kPanelColumns * depth);
            for (size_t i = 0; i < groups * steps * kPanelColumns * depth; ++i) {
                panel[i] = static_cast<int16_t>(extremes ? c.wHigh : code(c.words ? -c.wHigh : 0, c.wHigh));
                bytesOfPanel[i] = static_cast<uint8_t>(panel[i]);
            }
            const std::vector<int8_t> bytes(x.begin(), x.end());
            std::vector<float> xScales(groups * rows), scales(groups * kPanelColumns);
            for (auto& value : xScales) value = static_cast<float>(random.uniform() * 0.1);
            for (auto& value : scales) value = static_cast<float>(random.uniform() * 0.1);
            std::vector<int32_t> sums(groups * rows), lowest(groups * kPanelColumns);
            for (auto& value : sums) value = between(-5000, 5000);
            for (auto& value : lowest) value = between(-255, 0);
            std::vector<ExtraStep> extra;
            std::vector<uint32_t> ends;
            for (size_t g = 0; c.extra && g < groups; ++g) {
                for (size_t row = 0; row < rows; ++row) {
                    for (size_t step = 0; step < steps; step += 1 + random.below(9)) {
                        ExtraStep more{static_cast<uint32_t>(row), static_cast<uint32_t>(g * steps + step), {}};
                        for (auto& value : more.x) value = static_cast<int8_t>(code(-64, 64));
                        extra.push_back(more);
                    }
                }
                ends.push_back(static_cast<uint32_t>(extra.size()));
            }
            constexpr size_t kStride = 21;
            std::vector<float> y(rows * kStride, 0.25f), yOfTwin = y;
            ProductTile tile{};
            tile.rows = rows;
            tile.groups = groups;
            tile.steps = steps;
            tile.run = c.run;
            tile.x = c.words ? static_cast<const void*>(x.data()) : bytes.data();
            tile.panel = c.words ? static_cast<const void*>(panel.get()) : bytesOfPanel.get();
            tile.xScales = xScales.data();
            tile.xSums = sums.data();
            tile.extra = extra.empty() ? nullptr : extra.data();
            tile.extraEnds = ends.data();
            tile.scales = scales.data();
            tile.lowest = lowest.data();
            tile.yStride = kStride;
            tile.y = y.data();
            (c.words ? level().words : level().bytes)(tile);
            tile.y = yOfTwin.data();
            (c.words ? twin().words : twin().bytes)(tile);
            ASSERT_EQ(std::memcmp(y.data(), yOfTwin.data(), y.size() * sizeof(float)), 0)
                << rows << " rows, " << groups << " groups of " << steps << " steps, x from " << c.xLow << " to " << c.xHigh << ", w up to " << c.wHigh;
        }
    }
}

Quantizer integers(int bits, uint64_t group = 0, bool symmetric = true) {
    return IntQuantizer{bits, symmetric, group == 0 ? Granularity::Row : Granularity::Group, group};
}

/// Rows of codes with their sides.
struct Coded {
    std::vector<uint8_t> codes;
    std::vector<float> sides;
};

Coded encodeRows(const RowCodec& codec, const std::vector<float>& rows) {
    const size_t count = codec.width() == 0 ? 0 : rows.size() / codec.width();
    Coded result{std::vector<uint8_t>(rows.size()), std::vector<float>(count * codec.sides())};
    for (size_t i = 0; i < count; ++i) codec.encode(rows.data() + i * codec.width(), result.codes.data() + i * codec.width(), result.sides.data() + i * codec.sides());
    return result;
}

/// What a code stands for, in exact integers and the scale beside.
struct Value {
    int integer;
    double scale;
};

Value valueOf(const IntegerCodes& codes, const Coded& rows, size_t width, size_t row, size_t k) {
    const uint8_t code = rows.codes[row * width + k];
    if (codes.affine) {
        const float* const side = rows.sides.data() + 2 * (row * (width / codes.group) + k / codes.group);
        return {code + static_cast<int>(side[1]), side[0]};
    }
    return {codes.levels[code], double(rows.sides[row]) * double(codes.unit)};
}

struct LinearCase {
    const char* name;
    Quantizer weights, activations;
    size_t rows, outputs, width;
};

/// y, from 0 on, by one level; `piece` panels at a time.
std::vector<float> multiplyBy(const ProductKernels& level, const IntegerPlan& plan, const LinearCase& c, const Coded& w, const Coded& x, size_t piece) {
    const IntegerWeight weight(plan, c.outputs, w.codes.data(), w.sides.data());
    IntegerInputs rows(plan, c.rows, level);
    const size_t sides = c.rows == 0 ? 0 : x.sides.size() / c.rows;
    for (size_t t = 0; t < rows.tiles(); ++t) rows.fill(t, x.codes.data() + rows.firstRow(t) * c.width, x.sides.data() + rows.firstRow(t) * sides);
    std::vector<float> y(c.rows * c.outputs);
    IntegerScratch scratch;
    for (size_t first = 0; first < weight.panels(); first += piece) {
        for (size_t tile = 0; tile < rows.tiles(); tile += piece) {
            multiplyIntegers(rows, {tile, std::min(rows.tiles(), tile + piece)}, weight, {first, std::min(weight.panels(), first + piece)},
                             y.data() + rows.firstRow(tile) * c.outputs + first * kPanelColumns, c.outputs, level, scratch);
        }
    }
    return y;
}

TEST_P(EachProductLevel, LinearsFollowTheirCodes) {
    const LinearCase cases[] = {
        {"W8A8", integers(8), integers(8), 13, 37, 301},
        {"W8A8, groups of 3", integers(8, 3), integers(8), 5, 17, 99},
        {"W8A8, asymmetric weights", integers(8, 0, false), integers(8), 7, 33, 128},
        {"W8A8, asymmetric both", integers(8, 32, false), integers(8, 0, false), 7, 20, 128},
        {"W4A4, groups of 128", integers(4, 128), integers(4), 14, 31, 384},
        {"W4A4, groups of 64 and 32", integers(4, 64), integers(4, 32), 3, 16, 192},
        {"W4A4, groups of 48 and 32", integers(4, 48), integers(4, 32), 3, 16, 192},
        {"W4A4, rows", integers(4), integers(4), 6, 48, 1537},
        {"W4A4, asymmetric", integers(4, 64, false), integers(4, 0, false), 9, 18, 256},
        {"W4A8", integers(4, 128), integers(8), 12, 40, 256},
        {"W3A5", integers(3), integers(5), 4, 5, 77},
        {"W2A8", integers(2, 64), integers(8), 4, 50, 128},
        {"W8A4", integers(8), integers(4), 4, 19, 130},
        {"mid-rise", MidRiseQuantizer{4}, MidRiseQuantizer{4}, 7, 21, 150},
        {"mid-rise of 7 bits", MidRiseQuantizer{7}, MidRiseQuantizer{7}, 7, 21, 150},
        {"codebooks", CodebookQuantizer{4}, CodebookQuantizer{4}, 7, 21, 257},
        {"codebook and integers", CodebookQuantizer{4}, integers(8), 7, 21, 257},
        {"codebook of 2 bits", CodebookQuantizer{2}, CodebookQuantizer{4}, 7, 21, 64},
        {"codebook of 6 bits", CodebookQuantizer{6}, CodebookQuantizer{6}, 7, 21, 64},
        {"one of everything", integers(8), integers(8), 1, 1, 1},
        {"no rows", integers(8), integers(8), 0, 9, 8},
        {"no outputs", integers(4), integers(4), 3, 0, 8},
    };
    test::Gaussian gaussian(5);
    for (const LinearCase& c : cases) {
        SCOPED_TRACE(c.name);
        const auto found = planInteger(c.weights, c.activations, c.width, level());
        ASSERT_TRUE(std::holds_alternative<IntegerPlan>(found)) << std::get<std::string>(found);
        const auto& plan = std::get<IntegerPlan>(found);
        const RowCodec ofW(c.weights, c.width, {}, scalarKernels()), ofX(c.activations, c.width, {}, scalarKernels());
        Coded w = encodeRows(ofW, gaussian.floats(c.outputs * c.width)), x = encodeRows(ofX, gaussian.floats(c.rows * c.width));
        for (int time = 0; time < 2; ++time) {
            const auto y = multiplyBy(level(), plan, c, w, x, 100);
            EXPECT_EQ(y, multiplyBy(level(), plan, c, w, x, 1)) << "panels one by one";
            const auto planOfTwin = std::get<IntegerPlan>(planInteger(c.weights, c.activations, c.width, twin()));
            EXPECT_EQ(y, multiplyBy(twin(), planOfTwin, c, w, x, 100)) << "the twin, which splits nothing";
            for (size_t i = 0; i < c.rows; ++i) {
                for (size_t j = 0; j < c.outputs; ++j) {
                    double sum = 0, magnitude = 0;
                    for (size_t g = 0; g < plan.groups; ++g) {
                        int64_t total = 0;
                        double scale = 0;
                        for (size_t k = g * plan.group; k < (g + 1) * plan.group; ++k) {
                            const Value a = valueOf(plan.x, x, c.width, i, k), b = valueOf(plan.w, w, c.width, j, k);
                            total += int64_t{a.integer} * b.integer;
                            scale = a.scale * b.scale;
                        }
                        sum += double(total) * scale;
                        magnitude += std::fabs(double(total) * scale);
                    }
                    // Of a group: both scales' units, their product, the sum to float, the product; then one addition for each group and to y.
                    const double bound = magnitude * double(6 + plan.groups) * 0x1p-24;
                    ASSERT_NEAR(y[i * c.outputs + j], sum, bound) << i << " " << j;
                }
            }
            // Then all codes there are, the ends among them.
            for (auto* codes : {&w.codes, &x.codes}) {
                const int bits = codes == &w.codes ? ofW.bits() : ofX.bits();
                for (auto& value : *codes) value = static_cast<uint8_t>(code(0, (1 << bits) - 1));
            }
        }
    }
}

TEST_P(EachProductLevel, NothingSaturatesAtTheEnds) {
    for (const int bits : {4, 8}) {
        for (const bool symmetric : {true, false}) {
            const LinearCase c{"ends", integers(bits, 0, symmetric), integers(bits), 14, 16, 1030};
            const auto plan = std::get<IntegerPlan>(planInteger(c.weights, c.activations, c.width, level()));
            const int last = (1 << bits) - 1, half = 1 << (bits - 1);
            for (const int ofW : {0, last}) {
                for (const int ofX : {0, last}) {
                    Coded w{std::vector<uint8_t>(c.outputs * c.width, static_cast<uint8_t>(ofW)), {}}, x{std::vector<uint8_t>(c.rows * c.width, static_cast<uint8_t>(ofX)), {}};
                    const float lowest = symmetric ? static_cast<float>(-half) : -3.0f;
                    for (size_t j = 0; j < c.outputs; ++j) w.sides.insert(w.sides.end(), {1.0f, lowest});
                    for (size_t i = 0; i < c.rows; ++i) x.sides.insert(x.sides.end(), {1.0f, static_cast<float>(-half)});
                    const auto expected = static_cast<float>((ofW + static_cast<int>(lowest)) * (ofX - half) * static_cast<int>(c.width));
                    EXPECT_EQ(multiplyBy(level(), plan, c, w, x, 1), std::vector<float>(c.rows * c.outputs, expected)) << bits << " bits " << ofW << " " << ofX;
                }
            }
        }
    }
}

TEST_P(EachProductLevel, RowsWithoutCodesShow) {
    const LinearCase c{"NaN", integers(8), integers(8), 3, 18, 40};
    const RowCodec codec(c.weights, c.width, {}, scalarKernels());
    test::Gaussian gaussian(6);
    auto rows = gaussian.floats(c.rows * c.width);
    rows[c.width + 5] = std::numeric_limits<float>::quiet_NaN();
    const auto plan = std::get<IntegerPlan>(planInteger(c.weights, c.activations, c.width, level()));
    const auto y = multiplyBy(level(), plan, c, encodeRows(codec, gaussian.floats(c.outputs * c.width)), encodeRows(codec, rows), 4);
    for (size_t i = 0; i < c.rows; ++i) {
        for (size_t j = 0; j < c.outputs; ++j) EXPECT_EQ(std::isnan(y[i * c.outputs + j]), i == 1) << i << " " << j;
    }
}

TEST(IntegerPlan, TakesTheWidestArithmeticThatIsExact) {
    const ProductKernels narrow{"narrow", 4, false, nullptr, nullptr, nullptr, nullptr};
    const auto plan = [&](const Quantizer& w, const Quantizer& x) { return std::get<IntegerPlan>(planInteger(w, x, 768, narrow)); };
    const IntegerPlan w4a4 = plan(integers(4, 128), integers(4));
    EXPECT_EQ(w4a4.form, PanelForm::Nibbles);
    EXPECT_EQ(w4a4.group, 128u);
    EXPECT_EQ(w4a4.run, 136u);  // 136 steps of 2 * 8 * 15: a group of 128 inputs needs 32
    EXPECT_EQ(plan(integers(4, 128), integers(8)).run, 8u);
    const IntegerPlan w8a8 = plan(integers(8), integers(8));
    EXPECT_EQ(w8a8.form, PanelForm::Bytes);
    EXPECT_TRUE(w8a8.splits);
    EXPECT_EQ(plan(integers(8), integers(8, 0, false)).form, PanelForm::Words);
    EXPECT_EQ(plan(integers(4, 48), integers(4, 32)).group, 16u);
}

TEST(IntegerPlan, ReportsWhatTheSurrogateCosts) {
    // Against the levels themselves, under the normal density: the codebook's own error is about 0.0095 at 4 bits.
    const auto plan = std::get<IntegerPlan>(planInteger(CodebookQuantizer{4}, CodebookQuantizer{4}, 3072, scalarProductKernels()));
    EXPECT_NEAR(plan.w.ownError, 0.0095, 2e-4);
    EXPECT_GT(plan.w.surrogateError, 0);
    EXPECT_LT(plan.w.surrogateError, 0.01 * plan.w.ownError);
    EXPECT_LE(plan.w.largest(), 90);
    const auto book = codebookFor(3072, 4);
    test::Gaussian gaussian(8);
    double squares = 0, differences = 0;
    for (int i = 0; i < 200000; ++i) {
        const double x = std::fabs(gaussian());
        size_t level = 0;
        while (level + 1 < book->table.size && x > double(book->table.thresholds[level])) ++level;
        const double exact = double(book->table.levels[level]);
        const double surrogate = plan.w.levels[book->table.size + level] * double(plan.w.unit);
        squares += exact * exact;
        differences += (exact - surrogate) * (exact - surrogate);
    }
    EXPECT_NEAR(differences / squares, plan.w.surrogateError, 0.05 * plan.w.surrogateError);
    // Integers and mid-rise levels are themselves.
    EXPECT_EQ(std::get<IntegerPlan>(planInteger(MidRiseQuantizer{4}, integers(8), 64, scalarProductKernels())).w.surrogateError, 0);
}

TEST(IntegerPlan, SaysWhyALayerDoesNotFit) {
    const auto reason = [](const Quantizer& w, const Quantizer& x, size_t width) {
        return std::get<std::string>(planInteger(w, x, width, scalarProductKernels()));
    };
    IntQuantizer shifted{8};
    shifted.shift = 0.17;
    EXPECT_EQ(reason(integers(4), KeepQuantizer{}, 64), "keeps its activations as floats");
    EXPECT_EQ(reason(KeepQuantizer{FloatType::Bf16}, integers(8), 64), "keeps its weights as floats");
    EXPECT_EQ(reason(FloatQuantizer{}, integers(8), 64), "has weights in a small float format");
    EXPECT_EQ(reason(TwinLogQuantizer{}, integers(8), 64), "has weights on a logarithmic scale");
    EXPECT_EQ(reason(integers(4), shifted, 64), "shifts its activations before they are quantized");
    EXPECT_EQ(reason(MidRiseQuantizer{8}, integers(8), 64), "has mid-rise weights of 8 bits, whose odd integers exceed a byte");
    EXPECT_EQ(reason(integers(8), integers(8), 1 << 18), "has groups of 262144 inputs, whose sums exceed 32 bits");
}

}  // namespace
}  // namespace quantscope
