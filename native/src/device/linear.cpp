#include "device/linear.h"

#include "integer/plan.h"
#include "quantizer/row_codec.h"

namespace quantscope {

namespace {

/// What each code of a quantizer with one norm per row stands for, in units of the norm.
std::vector<float> levelsOf(const Quantizer& quantizer, uint64_t width, size_t codes) {
    const RowCodec codec(quantizer, width, {}, scalarKernels());
    const std::vector<float> norm(codec.sides(), 1.0f);
    std::vector<uint8_t> same(width);
    std::vector<float> decoded(width);
    std::vector<float> levels;
    for (size_t code = 0; code < codes; ++code) {
        std::fill(same.begin(), same.end(), static_cast<uint8_t>(code));
        codec.decode(same.data(), norm.data(), decoded.data());
        levels.push_back(decoded[0]);
    }
    return levels;
}

/// Everything of a side but its tables.
std::optional<std::string> describeSide(const Quantizer& quantizer, uint64_t width, const std::string& name, cuda::LinearSide& side) {
    if (const auto* integer = std::get_if<IntQuantizer>(&quantizer)) {
        if (integer->shift) {
            return "has " + name + " that are shifted";
        }
        side.code = integer->symmetric ? cuda::Code::Symmetric : cuda::Code::Asymmetric;
        side.bits = integer->bits;
        side.group = integer->granularity == Granularity::Group ? integer->group : width;
    } else if (const auto* codebook = std::get_if<CodebookQuantizer>(&quantizer)) {
        side.code = cuda::Code::Codebook;
        side.bits = codebook->bits;
    } else if (const auto* midRise = std::get_if<MidRiseQuantizer>(&quantizer)) {
        side.code = cuda::Code::MidRise;
        side.bits = midRise->bits;
    } else if (!std::holds_alternative<KeepQuantizer>(quantizer)) {
        return "has " + name + (std::holds_alternative<TwinLogQuantizer>(quantizer) ? " on a logarithmic scale" : " in a small float format");
    }
    return std::nullopt;
}

}  // namespace

std::optional<std::string> DeviceLinear::describe(const DeviceLinearShape& shape, Tables& tables) {
    cuda::LinearShape& s = tables.shape;
    s.outputs = shape.outputs;
    s.width = shape.width;
    s.tail = shape.tail;
    s.rank = shape.rank;
    s.bias = shape.bias ? 1 : 0;
    s.decoded = shape.decoded ? 1 : 0;
    s.element = cuda::Element::BF16;
    if (const auto* keep = std::get_if<KeepQuantizer>(&shape.weights); keep != nullptr && keep->type == FloatType::Fp32) {
        s.element = cuda::Element::F32;
    }
    if (auto reason = describeSide(shape.weights, shape.width, "weights", s.weights)) {
        return reason;
    }
    if (auto reason = describeSide(shape.activations, shape.width, "activations", s.activations)) {
        return reason;
    }
    if (shape.width == 0) {
        return std::nullopt;
    }
    const bool integers = s.weights.code != cuda::Code::None && s.activations.code != cuda::Code::None && !shape.decoded;
    std::optional<IntegerPlan> plan;
    if (integers) {
        auto found = planInteger(shape.weights, shape.activations, shape.width, scalarProductKernels());
        if (auto* reason = std::get_if<std::string>(&found)) {
            return std::move(*reason);
        }
        plan = std::move(std::get<IntegerPlan>(found));
        tables.weightSurrogate = plan->w.surrogateError;
        tables.activationSurrogate = plan->x.surrogateError;
    }
    for (const bool ofWeights : {true, false}) {
        cuda::LinearSide& side = ofWeights ? s.weights : s.activations;
        if (side.code != cuda::Code::Codebook && side.code != cuda::Code::MidRise) {
            continue;
        }
        tables.levels[ofWeights ? 0 : 1] = levelsOf(ofWeights ? shape.weights : shape.activations, shape.width, size_t{1} << side.bits);
        side.levels = tables.levels[ofWeights ? 0 : 1].data();
        if (plan) {
            const IntegerCodes& meaning = ofWeights ? plan->w : plan->x;
            tables.integers[ofWeights ? 0 : 1].assign(meaning.levels.begin(), meaning.levels.end());
            side.integers = tables.integers[ofWeights ? 0 : 1].data();
            side.unit = meaning.unit;
        }
    }
    return std::nullopt;
}

std::optional<std::string> DeviceLinear::unsupported(const DeviceLinearShape& shape, const Device& device) {
    Tables tables;
    if (auto reason = describe(shape, tables)) {
        return reason;
    }
    if (device.api().linear->check(&tables.shape) != cuda::Status::Ok) {
        return device.api().message();
    }
    return std::nullopt;
}

DeviceLinear::DeviceLinear(std::shared_ptr<Device> device, const DeviceLinearShape& shape) : device_(std::move(device)) {
    auto tables = std::make_shared<Tables>();
    if (const auto reason = describe(shape, *tables)) {
        failArgument("Not on " + std::string(device_->description().name) + ": the layer " + *reason);
    }
    device_->check(device_->api().linear->check(&tables->shape), "a linear");
    tables_ = std::move(tables);
}

uint64_t DeviceLinear::weightBytes() const {
    uint64_t bytes = 0;
    device_->check(device_->api().linear->weightBytes(&shape(), &bytes), "packing weights");
    return bytes;
}

void DeviceLinear::pack(const cuda::LinearWeights& weights, void* packed) const {
    device_->check(device_->api().linear->pack(&shape(), &weights, packed), "packing weights");
}

uint64_t DeviceLinear::scratchBytes(uint64_t rows) const {
    uint64_t bytes = 0;
    device_->check(device_->api().linear->scratchBytes(device_->context(), &shape(), rows, &bytes), "a linear");
    return bytes;
}

std::optional<cuda::CodeBytes> DeviceLinear::activationBytes() const {
    cuda::CodeBytes bytes{};
    int32_t taken = 0;
    device_->check(device_->api().linear->activationBytes(device_->context(), &shape(), &bytes, &taken), "a linear");
    return taken != 0 ? std::optional(bytes) : std::nullopt;
}

void DeviceLinear::run(const cuda::LinearRequest& request) const {
    device_->check(device_->api().linear->run(device_->context(), &shape(), &request), "a linear");
}

}  // namespace quantscope
