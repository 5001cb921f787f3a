#include "device/coder.h"

#include <algorithm>
#include <bit>

#include "packed/codes.h"
#include "quantizer/codebook.h"
#include "quantizer/midrise.h"

namespace quantscope {

namespace {

constexpr uint64_t kLargestBlock = 4096;

}  // namespace

cuda::Stored storedOf(FloatType type) {
    switch (type) {
        case FloatType::Fp16: return cuda::Stored::Fp16;
        case FloatType::Bf16: return cuda::Stored::Bf16;
        case FloatType::Fp32: break;
    }
    return cuda::Stored::Fp32;
}

DeviceLevels::DeviceLevels(Device& device, const LevelTable& table)
    : levels(device.upload(std::vector<float>(table.levels.begin(), table.levels.begin() + table.size))),
      thresholds(device.upload(std::vector<float>(table.thresholds.begin(), table.thresholds.begin() + (table.size - 1)))), count(table.size) {}

std::optional<std::string> DeviceCoder::unsupported(const Quantizer& quantizer, uint64_t width, const Rpbh* rotation, const Device& device,
                                                    const ActivationCoding& given) {
    if (const uint64_t most = device.api().rotate->maxWidth(device.context()); width < 1 || width > most) {
        return "rows of " + std::to_string(width) + " values do not fit the device, which takes " + std::to_string(most);
    }
    if (rotation != nullptr && rotation->block() > kLargestBlock) {
        return "Hadamard blocks of " + std::to_string(rotation->block()) + " are larger than " + std::to_string(kLargestBlock);
    }
    if (const auto* integer = std::get_if<IntQuantizer>(&quantizer)) {
        if (integer->clipSearch) {
            return "clipping by search";
        }
        if (integer->shift.has_value() != !given.shift.empty()) {
            return "shifted codes without the shift behind the transforms";
        }
    } else if (std::holds_alternative<TwinLogQuantizer>(quantizer)) {
        return "twin-log codes";
    } else if (std::holds_alternative<FloatQuantizer>(quantizer)) {
        return "small floats";
    }
    return std::nullopt;
}

DeviceCoder::DeviceCoder(std::shared_ptr<Device> device, const Quantizer& quantizer, uint64_t width, const Rpbh* rotation, const ActivationCoding& given)
    : device_(std::move(device)) {
    if (const auto reason = unsupported(quantizer, width, rotation, *device_, given)) {
        failArgument("Not on " + std::string(device_->description().name) + ": " + *reason);
    }
    validate(quantizer, width);
    request_.width = width;
    request_.block = 1;
    request_.clip = 1.0;
    if (rotation != nullptr) {
        sources_ = device_->upload(rotation->signedSources());
        request_.sources = sources_.data();
        request_.block = static_cast<uint32_t>(rotation->block());
    }
    if (const auto* codebook = std::get_if<CodebookQuantizer>(&quantizer)) {
        levels_ = DeviceLevels(*device_, codebookFor(width, codebook->bits)->table);
        request_.code = cuda::Code::Codebook;
        request_.thresholds = levels_.thresholds.data();
        request_.bits = codebook->bits;
        request_.stored = storedOf(codebook->norm);
        sides_ = 1;
    } else if (const auto* midRise = std::get_if<MidRiseQuantizer>(&quantizer)) {
        request_.code = cuda::Code::MidRise;
        request_.step = static_cast<float>(midRiseStep(width, midRise->bits).step);
        request_.bits = midRise->bits;
        request_.stored = storedOf(midRise->norm);
        sides_ = 1;
    } else if (const auto* integer = std::get_if<IntQuantizer>(&quantizer)) {
        request_.code = integer->symmetric && !integer->shift ? cuda::Code::Symmetric : cuda::Code::Asymmetric;
        request_.bits = integer->bits;
        request_.group = integer->granularity == Granularity::Group ? integer->group : width;
        request_.stored = storedOf(integer->scale);
        request_.clip = integer->clip.value_or(1.0);
        sides_ = 2 * width / request_.group;
        if (integer->shift) {
            shift_ = device_->upload(given.shift);
            request_.shift = shift_.data();
        }
        if (integer->granularity == Granularity::Tensor) {
            const auto [lowest, highest, errors] = given.range.value_or(TensorRange{});
            range_ = device_->upload(std::vector{std::bit_cast<uint32_t>(static_cast<float>(-lowest)), std::bit_cast<uint32_t>(static_cast<float>(highest))});
            request_.range = range_.data();
            findsRange_ = !given.range;
        }
    }
    rowBytes_ = packedBytes(width, request_.bits);
}

cuda::RotateRequest DeviceCoder::requestFor(const DeviceRows& x) const {
    cuda::RotateRequest request = request_;
    request.x = x.data;
    request.rows = x.rows;
    request.xStride = x.stride;
    request.element = x.element;
    return request;
}

bool DeviceCoder::writesBytes(const DeviceRows& x) const {
    constexpr cuda::CodeBytes kAny{};
    cuda::RotateRequest request = requestFor(x);
    request.bytes = &kAny;
    return device_->api().rotate->writesBytes(device_->context(), &request) != 0;
}

void DeviceCoder::encode(const DeviceRows& x, uint8_t* codes, float* sides, const cuda::CodeBytes* bytes) const {
    cuda::RotateRequest request = requestFor(x);
    if (request.code == cuda::Code::None) {
        failArgument("There are no codes of values that are kept.");
    }
    if (findsRange_) {
        device_->check(device_->calls().clear(device_->context(), range_.data(), range_.bytes()), "coding rows");
        request.observes = 1;
        device_->check(device_->api().rotate->rotate(device_->context(), &request), "coding rows");
        request.observes = 0;
    }
    request.codes = codes;
    request.bytes = bytes;
    request.sides = sides;
    device_->check(device_->api().rotate->rotate(device_->context(), &request), "coding rows");
}

void DeviceCoder::rotate(const DeviceRows& x, void* y, cuda::Element element, uint64_t stride) const {
    cuda::RotateRequest request = requestFor(x);
    request.code = cuda::Code::None;
    request.y = y;
    request.yElement = element;
    request.yStride = stride;
    device_->check(device_->api().rotate->rotate(device_->context(), &request), "rotating rows");
}

}  // namespace quantscope
