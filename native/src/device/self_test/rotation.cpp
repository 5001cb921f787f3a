#include <algorithm>
#include <bit>
#include <iterator>

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
        cuda::Element element = cuda::Element::F32;
    } cases[] = {{1152, CodebookQuantizer{4}}, {3072, CodebookQuantizer{3}}, {4096, MidRiseQuantizer{4}},
                 {1536, IntQuantizer{4, true, Granularity::Group, 128}}, {1152, IntQuantizer{8, false}}, {77, CodebookQuantizer{2}},
                 {1152, IntQuantizer{8, false, Granularity::Tensor, 0, FloatType::Fp32}, {TensorRange{-2, 3, {}}, {}}},
                 {1152, IntQuantizer{.bits = 4, .shift = 0.25}, {{}, std::vector<float>(1152, 0.25f)}},
                 {1152, CodebookQuantizer{4}, {}, cuda::Element::BF16}, {1536, IntQuantizer{4, true, Granularity::Group, 128}, {}, cuda::Element::BF16},
                 {3072, CodebookQuantizer{3}, {}, cuda::Element::BF16}, {3072, IntQuantizer{8}, {}, cuda::Element::BF16}, {4096, CodebookQuantizer{4}, {}, cuda::Element::BF16}};
    constexpr size_t kRows = 9;
    for (const auto& [width, quantizer, given, element] : cases) {
        const auto draw = rotationFor(width, 1);
        std::vector<float> x = gaussians(kRows * width, width);
        std::vector<uint16_t> halves;
        if (element == cuda::Element::BF16) {
            castRow(FloatType::Bf16, x.data(), x.size());
            std::transform(x.begin(), x.end(), std::back_inserter(halves), [](float value) { return static_cast<uint16_t>(std::bit_cast<uint32_t>(value) >> 16); });
        }
        std::vector<float> rotated(kRows * width);
        for (size_t i = 0; i < kRows; ++i) {
            draw->apply(x.data() + i * width, rotated.data() + i * width, scalarKernels());
        }
        const DeviceCoder coder(device, quantizer, width, draw.get(), given);
        const DeviceArray<float> floats = device->upload(x);
        const DeviceArray<uint16_t> shorts = device->upload(halves);
        const void* const input = element == cuda::Element::BF16 ? static_cast<const void*>(shorts.data()) : floats.data();
        const DeviceArray<uint8_t> codes = device->allocate<uint8_t>(kRows * coder.rowBytes());
        const DeviceArray<float> sides = device->allocate<float>(kRows * coder.sides());
        coder.encode({input, element, kRows, width}, codes.data(), sides.data());
        for (size_t i = 0; i < rotated.size() && !given.shift.empty(); ++i) {
            rotated[i] += given.shift[i % width];
        }
        const RowCodec codec(withoutShift(quantizer), width, given.range.value_or(TensorRange{}), scalarKernels());
        if (const auto wrong = compareCodes(codec, rotated.data(), kRows, codes.read().data(), sides.read().data())) {
            return "rows of " + std::to_string(width) + ": " + *wrong;
        }
        if (coder.writesBytes({input, element, kRows, width})) {
            for (const int32_t inHalves : {0, 1}) {
                const cuda::CodeBytes form{{0x03020100, 0x07060504, 0x0B0A0908, 0x0F0E0D0C}, inHalves};  // the codes themselves
                const DeviceArray<uint8_t> bytes = device->allocate<uint8_t>(kRows * width);
                coder.encode({input, element, kRows, width}, bytes.data(), sides.data(), &form);
                if (bytes.read() != asBytes(codes.read(), form)) {
                    return "rows of " + std::to_string(width) + " as bytes" + (inHalves != 0 ? " in halves" : "");
                }
            }
        }
    }
    return std::nullopt;
}

}  // namespace quantscope
