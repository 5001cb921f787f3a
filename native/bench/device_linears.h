// Linears of FLUX.1's shapes in every arithmetic, against the same engine in bfloat16 and, where the machine has it, cuBLAS in bfloat16 in the same run.
#pragma once

#include <dlfcn.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/random.h"
#include "device/device.h"
#include "device/linear.h"
#include "packed/codes.h"
#include "selection.h"

namespace quantscope::bench {

/// cublasGemmEx of the user's own installation; nothing is linked.
class Cublas {
public:
    static std::optional<Cublas> open(const Device& device) {
        Cublas result;
        void* library = nullptr;
        for (const char* name : {"libcublas.so.13", "libcublas.so.12", "libcublas.so"}) {
            if ((library = dlopen(name, RTLD_NOW)) != nullptr) {
                break;
            }
        }
        if (library == nullptr) {
            return std::nullopt;
        }
        const auto create = reinterpret_cast<int (*)(void**)>(dlsym(library, "cublasCreate_v2"));
        const auto setStream = reinterpret_cast<int (*)(void*, void*)>(dlsym(library, "cublasSetStream_v2"));
        result.multiply_ = reinterpret_cast<Multiply>(dlsym(library, "cublasGemmEx"));
        void* stream = nullptr;
        if (create == nullptr || setStream == nullptr || result.multiply_ == nullptr || create(&result.handle_) != 0 ||
            device.calls().stream(device.context(), &stream) != cuda::Status::Ok || setStream(result.handle_, stream) != 0) {
            return std::nullopt;
        }
        return result;
    }
    /// y [rows, outputs] = x [rows, width] Wᵀ, all bfloat16 with sums in float32. False when cuBLAS refuses.
    bool operator()(const void* x, const void* w, void* y, int rows, int outputs, int width) const {
        constexpr int kTransposed = 1, kAsIs = 0, kBf16 = 14, kSumsInFloat32 = 68, kDefault = -1;
        const float one = 1, zero = 0;
        return multiply_(handle_, kTransposed, kAsIs, outputs, rows, width, &one, w, kBf16, width, x, kBf16, width, &zero, y, kBf16, outputs, kSumsInFloat32,
                         kDefault) == 0;
    }

private:
    using Multiply = int (*)(void*, int, int, int, int, int, const void*, const void*, int, int, const void*, int, int, const void*, void*, int, int, int, int);
    void* handle_ = nullptr;
    Multiply multiply_ = nullptr;
};

struct LinearKind {
    const char* name;
    Quantizer weights;
    Quantizer activations;
};

inline const std::vector<LinearKind>& linearKinds() {
    const auto grouped = [](int bits, uint64_t group) { return Quantizer(IntQuantizer{bits, true, Granularity::Group, group}); };
    static const std::vector<LinearKind> kinds = {{"BF16", KeepQuantizer{}, KeepQuantizer{}},
                                                  {"W8A8 per row", IntQuantizer{8}, IntQuantizer{8}},
                                                  {"W4A4 per row", IntQuantizer{4}, IntQuantizer{4}},
                                                  {"W4A4 groups of 128", grouped(4, 128), grouped(4, 128)},
                                                  {"W4A4 groups of 64", grouped(4, 64), grouped(4, 64)},
                                                  {"W4A4 codebook", CodebookQuantizer{4}, CodebookQuantizer{4}},
                                                  {"W4A8", IntQuantizer{4}, IntQuantizer{8}},
                                                  {"W2A4 groups of 128", grouped(2, 128), grouped(4, 128)},
                                                  {"W4A16 groups of 128", grouped(4, 128), KeepQuantizer{}}};
    return kinds;
}

/// A device buffer of random bits, whose speed no value changes.
inline DeviceArray<uint8_t> randomBytes(Device& device, uint64_t bytes, uint64_t seed, bool bf16 = false) {
    SplitMix64 random(seed);
    std::vector<uint64_t> piece(std::min<uint64_t>((bytes + 7) / 8, 1 << 17));
    for (uint64_t& word : piece) {
        word = bf16 ? (random.next() & 0x807F807F807F807F) | 0x3F003F003F003F00 : random.next();
    }
    DeviceArray<uint8_t> result = device.allocate<uint8_t>(bytes);
    for (uint64_t at = 0; at < bytes; at += piece.size() * 8) {
        device.check(device.calls().upload(device.context(), result.data() + at, piece.data(), std::min<uint64_t>(piece.size() * 8, bytes - at)), "filling");
    }
    device.synchronise();
    return result;
}

/// Weights of small scales and random codes, packed.
inline DeviceArray<uint8_t> packedWeights(Device& device, const DeviceLinear& linear, const Quantizer& quantizer) {
    const cuda::LinearShape& shape = linear.shape();
    SplitMix64 random(3);
    std::vector<uint8_t> codes(quantizer.index() == Quantizer(KeepQuantizer{}).index() ? 0 : shape.outputs * packedBytes(shape.width, shape.weights.bits));
    for (uint8_t& byte : codes) {
        byte = static_cast<uint8_t>(random.next());
    }
    const bool integers = shape.weights.group > 0;
    std::vector<float> sides(codes.empty() ? 0 : shape.outputs * (integers ? 2 * shape.width / shape.weights.group : 1), 0.01f);
    for (size_t i = 1; integers && i < sides.size(); i += 2) {
        sides[i] = -static_cast<float>(1 << (shape.weights.bits - 1));
    }
    std::vector<float> values(codes.empty() ? shape.outputs * shape.width : 0, 0.02f);
    std::vector<uint8_t> packed(linear.weightBytes());
    linear.pack({codes.data(), sides.data(), values.data(), nullptr, nullptr, nullptr}, packed.data());
    return device.upload(packed);
}

using Best = std::function<double(const std::function<void()>&)>;                    ///< milliseconds of one round
using Line = std::function<void(const std::string&, double, double, const char*, double, const char*)>;  ///< name, ms, rate, unit, ratio, of what

/// What other things on tensor cores are compared with.
struct Bf16Rate {
    double perSecond;  ///< TFLOP/s
    const char* name;
};

/// Gives the fastest product in bfloat16, of cuBLAS where it is there.
inline Bf16Rate linears(const std::shared_ptr<Device>& device, bool emulated, const Best& best, const Line& line) {
    struct Shape {
        uint64_t rows, outputs, width;
    };
    const std::vector<Shape> shapes = emulated ? std::vector<Shape>{{5, 40, 256}}
                                               : std::vector<Shape>{{4096, 3072, 3072}, {4096, 9216, 3072}, {4096, 12288, 3072}, {4096, 3072, 12288},
                                                                    {4608, 21504, 3072}, {4608, 3072, 15360}, {512, 3072, 3072}};
    const auto cublas = Cublas::open(*device);
    if (!cublas) {
        std::printf("BENCH cuBLAS is not on this machine: ratios to it are missing\n");
    }
    Bf16Rate fastest{0, "own BF16"};
    for (const auto& [rows, outputs, width] : shapes) {
        const std::string name = std::to_string(rows) + " x " + std::to_string(width) + " -> " + std::to_string(outputs);
        const auto asked = [&](const char* kind) { return wanted(std::string(kind) + ", " + name); };
        if (std::none_of(linearKinds().begin(), linearKinds().end(), [&](const LinearKind& kind) { return asked(kind.name); })) {
            continue;
        }
        const double work = 2.0 * static_cast<double>(rows) * static_cast<double>(outputs) * static_cast<double>(width);
        const auto x = randomBytes(*device, rows * width * 2, 1, true);
        const auto y = device->allocate<uint16_t>(rows * outputs);
        double reference = 0;
        if (cublas) {
            const auto w = randomBytes(*device, outputs * width * 2, 2, true);
            bool good = true;
            reference = best([&] { good = (*cublas)(x.data(), w.data(), y.data(), static_cast<int>(rows), static_cast<int>(outputs), static_cast<int>(width)) && good; });
            if (good) {
                line("cuBLAS BF16, " + name, reference, work / reference / 1e9, "TFLOP/s", 1.0, "cuBLAS");
            }
            reference = good ? reference : 0;
        }
        double own = 0;
        for (const LinearKind& kind : linearKinds()) {
            if (!asked(kind.name)) {
                continue;
            }
            const DeviceLinear linear(device, {outputs, width, kind.weights, kind.activations});
            const auto weights = packedWeights(*device, linear, kind.weights);
            const auto scratch = device->allocate<uint8_t>(linear.scratchBytes(rows));
            const cuda::LinearSide& side = linear.shape().activations;
            std::vector<float> sides(side.code == cuda::Code::None ? 0 : rows * (side.group > 0 ? 2 * width / side.group : 1), 0.01f);
            const auto xSides = device->upload(sides);
            cuda::LinearRequest request{};
            request.weights = weights.data();
            request.rows = rows;
            request.x = x.data();  // as codes: any bits are some
            request.xSides = xSides.data();
            request.xElement = cuda::Element::BF16;
            request.xStride = width;
            request.y = y.data();
            request.yElement = cuda::Element::BF16;
            request.yStride = outputs;
            request.scratch = scratch.data();
            request.scratchBytes = scratch.bytes();
            const double ms = best([&] { linear.run(request); });
            own = own == 0 ? ms : own;
            const double against = reference > 0 ? reference : own;
            fastest = {std::max(fastest.perSecond, work / against / 1e9), reference > 0 ? "cuBLAS BF16" : "own BF16"};
            line(std::string(kind.name) + ", " + name + ", weights " + std::to_string(linear.weightBytes() >> 20) + " MiB", ms, work / ms / 1e9, "TFLOP/s",
                 against / ms, reference > 0 ? "cuBLAS BF16" : "own BF16");
        }
    }
    return fastest;
}

}  // namespace quantscope::bench
