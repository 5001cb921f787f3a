#include <bit>

#include "base/rounding.h"
#include "cpu/kernels.h"
#include "device/coder.h"
#include "device/self_test/definitions.h"
#include "device/self_test/groups.h"
#include "linear/activations.h"

namespace quantscope {

std::optional<std::string> selfTest::rotation(const std::shared_ptr<Device>& device) {
    const struct {
        size_t width;
        Quantizer quantizer;
        ActivationCoding given{};
    } cases[] = {{1152, CodebookQuantizer{4}}, {3072, CodebookQuantizer{3}}, {4096, MidRiseQuantizer{4}},
                 {1536, IntQuantizer{4, true, Granularity::Group, 128}}, {3072, IntQuantizer{8}}, {1152, IntQuantizer{8, false}}, {77, CodebookQuantizer{2}},
                 {1152, IntQuantizer{8, false, Granularity::Tensor, 0, FloatType::Fp32}, {TensorRange{-2, 3, {}}, {}}},
                 {1152, IntQuantizer{.bits = 4, .shift = 0.25}, {{}, std::vector<float>(1152, 0.25f)}}};
    constexpr size_t kRows = 9;
    for (const auto& [width, quantizer, given] : cases) {
        const auto draw = rotationFor(width, 1);
        const DeviceCoder coder(device, quantizer, width, draw.get(), given);
        const RowCodec codec(withoutShift(quantizer), width, given.range.value_or(TensorRange{}), scalarKernels());
        const DeviceArray<uint8_t> codes = device->allocate<uint8_t>(kRows * coder.rowBytes());
        const DeviceArray<float> sides = device->allocate<float>(kRows * coder.sides());
        for (const bool narrow : {false, true}) {  // bfloat16 has kernels of its own
            std::vector<float> x = gaussians(kRows * width, width);
            std::vector<uint16_t> halves(narrow ? x.size() : 0);
            for (size_t i = 0; i < halves.size(); ++i) {
                x[i] = static_cast<float>(roundTo(FloatType::Bf16, x[i]));
                halves[i] = static_cast<uint16_t>(std::bit_cast<uint32_t>(x[i]) >> 16);
            }
            std::vector<float> rotated(kRows * width);
            for (size_t i = 0; i < kRows; ++i) {
                draw->apply(x.data() + i * width, rotated.data() + i * width, scalarKernels());
            }
            const DeviceArray<float> floats = device->upload(x);
            const DeviceArray<uint16_t> input = device->upload(halves);
            coder.encode({narrow ? static_cast<const void*>(input.data()) : floats.data(), narrow ? cuda::Element::BF16 : cuda::Element::F32, kRows, width},
                         codes.data(), sides.data());
            for (size_t i = 0; i < rotated.size() && !given.shift.empty(); ++i) {
                rotated[i] += given.shift[i % width];
            }
            if (const auto wrong = compareCodes(codec, rotated.data(), kRows, codes.read().data(), sides.read().data())) {
                return std::string(narrow ? "bfloat16" : "float32") + " rows of " + std::to_string(width) + ": " + *wrong;
            }
        }
    }
    return std::nullopt;
}

}  // namespace quantscope
