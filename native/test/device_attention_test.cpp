// Attention on a device against its definition in float64; device_attention_graph_test.cpp has the processor's.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "device/self_test/definitions.h"
#include "device_support.h"
#include "support.h"
#include "tensor/decode.h"

namespace quantscope {
namespace {

using cuda::Element;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

/// Rows of heads side by side, `gap` values behind each.
struct Rows {
    size_t count;
    size_t width;  ///< of all heads
    size_t gap;
    std::vector<float> values;

    Rows(size_t count, size_t width, size_t gap, test::Gaussian& random, float factor = 1.0f)
        : count(count), width(width), gap(gap), values(random.floats(count * (width + gap))) {
        for (float& value : values) {
            value *= factor;
        }
    }
    size_t stride() const { return width + gap; }
    float& at(size_t row, size_t column) { return values[row * stride() + column]; }
    float at(size_t row, size_t column) const { return values[row * stride() + column]; }
};

struct Problem {
    Element element;
    size_t heads, width;  ///< of a head
    Rows q, k, v;
    std::vector<float> bias;

    Problem(Element element, size_t queries, size_t keys, size_t heads, size_t width, bool biased, size_t gap = 0)
        : Problem(element, queries, keys, heads, width, biased, gap, test::Gaussian(queries * 1000 + keys + width)) {}

private:
    Problem(Element element, size_t queries, size_t keys, size_t heads, size_t width, bool biased, size_t gap, test::Gaussian random)
        : element(element), heads(heads), width(width), q(queries, heads * width, gap, random, 2.0f), k(keys, heads * width, 2 * gap, random),
          v(keys, heads * width, gap, random), bias(random.floats(biased ? keys : 0)) {}
};

/// What a device works with: float32, or bfloat16 and back.
std::vector<float> stored(const Problem& problem, std::vector<float> values) {
    if (problem.element == Element::BF16) {
        std::ranges::transform(test::toBF16(values), values.begin(), decodeBF16);
    }
    return values;
}

/// Uploads values as the problem's element and gives the address.
struct Uploaded {
    DeviceArray<float> floats;
    DeviceArray<uint16_t> halves;
    Uploaded(const Problem& problem, const std::vector<float>& values) {
        const auto device = test::testedDevice();
        problem.element == Element::BF16 ? void(halves = device->upload(test::toBF16(values))) : void(floats = device->upload(values));
    }
    void* data() const { return halves.data() != nullptr ? static_cast<void*>(halves.data()) : floats.data(); }
    std::vector<float> read() const {
        if (halves.data() == nullptr) {
            return floats.read();
        }
        std::vector<float> values(halves.size());
        std::ranges::transform(halves.read(), values.begin(), decodeBF16);
        return values;
    }
};

/// [queries, heads * width] of a device.
std::vector<float> attendOn(const Problem& problem) {
    const auto device = test::testedDevice();
    const Uploaded q(problem, problem.q.values), k(problem, problem.k.values), v(problem, problem.v.values), bias(problem, problem.bias);
    constexpr float kUntouched = 77.0f;
    const Uploaded out(problem, std::vector<float>(problem.q.count * problem.q.stride(), kUntouched));
    const cuda::AttentionShape shape{problem.element, problem.heads, problem.width, problem.q.count, problem.k.count};
    const cuda::AttentionRequest request{q.data(), problem.q.stride(), k.data(), problem.k.stride(), v.data(), problem.v.stride(),
                                         problem.bias.empty() ? nullptr : bias.data(), out.data(), problem.q.stride()};
    device->check(device->api().attention->run(device->context(), &shape, &request), "attention");
    const auto found = out.read();
    std::vector<float> result;
    for (size_t i = 0; i < problem.q.count; ++i) {
        const auto row = found.begin() + static_cast<ptrdiff_t>(i * problem.q.stride());
        result.insert(result.end(), row, row + static_cast<ptrdiff_t>(problem.q.width));
        EXPECT_TRUE(std::all_of(row + static_cast<ptrdiff_t>(problem.q.width), row + static_cast<ptrdiff_t>(problem.q.stride()),
                                [](float value) { return value == kUntouched; })) << "written behind row " << i;
    }
    return result;
}

/// Holds a device to the definition. What is allowed relates to Σ p |v|, which rounding of p and of float32 sums is measured in; a score of a wide head is a
/// longer sum.
void expectDefinition(const Problem& problem) {
    const double allowed = problem.element == Element::BF16 ? 0x1p-7 : 2e-6 * std::max(1.0, static_cast<double>(problem.width) / 256);
    const auto found = attendOn(problem);
    const auto q = stored(problem, problem.q.values), k = stored(problem, problem.k.values), v = stored(problem, problem.v.values), bias = stored(problem, problem.bias);
    const PlainAttention expected = attendPlainly({problem.element, problem.heads, problem.width, problem.q.count, problem.k.count}, {q.data(), problem.q.stride()},
                                                  {k.data(), problem.k.stride()}, {v.data(), problem.v.stride()}, bias.empty() ? nullptr : bias.data());
    ASSERT_EQ(found.size(), expected.out.size());
    size_t wrong = 0;
    for (size_t i = 0; i < found.size(); ++i) {
        const double sum = expected.out[i];
        const bool good = std::isnan(sum) ? std::isnan(found[i]) : std::fabs(found[i] - sum) <= allowed * expected.magnitude[i] + 1e-30;
        if (!good && ++wrong <= 3) {
            ADD_FAILURE() << "query " << i / problem.q.width << ", column " << i % problem.q.width << ": " << found[i] << ", not " << sum;
        }
    }
    EXPECT_EQ(wrong, 0u);
}

struct Size {
    size_t queries, keys, heads, width;
    bool biased;
    size_t gap;  ///< between rows: 8 keeps bfloat16 rows aligned to 16 bytes, odd ones do not; a head's width keeps them a number of heads apart
};

void expectDefinitionOf(Element element, std::initializer_list<Size> sizes) {
    for (const auto& [queries, keys, heads, width, biased, gap] : sizes) {
        SCOPED_TRACE(std::to_string(queries) + " x " + std::to_string(keys) + ", " + std::to_string(heads) + " heads of " + std::to_string(width));
        expectDefinition(Problem(element, queries, keys, heads, width, biased, gap));
    }
}

TEST(DeviceAttention, Bfloat16IsThatOfTheDefinition) {
    expectDefinitionOf(Element::BF16, {{1, 1, 1, 64, false, 0}, {130, 129, 2, 64, true, 0}, {33, 70, 2, 72, false, 72}, {20, 64, 1, 80, true, 0}});
    expectDefinitionOf(Element::BF16, {{17, 150, 2, 128, true, 128}, {200, 70, 1, 128, true, 0}});
}

TEST(DeviceAttention, MoreTilesThanMultiprocessors) {
    const auto multiprocessors = static_cast<size_t>(test::testedDevice()->description().multiprocessors);
    expectDefinitionOf(Element::BF16, {{140, 370, multiprocessors / 2 + 1, 128, false, 128}, {1, 20, 4 * multiprocessors + 1, 8, false, 0}});
}

TEST(DeviceAttention, Bfloat16TakesAnyWidthAndAlignment) {
    expectDefinitionOf(Element::BF16, {{9, 10, 3, 5, true, 0}, {3, 70, 2, 66, false, 1}, {5, 33, 1, 96, false, 3}, {33, 70, 2, 72, true, 8}, {65, 40, 2, 256, true, 0}, {7, 31, 2, 170, false, 6}});
}

TEST(DeviceAttention, Float32IsThatOfTheDefinition) {
    expectDefinitionOf(Element::F32, {{1, 1, 1, 64, false, 0}, {70, 129, 2, 72, true, 3}, {5, 65, 1, 256, false, 0}, {64, 64, 3, 5, true, 1}, {1, 17, 1, 1, false, 0}});
    expectDefinitionOf(Element::F32, {{66, 70, 1, 512, true, 0}, {3, 65, 2, 257, false, 2}, {9, 130, 1, 700, false, 5}});
}

TEST(DeviceAttention, NoQueriesAreNoWork) {
    for (const Element element : {Element::F32, Element::BF16}) {
        EXPECT_TRUE(attendOn(Problem(element, 0, 5, 2, 64, false)).empty());
    }
}

/// Both elements, over more than one tile of keys.
template <class Change>
void expectDefinitionAfter(Change change) {
    for (const Element element : {Element::F32, Element::BF16}) {
        SCOPED_TRACE(element == Element::F32 ? "float32" : "bfloat16");
        Problem problem(element, 20, 140, 2, 16, true);
        change(problem);
        expectDefinition(problem);
    }
}

TEST(DeviceAttention, KeysOfNegativeInfinityCountForNothing) {
    for (const auto& [first, last] : {std::pair<size_t, size_t>{0, 70}, {0, 139}, {64, 140}, {0, 140}}) {
        SCOPED_TRACE(std::to_string(first) + " to " + std::to_string(last));
        expectDefinitionAfter([&](Problem& problem) { std::fill(problem.bias.begin() + static_cast<ptrdiff_t>(first), problem.bias.begin() + static_cast<ptrdiff_t>(last), -kInfinity); });
    }
}

TEST(DeviceAttention, ANaNReachesWhatDependsOnIt) {
    expectDefinitionAfter([](Problem& problem) { problem.q.at(7, 20) = kNaN; });
    expectDefinitionAfter([](Problem& problem) { problem.k.at(90, 3) = kNaN; });
    expectDefinitionAfter([](Problem& problem) { problem.v.at(5, 18) = kNaN; });
    expectDefinitionAfter([](Problem& problem) { problem.bias[3] = kNaN; });
    expectDefinitionAfter([](Problem& problem) { problem.bias[100] = kInfinity; });
}

/// Of tiles that reach beyond a head, or beyond the rows, nothing may count: not even what is no number.
TEST(DeviceAttention, HeadsDoNotReadTheirNeighbours) {
    for (const size_t width : {8, 64, 72, 120}) {
        SCOPED_TRACE("heads of " + std::to_string(width));
        Problem problem(Element::BF16, 20, 140, 3, width, false, width);
        for (Rows* const rows : {&problem.q, &problem.k, &problem.v}) {
            for (size_t row = 0; row < rows->count; ++row) {
                for (size_t column = 0; column < rows->stride(); ++column) {
                    if (column / width != 1) {
                        rows->at(row, column) = kNaN;
                    }
                }
            }
        }
        expectDefinition(problem);
    }
}

TEST(DeviceAttention, ScoresInTheThousandsDoNotOverflow) {
    expectDefinitionAfter([](Problem& problem) {
        for (float& value : problem.q.values) {
            value = std::round(value) * 64.0f;  // products that are exact: what is left is one key, or some that are equal
        }
        for (float& value : problem.k.values) {
            value = std::round(value * 8.0f);
        }
        problem.bias.assign(problem.bias.size(), 0.0f);
    });
}

TEST(DeviceAttention, RefusesWhatItDoesNotTakeWithTheReason) {
    const auto device = test::testedDevice();
    const auto expectRefused = [&](const cuda::AttentionShape& shape, const std::string& part) {
        EXPECT_EQ(device->api().attention->check(&shape), cuda::Status::Argument);
        EXPECT_NE(std::string(device->api().message()).find(part), std::string::npos) << device->api().message();
        const cuda::AttentionRequest request{};
        EXPECT_EQ(device->api().attention->run(device->context(), &shape, &request), cuda::Status::Argument);
    };
    expectRefused({Element::BF16, 2, 257, 4, 4}, "heads of 257 values");
    expectRefused({Element::F32, 2, 0, 4, 4}, "heads of 0 values");
    expectRefused({Element::F32, 0, 64, 4, 4}, "0 heads");
    expectRefused({Element::F32, 65536, 64, 4, 4}, "65536 heads");
    expectRefused({Element::BF16, 1, 64, 4, 0}, "0 keys");
    const cuda::AttentionShape good{Element::BF16, 24, 128, 4608, 4608};
    EXPECT_EQ(device->api().attention->check(&good), cuda::Status::Ok);
}

}  // namespace
}  // namespace quantscope
