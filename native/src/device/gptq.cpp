#include "device/gptq.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "quantizer/midrise.h"

namespace quantscope {

namespace {

/// Levels that every row has in common; a value is (level + lowest step) * (scale * unit).
struct CommonLevels {
    std::vector<float> levels;
    float unit = 1.0f;
    bool hasOffsets = false;
};

CommonLevels commonLevels(const Quantizer& quantizer, const RowCodec& codec) {
    CommonLevels result;
    const size_t count = size_t{1} << codec.bits();
    result.levels.resize(count);
    if (const auto* midRise = std::get_if<MidRiseQuantizer>(&quantizer)) {
        for (size_t code = 0; code < count; ++code) {
            result.levels[code] = static_cast<float>(code) - (static_cast<float>(count / 2) - 0.5f);
        }
        result.unit = static_cast<float>(midRiseStep(codec.width(), midRise->bits).step);
        return result;
    }
    result.hasOffsets = std::holds_alternative<IntQuantizer>(quantizer);
    std::vector<float> sides(codec.sides(), 1.0f);  // norms
    for (size_t i = 0; result.hasOffsets && i < sides.size(); i += 2) {
        sides[i + 1] = 0.0f;  // scale 1, steps from 0 on
    }
    std::vector<uint8_t> codes(codec.width());
    std::vector<float> decoded(codec.width());
    for (size_t code = 0; code < count; ++code) {
        std::fill(codes.begin(), codes.end(), static_cast<uint8_t>(code));
        codec.decode(codes.data(), sides.data(), decoded.data());
        result.levels[code] = decoded[0];
    }
    return result;
}

/// Second moments as they stand in a factor: what Feedback makes of them before it factors.
struct Arranged {
    std::vector<uint32_t> order;
    std::vector<uint8_t> dead;
    double mean = 0;
};

Arranged arrange(const float* moments, size_t n, size_t stride, bool descending) {
    Arranged result{std::vector<uint32_t>(n), std::vector<uint8_t>(n)};
    for (size_t i = 0; i < n; ++i) {
        const float diagonal = moments[i * stride + i];
        if (!(diagonal >= 0)) {
            failArgument("the second moments are no such: the mean square of input " + std::to_string(i) + " is " + std::to_string(diagonal) +
                         ". Collect the statistics again.");
        }
        result.dead[i] = diagonal == 0;
        result.mean += diagonal;
    }
    result.mean /= static_cast<double>(n);
    if (!(result.mean > 0) || !std::isfinite(result.mean)) {
        failArgument(result.mean > 0 ? "the second moments are not finite. Collect the statistics again."
                                     : "the second moments are all zero: the layer was given nothing but zeros. Use solver rtn for it.");
    }
    // Rows of the factor run backwards: what is decided first comes last.
    std::iota(result.order.rbegin(), result.order.rend(), 0u);
    if (descending) {
        std::stable_sort(result.order.rbegin(), result.order.rend(),
                         [&](uint32_t a, uint32_t b) { return moments[a * stride + a] > moments[b * stride + b]; });
    }
    return result;
}

}  // namespace

std::optional<std::string> gptqUnsupported(const Quantizer& quantizer, const GptqOptions& options) {
    const auto* integer = std::get_if<IntQuantizer>(&quantizer);
    if (!options.staticGroups && integer != nullptr && integer->granularity == Granularity::Group) {
        return "groups take their scales while they are decided";
    }
    if (integer != nullptr && integer->shift) {
        return "shifted codes";
    }
    if (integer == nullptr && !std::holds_alternative<CodebookQuantizer>(quantizer) && !std::holds_alternative<MidRiseQuantizer>(quantizer)) {
        return "codes without common levels";
    }
    return std::nullopt;
}

Gptq gptqOnDevice(const std::shared_ptr<Device>& device, std::vector<float> weights, const float* moments, size_t stride, const Quantizer& quantizer,
                  const RowCodec& codec, const GptqOptions& options, Workers& workers) {
    if (const auto reason = gptqUnsupported(quantizer, options)) {
        failArgument("GPTQ is not on the device: " + *reason);
    }
    const cuda::SolverCalls& calls = *device->api().solver;
    const size_t n = codec.width();
    const size_t rows = weights.size() / n;
    const Arranged arranged = arrange(moments, n, stride, options.actOrder);
    const auto order = device->upload(arranged.order);
    const auto dead = device->upload(arranged.dead);
    auto lower = device->allocate<double>(n * n);
    double damping = options.damping.share * options.damping.scale * arranged.mean;
    unsigned retries = 0;
    {
        auto onDevice = device->allocate<float>(n * n);
        std::vector<float> square(n * n);
        for (size_t i = 0; i < n; ++i) {
            std::copy_n(moments + i * stride, n, square.data() + i * n);
        }
        onDevice.write(square);
        const auto state = device->allocate<int32_t>(1);
        for (;; ++retries) {
            workers.checkCancelled();
            const cuda::FactorRequest request{onDevice.data(), n, n, order.data(), dead.data(), arranged.mean, damping, lower.data(), state.data()};
            device->check(calls.factor(device->context(), &request), "factoring second moments");
            const int32_t went = state.read()[0];
            if (went == cuda::kFactored) {
                break;
            }
            if (went == cuda::kNotFinite) {
                failArgument("the second moments are not finite. Collect the statistics again.");
            }
            damping = std::max(damping * 2, 1e-6 * arranged.mean);
        }
        workers.advance(static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(n) / 3);
    }
    const CommonLevels common = commonLevels(quantizer, codec);
    const auto levels = device->upload(common.levels);
    auto errors = device->allocate<double>(rows * n);
    auto sums = device->allocate<double>(rows * 64);
    auto losses = device->allocate<double>(rows);
    auto onDevice = device->upload(weights);
    cuda::SweepRequest request{};
    request.lower = lower.data();
    request.size = n;
    request.order = order.data();
    request.dead = dead.data();
    request.damping = damping;
    request.weights = onDevice.data();
    request.rows = rows;
    request.bits = codec.bits();
    request.losses = losses.data();
    request.errors = errors.data();
    request.sums = sums.data();
    const auto sweep = [&] {
        workers.checkCancelled();
        device->check(calls.sweep(device->context(), &request), "a sweep of GPTQ");
        const std::vector<double> each = losses.read();
        workers.advance(static_cast<double>(rows) * static_cast<double>(n) * static_cast<double>(n));
        double loss = 0;
        for (const double row : each) {
            loss += std::max(0.0, row);
        }
        return loss;
    };
    Gptq result{};
    result.damping = damping;
    result.retries = retries;
    {
        const Rounding nearest = roundToNearest(weights.data(), rows, codec, workers);
        std::vector<float> decoded(rows * n);
        for (size_t i = 0; i < rows; ++i) {
            codec.decode(nearest.codes.data() + i * n, nearest.sides.data() + i * codec.sides(), decoded.data() + i * n);
        }
        const auto given = device->upload(decoded);
        request.given = given.data();
        result.loss.rtn = sweep();
        request.given = nullptr;
    }
    for (size_t j = 0; j < n; ++j) {
        for (size_t i = 0; arranged.dead[j] != 0 && i < rows; ++i) {
            weights[i * n + j] = 0;
        }
    }
    onDevice.write(weights);
    result.rounding = roundToNearest(weights.data(), rows, codec, workers);  // for the sides
    const auto sides = device->upload(result.rounding.sides);
    const auto codes = device->allocate<uint8_t>(rows * n);
    request.levels = levels.data();
    request.unit = common.unit;
    request.hasOffsets = common.hasOffsets ? 1 : 0;
    request.group = codec.group();
    request.sides = sides.data();
    request.sidesOfRow = codec.sides();
    request.codes = codes.data();
    result.loss.solver = sweep();
    result.rounding.codes = codes.read();
    return result;
}

}  // namespace quantscope
