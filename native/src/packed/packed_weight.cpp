#include "packed/packed_weight.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "packed/codes.h"
#include "packed/safetensors_writer.h"
#include "quantizer/small_float.h"

namespace quantscope {

namespace {

Dtype dtypeOf(FloatType type) {
    return type == FloatType::Fp16 ? Dtype::F16 : type == FloatType::Bf16 ? Dtype::BF16 : Dtype::F32;
}

/// Bits of a number that binary16 holds.
uint16_t halfBits(float value) {
    const uint32_t sign = std::bit_cast<uint32_t>(value) >> 16 & 0x8000;
    const float magnitude = std::fabs(value);
    if (magnitude < 0x1p-14f) {
        return static_cast<uint16_t>(sign | static_cast<uint32_t>(magnitude * 0x1p24f));
    }
    return static_cast<uint16_t>(sign | ((std::bit_cast<uint32_t>(magnitude) >> 13) - (112u << 10)));
}

/// Norms are kept over the root of the width, in float32. The stored norm that gives this number back.
float normOf(FloatType type, float side, double root) {
    const double about = static_cast<double>(side) * root;
    const auto norm = static_cast<float>(roundTo(type, about));
    for (const float candidate : {norm, std::nextafter(norm, 0.0f), std::nextafter(norm, INFINITY)}) {
        if (static_cast<float>(candidate / root) == side && static_cast<float>(roundTo(type, candidate)) == candidate) {
            return candidate;
        }
    }
    return norm;  // NaN
}

std::vector<std::byte> bytesOf(const std::vector<uint8_t>& values) {
    std::vector<std::byte> bytes(values.size());
    std::memcpy(bytes.data(), values.data(), values.size());
    return bytes;
}

std::string describe(const std::vector<uint64_t>& shape) {
    std::string text;
    for (const uint64_t size : shape) {
        text += text.empty() ? "" : ", ";
        text += std::to_string(size);
    }
    return "[" + text + "]";
}

void require(const TensorRef& ref, const std::string& name, Dtype dtype, const std::vector<uint64_t>& shape) {
    if (ref.dtype != dtype || ref.shape != shape) {
        failArgument(ref.file + ": " + name + " is " + std::string(nameOf(ref.dtype)) + " " + describe(ref.shape) + ", expected " +
                     std::string(nameOf(dtype)) + " " + describe(shape) + ". Quantize the layer again with this recipe.");
    }
}

template <class T>
std::vector<T> read(const TensorRef& ref, size_t count) {
    std::vector<T> values(count);
    Tensor(ref).read(0, count * sizeof(T) / elementBytes(ref.dtype), reinterpret_cast<std::byte*>(values.data()));
    return values;
}

class Sides {
public:
    Sides(const std::map<std::string, TensorRef>& sides, const std::string& file, const Kernels& kernels)
        : sides_(sides), file_(file), kernels_(kernels) {}

    std::vector<float> floats(const std::string& name, Dtype dtype, const std::vector<uint64_t>& shape) const {
        const TensorRef& ref = find(name, dtype, shape);
        const Tensor tensor(ref);
        std::vector<std::byte> stored(tensor.elements() * tensor.elementBytes());
        std::vector<float> values(tensor.elements());
        tensor.read(0, values.size(), stored.data());
        kernels_.decode(dtype, stored.data(), values.data(), values.size());
        return values;
    }
    std::vector<uint8_t> bytes(const std::string& name, uint64_t rows, uint64_t perRow) const {
        return read<uint8_t>(find(name, Dtype::U8, {rows, perRow}), rows * perRow);
    }

private:
    const TensorRef& find(const std::string& name, Dtype dtype, const std::vector<uint64_t>& shape) const {
        const auto found = sides_.find(name);
        if (found == sides_.end()) {
            failArgument(file_ + ": there is no tensor \"" + name + "\" for this recipe. Quantize the layer again.");
        }
        require(found->second, name, dtype, shape);
        return found->second;
    }

    const std::map<std::string, TensorRef>& sides_;
    const std::string& file_;
    const Kernels& kernels_;
};

uint64_t groupsOf(const RowCodec& codec) { return codec.width() / codec.group(); }

}  // namespace

StoredTensor storeAs(FloatType type, std::string name, std::vector<uint64_t> shape, const float* values) {
    uint64_t count = 1;
    for (const uint64_t size : shape) {
        count *= size;
    }
    StoredTensor tensor{std::move(name), dtypeOf(type), std::move(shape), {}};
    tensor.bytes.resize(count * elementBytes(tensor.dtype));
    if (type == FloatType::Fp32) {
        std::memcpy(tensor.bytes.data(), values, tensor.bytes.size());
        return tensor;
    }
    auto* const halves = reinterpret_cast<uint16_t*>(tensor.bytes.data());
    for (uint64_t i = 0; i < count; ++i) {
        halves[i] = type == FloatType::Bf16 ? static_cast<uint16_t>(std::bit_cast<uint32_t>(values[i]) >> 16) : halfBits(values[i]);
    }
    return tensor;
}

StoredTensor storeCodes(const RowCodec& codec, uint64_t rows, const std::vector<uint8_t>& codes) {
    const uint64_t perRow = packedBytes(codec.width(), codec.bits());
    std::vector<uint8_t> packed(rows * perRow);
    for (uint64_t i = 0; i < rows; ++i) {
        packCodes(codes.data() + i * codec.width(), codec.width(), codec.bits(), packed.data() + i * perRow);
    }
    return {"codes", Dtype::U8, {rows, perRow}, bytesOf(packed)};
}

std::vector<StoredTensor> storeSides(const Quantizer& quantizer, const RowCodec& codec, const TensorRange& range, uint64_t rows,
                                     const std::vector<float>& sides) {
    const uint64_t groups = groupsOf(codec);
    const uint64_t count = rows * groups;
    if (const auto* integer = std::get_if<IntQuantizer>(&quantizer)) {
        std::vector<float> scales(count);
        std::vector<uint8_t> zeros(count);
        for (uint64_t i = 0; i < count; ++i) {
            scales[i] = sides[2 * i];
            zeros[i] = static_cast<uint8_t>(-sides[2 * i + 1]);
        }
        std::vector<StoredTensor> result{storeAs(integer->scale, "scales", {rows, groups}, scales.data())};
        if (!integer->symmetric) {
            const uint64_t perRow = packedBytes(groups, codec.bits());
            std::vector<uint8_t> packed(rows * perRow);
            for (uint64_t i = 0; i < rows; ++i) {
                packCodes(zeros.data() + i * groups, groups, codec.bits(), packed.data() + i * perRow);
            }
            result.push_back({"zeros", Dtype::U8, {rows, perRow}, bytesOf(packed)});
        }
        return result;
    }
    if (const auto* small = std::get_if<FloatQuantizer>(&quantizer)) {
        if (small->format == FloatFormat::Fp4 || small->format == FloatFormat::Fp8) {
            return {storeAs(FloatType::Fp16, "scales", {rows, groups}, sides.data())};
        }
        const float tensorScale = nvfp4TensorScale(range.largest());
        const std::vector<float> patterns = elementValues(FloatFormat::Fp8);
        std::vector<uint8_t> scales(count);
        for (uint64_t i = 0; i < count; ++i) {
            if (small->format != FloatFormat::Nvfp4) {
                scales[i] = static_cast<uint8_t>(sides[i] > 0 ? std::ilogb(sides[i]) + 127 : 0);
                continue;
            }
            const float ratio = tensorScale > 0 ? sides[i] / tensorScale : 0.0f;  // a pattern's value, but for the last bit
            const auto above = std::lower_bound(patterns.begin(), patterns.end(), ratio * (1 - 0x1p-10f));
            scales[i] = static_cast<uint8_t>(std::min<ptrdiff_t>(above - patterns.begin(), static_cast<ptrdiff_t>(patterns.size()) - 1));
        }
        std::vector<StoredTensor> result{{"scales", Dtype::U8, {rows, groups}, bytesOf(scales)}};
        if (small->format == FloatFormat::Nvfp4) {
            result.push_back(storeAs(FloatType::Fp32, "tensor_scale", {1}, &tensorScale));
        }
        return result;
    }
    if (std::holds_alternative<TwinLogQuantizer>(quantizer)) {
        return {storeAs(FloatType::Fp16, "ranges", {rows, codec.sides()}, sides.data())};
    }
    const auto* codebook = std::get_if<CodebookQuantizer>(&quantizer);
    const FloatType norm = codebook != nullptr ? codebook->norm : std::get<MidRiseQuantizer>(quantizer).norm;
    const double root = std::sqrt(static_cast<double>(codec.width()));
    std::vector<float> norms(rows);
    std::transform(sides.begin(), sides.end(), norms.begin(), [&](float side) { return normOf(norm, side, root); });
    return {storeAs(norm, "norms", {rows}, norms.data())};
}

void writeLayer(const std::string& path, const std::vector<StoredTensor>& tensors) {
    std::vector<SafetensorsWriter::Entry> entries;
    for (const StoredTensor& tensor : tensors) {
        entries.push_back({tensor.name, tensor.dtype, tensor.shape});
    }
    SafetensorsWriter writer(path, "quantscope-layer-1", entries);
    for (const StoredTensor& tensor : tensors) {
        writer.write(tensor.bytes);
    }
    writer.finish();
}

std::vector<uint8_t> loadCodes(const TensorRef& ref, const RowCodec& codec, uint64_t rows) {
    const uint64_t perRow = packedBytes(codec.width(), codec.bits());
    require(ref, "codes", Dtype::U8, {rows, perRow});
    const auto packed = read<uint8_t>(ref, rows * perRow);
    std::vector<uint8_t> codes(rows * codec.width());
    for (uint64_t i = 0; i < rows; ++i) {
        unpackCodes(packed.data() + i * perRow, codec.width(), codec.bits(), codes.data() + i * codec.width());
    }
    return codes;
}

std::vector<float> loadSides(const std::map<std::string, TensorRef>& refs, const std::string& file, const Quantizer& quantizer,
                             const RowCodec& codec, uint64_t rows, const Kernels& kernels) {
    const Sides from(refs, file, kernels);
    const uint64_t groups = groupsOf(codec);
    std::vector<float> sides(rows * codec.sides());
    if (const auto* integer = std::get_if<IntQuantizer>(&quantizer)) {
        const auto scales = from.floats("scales", dtypeOf(integer->scale), {rows, groups});
        std::vector<uint8_t> zeros(rows * groups, static_cast<uint8_t>(1u << (codec.bits() - 1)));
        if (!integer->symmetric) {
            const uint64_t perRow = packedBytes(groups, codec.bits());
            const auto packed = from.bytes("zeros", rows, perRow);
            for (uint64_t i = 0; i < rows; ++i) {
                unpackCodes(packed.data() + i * perRow, groups, codec.bits(), zeros.data() + i * groups);
            }
        }
        for (uint64_t i = 0; i < rows * groups; ++i) {
            sides[2 * i] = scales[i];
            sides[2 * i + 1] = scales[i] > 0 ? -static_cast<float>(zeros[i]) : 0.0f;
        }
        return sides;
    }
    if (const auto* small = std::get_if<FloatQuantizer>(&quantizer)) {
        if (small->format == FloatFormat::Fp4 || small->format == FloatFormat::Fp8) {
            return from.floats("scales", Dtype::F16, {rows, groups});
        }
        const auto scales = from.bytes("scales", rows, groups);
        if (small->format != FloatFormat::Nvfp4) {
            std::transform(scales.begin(), scales.end(), sides.begin(), [](uint8_t e) { return std::ldexp(1.0f, static_cast<int>(e) - 127); });
            return sides;
        }
        const float tensorScale = from.floats("tensor_scale", Dtype::F32, {1})[0];
        const std::vector<float> patterns = elementValues(FloatFormat::Fp8);
        for (uint64_t i = 0; i < sides.size(); ++i) {
            if (scales[i] >= patterns.size()) {
                failArgument(file + ": scale " + std::to_string(i) + " is not an E4M3 number. Quantize the layer again.");
            }
            sides[i] = patterns[scales[i]] * tensorScale;
        }
        return sides;
    }
    if (std::holds_alternative<TwinLogQuantizer>(quantizer)) {
        return from.floats("ranges", Dtype::F16, {rows, codec.sides()});
    }
    const auto* codebook = std::get_if<CodebookQuantizer>(&quantizer);
    const FloatType norm = codebook != nullptr ? codebook->norm : std::get<MidRiseQuantizer>(quantizer).norm;
    const double root = std::sqrt(static_cast<double>(codec.width()));
    const auto norms = from.floats("norms", dtypeOf(norm), {rows});
    std::transform(norms.begin(), norms.end(), sides.begin(), [root](float r) { return static_cast<float>(r / root); });
    return sides;
}

std::vector<uint16_t> loadTail(const TensorRef& tail, uint64_t rows, uint64_t width) {
    require(tail, "tail", Dtype::BF16, {rows, width});
    return read<uint16_t>(tail, rows * width);
}

}  // namespace quantscope
