#include <algorithm>
#include <cmath>

#include "cpu/kernels.h"
#include "device/coder.h"
#include "device/self_test/definitions.h"
#include "device/self_test/groups.h"
#include "quantizer/codebook.h"

namespace quantscope {

std::optional<std::string> selfTest::statistics(const std::shared_ptr<Device>& device) {
    constexpr size_t kRows = 6;
    constexpr size_t kWidth = 1152;
    const auto draw = rotationFor(kWidth, 1);
    const std::vector<float> x = gaussians(kRows * kWidth, 7);
    const BinGrid grid{2048.0f, 12289.0f, 24577};
    const LevelTable& table = codebookFor(kWidth, 4)->table;
    const DeviceArray<float> input = device->upload(x);
    const DeviceArray<uint32_t> sources = device->upload(draw->signedSources());
    const DeviceLevels levels(*device, table);
    DeviceArray<uint32_t> counts = device->allocate<uint32_t>(2 * (size_t{grid.last} + 1));
    counts.clear();
    const DeviceArray<cuda::RowStatistics> rows = device->allocate<cuda::RowStatistics>(kRows);
    cuda::StatisticsRequest request{};
    request.x = input.data();
    request.rows = kRows;
    request.width = request.xStride = kWidth;
    request.element = cuda::Element::F32;
    request.sources = sources.data();
    request.block = static_cast<uint32_t>(draw->block());
    request.perUnit = grid.perUnit;
    request.shift = grid.shift;
    request.last = grid.last;
    request.limit = 6.0f;
    request.before = counts.data();
    request.after = counts.data() + grid.last + 1;
    request.errorAfter = 1;
    request.levels = levels.count;
    request.level = levels.levels.data();
    request.thresholds = levels.thresholds.data();
    request.stored = cuda::Stored::Fp32;
    request.statistics = rows.data();
    device->check(device->api().statistics->measure(device->context(), &request), "measuring rows");
    const std::vector<cuda::RowStatistics> measured = rows.read();
    const std::vector<uint32_t> found = counts.read();
    std::vector<uint32_t> expected(found.size());
    std::vector<float> rotated(kWidth);
    for (size_t i = 0; i < kRows; ++i) {
        const float* const row = x.data() + i * kWidth;
        const Kernels& kernels = scalarKernels();
        const auto scale = static_cast<float>(std::sqrt(kWidth / kernels.sumSquares(row, kWidth)));
        draw->apply(row, rotated.data(), kernels);
        const PowerSums before = kernels.binAndSum(row, kWidth, scale, grid, expected.data());
        const PowerSums after = kernels.binAndSum(rotated.data(), kWidth, scale, grid, expected.data() + grid.last + 1);
        const double errors = kernels.codebookError(rotated.data(), kWidth, scale, 1.0f, table);
        const auto differs = [](double a, double b, double by) { return !(std::fabs(a - b) <= by); };
        if (differs(measured[i].before[3], before.s4, 1e-4 * before.s4) || differs(measured[i].after[3], after.s4, 1e-4 * after.s4) ||
            differs(measured[i].errors, errors, 1e-4 * errors) || differs(measured[i].largest[1], after.maxAbs, 1e-5 * after.maxAbs)) {
            return "the sums of row " + std::to_string(i);
        }
    }
    const DeviceArray<float> floats = device->allocate<float>(kWidth * (1 + cuda::kColumnParts));
    const DeviceArray<double> doubles = device->allocate<double>(kWidth * (1 + cuda::kColumnParts));
    const cuda::ColumnsRequest columns{input.data(), kRows, kWidth, kWidth, cuda::Element::F32, rows.data(), floats.data(), doubles.data(), floats.data() + kWidth, doubles.data() + kWidth};
    device->check(device->api().statistics->columns(device->context(), &columns), "measuring columns");
    const std::vector<float> largest = floats.read();
    const std::vector<double> squares = doubles.read();
    for (size_t c = 0; c < kWidth; ++c) {
        float most = 0;
        double sum = 0;
        for (size_t i = 0; i < kRows; ++i) {
            most = std::max(most, std::fabs(x[i * kWidth + c]));
            sum += static_cast<double>(x[i * kWidth + c]) * x[i * kWidth + c];
        }
        if (largest[c] != most || !(std::fabs(squares[c] - sum) <= 1e-9 * sum)) {
            return "column " + std::to_string(c);
        }
    }
    uint64_t moved = 0;
    for (size_t i = 0; i < found.size(); ++i) {
        moved += found[i] > expected[i] ? found[i] - expected[i] : expected[i] - found[i];
    }
    // A value at the edge of a cell may be counted in either.
    return moved > kRows * kWidth / 50 ? std::optional<std::string>("the histograms") : std::nullopt;
}

}  // namespace quantscope
