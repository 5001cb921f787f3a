#include <algorithm>
#include <bit>
#include <cmath>
#include <iterator>
#include <limits>
#include <numeric>
#include <utility>

#include "device/self_test/definitions.h"
#include "device/self_test/groups.h"

namespace quantscope {

namespace {

constexpr size_t kWidth = 72;  // more than a panel of the factor
constexpr double kDamping = 0.01;

/// Mean x xᵀ of 130 rows, added up on the device. One has an infinity, and is left out.
std::optional<std::string> moments(const std::shared_ptr<Device>& device, cuda::Element element, size_t width, DeviceArray<float>& mean) {
    constexpr size_t kRows = 130;
    constexpr size_t kLeftOut = 7;
    std::vector<float> x = gaussians(kRows * width, 5);
    std::vector<uint16_t> halves;
    if (element == cuda::Element::BF16) {
        castRow(FloatType::Bf16, x.data(), x.size());
    }
    x[kLeftOut * width] = std::numeric_limits<float>::infinity();
    std::transform(x.begin(), x.end(), std::back_inserter(halves), [](float value) { return static_cast<uint16_t>(std::bit_cast<uint32_t>(value) >> 16); });
    const DeviceArray<float> floats = device->upload(x);
    const DeviceArray<uint16_t> shorts = device->upload(halves);
    const void* const input = element == cuda::Element::BF16 ? static_cast<const void*>(shorts.data()) : floats.data();
    DeviceArray<double> sums = device->allocate<double>(width * width);
    DeviceArray<uint64_t> counted = device->allocate<uint64_t>(1);
    sums.clear();
    counted.clear();
    const DeviceArray<uint8_t> usable = device->allocate<uint8_t>(kRows);
    mean = device->allocate<float>(width * width);
    const cuda::MomentsRequest request{input, element, kRows, width, width, sums.data(), counted.data(), usable.data()};
    const cuda::SolverCalls& calls = *device->api().solver;
    device->check(calls.addMoments(device->context(), &request), "adding second moments");
    device->check(calls.meanMoments(device->context(), sums.data(), width, counted.data(), 0, width, mean.data()), "second moments");
    const std::vector<float> found = mean.read();
    for (size_t i = 0; i < width; ++i) {
        for (size_t j = 0; j < width; ++j) {
            double sum = 0;
            for (size_t row = 0; row < kRows; ++row) {
                sum += row == kLeftOut ? 0.0 : static_cast<double>(x[row * width + i]) * x[row * width + j];
            }
            if (!(std::fabs(found[i * width + j] - sum / (kRows - 1)) <= 1e-4)) {
                return "second moment " + std::to_string(i) + ", " + std::to_string(j) + (element == cuda::Element::BF16 ? " of bfloat16" : " of float32");
            }
        }
    }
    return std::nullopt;
}

/// L Lᵀ is what was factored, rows in the order backwards.
std::optional<std::string> compareFactor(const std::vector<double>& lower, const std::vector<float>& mean, const std::vector<uint32_t>& order) {
    for (size_t i = 0; i < kWidth; ++i) {
        for (size_t j = 0; j <= i; ++j) {
            double product = 0;
            for (size_t k = 0; k <= j; ++k) {
                product += lower[i * kWidth + k] * lower[j * kWidth + k];
            }
            if (!(std::fabs(product - mean[order[i] * kWidth + order[j]] - (i == j ? kDamping : 0.0)) <= 1e-6)) {  // both triangles' mean counts: float32
                return "factor of second moments, row " + std::to_string(i) + ", column " + std::to_string(j);
            }
        }
    }
    return std::nullopt;
}

/// Codes of 3 bits in groups, with the factor.
std::optional<std::string> sweep(const std::shared_ptr<Device>& device, const DeviceArray<double>& lower, const std::vector<uint32_t>& order) {
    constexpr size_t kRows = 40;
    constexpr size_t kGroup = 24;
    constexpr int kBits = 3;
    const std::vector<float> weights = gaussians(kRows * kWidth, 6);
    std::vector<float> levels(1 << kBits);
    std::iota(levels.begin(), levels.end(), 0.0f);
    std::vector<float> sides;
    for (size_t i = 0; i < kRows * (kWidth / kGroup); ++i) {
        sides.insert(sides.end(), {0.4f + 0.01f * static_cast<float>(i % 7), -3.0f - static_cast<float>(i % 2)});
    }
    const std::vector<uint8_t> dead(kWidth);
    const auto onDevice = device->upload(weights), levelsOnDevice = device->upload(levels), sidesOnDevice = device->upload(sides);
    const auto orderOnDevice = device->upload(order);
    const auto deadOnDevice = device->upload(dead), codes = device->allocate<uint8_t>(kRows * kWidth);
    const auto losses = device->allocate<double>(kRows), errors = device->allocate<double>(kRows * kWidth), sums = device->allocate<double>(kRows * 64);
    cuda::SweepRequest request{};
    request.lower = lower.data();
    request.size = kWidth;
    request.order = orderOnDevice.data();
    request.dead = deadOnDevice.data();
    request.damping = kDamping;
    request.weights = onDevice.data();
    request.rows = kRows;
    request.bits = kBits;
    request.hasOffsets = 1;
    request.levels = levelsOnDevice.data();
    request.unit = 1.0f;
    request.group = kGroup;
    request.sides = sidesOnDevice.data();
    request.sidesOfRow = 2 * (kWidth / kGroup);
    request.codes = codes.data();
    request.losses = losses.data();
    request.errors = errors.data();
    request.sums = sums.data();
    device->check(device->api().solver->sweep(device->context(), &request), "a sweep of GPTQ");
    const std::vector<double> factor = lower.read();
    request.lower = factor.data();
    request.order = order.data();
    request.dead = dead.data();
    request.weights = weights.data();
    request.levels = levels.data();
    request.sides = sides.data();
    const PlainSweep expected = sweepPlainly(request);
    if (codes.read() != expected.codes) {
        return "codes of GPTQ";
    }
    const std::vector<double> found = losses.read();
    for (size_t row = 0; row < kRows; ++row) {
        if (!(std::fabs(found[row] - expected.losses[row]) <= 1e-9 * std::fabs(expected.losses[row]) + 1e-12)) {
            return "loss of GPTQ, row " + std::to_string(row);
        }
    }
    return std::nullopt;
}

}  // namespace

std::optional<std::string> selfTest::solver(const std::shared_ptr<Device>& device) {
    DeviceArray<float> mean;
    constexpr size_t kTwoTiles = 136;  // of bfloat16
    for (const auto& [element, width] : {std::pair{cuda::Element::BF16, kTwoTiles}, {cuda::Element::F32, kWidth}}) {
        if (const auto wrong = moments(device, element, width, mean)) {
            return wrong;
        }
    }
    std::vector<uint32_t> order(kWidth);
    std::iota(order.rbegin(), order.rend(), 0u);
    const auto orderOnDevice = device->upload(order);
    const auto dead = device->upload(std::vector<uint8_t>(kWidth));
    const auto lower = device->allocate<double>(kWidth * kWidth);
    const auto state = device->allocate<int32_t>(1);
    const cuda::FactorRequest request{mean.data(), kWidth, kWidth, orderOnDevice.data(), dead.data(), 1.0, kDamping, lower.data(), state.data()};
    device->check(device->api().solver->factor(device->context(), &request), "factoring second moments");
    if (state.read()[0] != cuda::kFactored) {
        return "second moments that are not factored";
    }
    if (const auto wrong = compareFactor(lower.read(), mean.read(), order)) {
        return wrong;
    }
    return sweep(device, lower, order);
}

}  // namespace quantscope
