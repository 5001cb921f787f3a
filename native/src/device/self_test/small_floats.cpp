#include "cpu/kernels.h"
#include "device/self_test/definitions.h"
#include "device/self_test/groups.h"
#include "device/small_floats.h"
#include "quantizer/row_codec.h"
#include "tensor/decode.h"

namespace quantscope {

std::optional<std::string> selfTest::smallFloats(const std::shared_ptr<Device>& device) {
    constexpr size_t kRows = 5, kWidth = 1152;
    const std::vector<float> x = gaussians(kRows * kWidth, 17);
    const DeviceArray<float> input = device->upload(x);
    const DeviceArray<uint16_t> y = device->allocate<uint16_t>(kRows * kWidth);
    for (const FloatQuantizer& quantizer : {FloatQuantizer{FloatFormat::Nvfp4, Granularity::Group, 16}, FloatQuantizer{FloatFormat::Mxfp8, Granularity::Group, 32},
                                            FloatQuantizer{FloatFormat::Fp8, Granularity::Row, 0}}) {
        DeviceSmallFloats(device, quantizer, kWidth).round({input.data(), cuda::Element::F32, kRows, kWidth}, y.data());
        const std::vector<uint16_t> found = y.read();
        TensorRange range;
        for (size_t i = 0; i < kRows; ++i) {
            observe(quantizer, x.data() + i * kWidth, kWidth, 0, scalarKernels(), range);
        }
        const RowCodec codec(quantizer, kWidth, range, scalarKernels());
        std::vector<uint8_t> codes(kWidth);
        std::vector<float> sides(codec.sides()), row(kWidth);
        for (size_t i = 0; i < kRows; ++i) {
            codec.encode(x.data() + i * kWidth, codes.data(), sides.data());
            codec.decode(codes.data(), sides.data(), row.data());
            castRow(FloatType::Bf16, row.data(), kWidth);
            for (size_t k = 0; k < kWidth; ++k) {
                if (decodeBF16(found[i * kWidth + k]) != row[k]) {
                    return "row " + std::to_string(i) + ", value " + std::to_string(k) + " is " + std::to_string(decodeBF16(found[i * kWidth + k])) + ", not " + std::to_string(row[k]);
                }
            }
        }
    }
    return std::nullopt;
}

}  // namespace quantscope
