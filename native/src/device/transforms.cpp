#include "device/transforms.h"

#include <cmath>

#include "rotation/rpbh.h"
#include "transform/hadamard.h"
#include "transform/orthogonal.h"

namespace quantscope {

namespace {

constexpr uint64_t kLargestBlock = 4096;

/// Hadamard blocks that a transform asks of the device's rotation; 1 where it asks for none.
uint64_t blockOf(const Transform& transform, uint64_t width) {
    if (const auto* rpbh = std::get_if<RpbhTransform>(&transform)) {
        return rotationFor(width, rpbh->seed)->block();
    }
    return std::holds_alternative<HadamardTransform>(transform) ? width / *hadamardOrder(width) : 1;
}

}  // namespace

std::optional<std::string> DeviceTransforms::unsupported(const std::vector<Transform>& list, uint64_t width, const Device& device) {
    if (!list.empty()) {
        if (auto reason = DeviceCoder::unsupported(KeepQuantizer{}, width, nullptr, device)) {
            return reason;
        }
    }
    for (const Transform& transform : list) {
        if (const uint64_t block = blockOf(transform, width); block > kLargestBlock) {
            return "Hadamard blocks of " + std::to_string(block) + " are larger than " + std::to_string(kLargestBlock);
        }
    }
    return std::nullopt;
}

DeviceTransforms::DeviceTransforms(std::shared_ptr<Device> device, const std::vector<Transform>& list, uint64_t width, Workers& workers, const Kernels& kernels)
    : device_(std::move(device)), width_(width) {
    for (const Transform& transform : list) {
        add(transform, workers, kernels);
    }
}

void DeviceTransforms::add(const Transform& transform, Workers& workers, const Kernels& kernels) {
    if (const auto* scale = std::get_if<ScaleTransform>(&transform)) {
        if (steps_.empty()) {
            addSources({}, 1);  // inputs may be bfloat16, the factors are not
        }
        steps_.emplace_back().scale = device_->upload(readScale(scale->values, kernels));
    } else if (const auto* permute = std::get_if<PermuteTransform>(&transform)) {
        addSources(readSources(permute->sources), 1);
    } else if (const auto* rpbh = std::get_if<RpbhTransform>(&transform)) {
        const auto rotation = rotationFor(width_, rpbh->seed);
        addSources(rotation->signedSources(), rotation->block());
    } else if (const auto* hadamard = std::get_if<HadamardTransform>(&transform)) {
        // H_K ⊗ H_{2^k}: the small factor is a product over values 2^k apart, which are brought beside each other for it.
        const uint64_t order = *hadamardOrder(width_);
        const uint64_t block = width_ / order;
        addSources(hadamardFor(width_, hadamard->seed)->signedSources(), block);
        if (order > 1) {
            std::vector<uint32_t> together, back;
            for (uint64_t i = 0; i < width_; ++i) {
                together.push_back(static_cast<uint32_t>(i % order * block + i / order));
                back.push_back(static_cast<uint32_t>(i % block * order + i / block));
            }
            std::vector<float> matrix;
            for (const int8_t entry : hadamardMatrix(order)) {
                matrix.push_back(static_cast<float>(entry / std::sqrt(static_cast<double>(order))));
            }
            addSources(together, 1);
            addMatrices(matrix.data(), 1, order);
            addSources(back, 1);
        }
    } else if (const auto* random = std::get_if<RandomTransform>(&transform)) {
        addMatrices(orthogonalFor(width_, random->seed, workers)->data(), 1, width_);
    } else {
        const TensorRef& ref = std::get<BlocksTransform>(transform).matrices;
        addMatrices(readMatrices(ref, kernels)->data(), ref.shape[0], ref.shape[1]);
    }
}

void DeviceTransforms::addSources(const std::vector<uint32_t>& sources, uint64_t block) {
    Step& step = steps_.emplace_back();
    if (!sources.empty()) {
        step.sources = device_->upload(sources);
    }
    step.block = static_cast<uint32_t>(block);
}

void DeviceTransforms::addMatrices(const float* values, uint64_t count, uint64_t size) {
    Step& step = steps_.emplace_back();
    step.product.emplace(device_, DeviceLinearShape{size, size, KeepQuantizer{FloatType::Fp32}, KeepQuantizer{}});
    step.count = count;
    std::vector<uint8_t> packed(count * step.product->weightBytes());
    for (uint64_t i = 0; i < count; ++i) {
        step.product->pack({nullptr, nullptr, values + i * size * size, nullptr, nullptr, nullptr}, packed.data() + i * step.product->weightBytes());
    }
    step.matrices = device_->upload(packed);
}

void DeviceTransforms::run(const Step& step, const DeviceRows& x, float* y) const {
    if (step.scale.data() != nullptr) {
        cuda::CombineRequest request{};
        request.kind = cuda::Combination::Mul;
        request.element = cuda::Element::F32;
        request.axes = 2;
        request.sizes[0] = x.rows;
        request.sizes[1] = width_;
        request.steps[0][0] = x.stride;
        request.steps[0][1] = request.steps[1][1] = 1;
        request.operands[0] = x.data;
        request.operands[1] = step.scale.data();
        request.out = y;
        device_->check(device_->api().ops->combine(device_->context(), &request), "scaling rows");
        return;
    }
    if (!step.product) {
        cuda::RotateRequest request{};
        request.x = x.data;
        request.rows = x.rows;
        request.width = width_;
        request.xStride = x.stride;
        request.element = x.element;
        request.sources = step.sources.data();
        request.block = step.block;
        request.y = y;
        request.yStride = width_;
        request.yElement = cuda::Element::F32;
        request.clip = 1.0;
        device_->check(device_->api().rotate->rotate(device_->context(), &request), "rotating rows");
        return;
    }
    const uint64_t size = step.product->shape().width;
    const bool shared = step.count == 1 && x.stride == width_;
    cuda::LinearRequest request{};
    request.rows = shared ? x.rows * (width_ / size) : x.rows;
    request.xElement = x.element;
    request.xStride = shared ? size : x.stride;
    request.yElement = cuda::Element::F32;
    request.yStride = shared ? size : width_;
    for (uint64_t block = 0; block < (shared ? 1 : width_ / size); ++block) {
        request.weights = step.matrices.data() + (step.count == 1 ? 0 : block * step.product->weightBytes());
        request.x = static_cast<const std::byte*>(x.data) + block * size * (x.element == cuda::Element::F32 ? sizeof(float) : sizeof(uint16_t));
        request.y = y + block * size;
        step.product->run(request);
    }
}

void DeviceTransforms::apply(const DeviceRows& x, float* y, float* spare) const {
    // Back and forth between two places, so that the last step writes y.
    DeviceRows from = x;
    float* to = steps_.size() % 2 == 1 ? y : spare;
    for (const Step& step : steps_) {
        run(step, from, to);
        from = {to, cuda::Element::F32, x.rows, width_};
        to = to == y ? spare : y;
    }
}

}  // namespace quantscope
