#include <bit>
#include <cmath>

#include "base/rounding.h"
#include "device/self_test/definitions.h"
#include "device/self_test/groups.h"

namespace quantscope {

namespace {

constexpr size_t kHeads = 2;

/// Values as a device holds them: bfloat16 in the high halves, or float32.
struct Values {
    std::vector<float> floats;
    DeviceArray<uint8_t> onDevice;

    Values(Device& device, cuda::Element element, std::vector<float> values) : floats(std::move(values)) {
        std::vector<uint8_t> bytes;
        for (float& value : floats) {
            value = element == cuda::Element::BF16 ? static_cast<float>(roundTo(FloatType::Bf16, value)) : value;
            const auto bits = std::bit_cast<uint32_t>(value);
            for (int byte = element == cuda::Element::BF16 ? 2 : 0; byte < 4; ++byte) {
                bytes.push_back(static_cast<uint8_t>(bits >> (8 * byte)));
            }
        }
        onDevice = device.upload(bytes);
    }
};

std::optional<std::string> test(const std::shared_ptr<Device>& device, cuda::Element element, size_t width, size_t queries, size_t keys) {
    const cuda::AttentionShape shape{element, kHeads, width, queries, keys};
    const size_t all = kHeads * width;
    const Values q(*device, element, gaussians(queries * all, 1)), k(*device, element, gaussians(keys * all, 2)), v(*device, element, gaussians(keys * all, 3)),
        bias(*device, element, gaussians(keys, 4)), out(*device, element, std::vector<float>(queries * all));
    const cuda::AttentionRequest request{q.onDevice.data(), all, k.onDevice.data(), all, v.onDevice.data(), all, bias.onDevice.data(), out.onDevice.data(), all};
    device->check(device->api().attention->run(device->context(), &shape, &request), "attention");
    const std::vector<uint8_t> found = out.onDevice.read();
    const PlainAttention expected = attendPlainly(shape, {q.floats.data(), all}, {k.floats.data(), all}, {v.floats.data(), all}, bias.floats.data());
    const size_t each = found.size() / expected.out.size();
    for (size_t i = 0; i < expected.out.size(); ++i) {
        uint32_t bits = 0;
        for (size_t byte = 0; byte < each; ++byte) {
            bits |= static_cast<uint32_t>(found[i * each + byte]) << (8 * (byte + 4 - each));
        }
        const double allowed = element == cuda::Element::BF16 ? 0x1p-7 : 1e-5;  // probabilities are rounded to bfloat16, and results
        if (!(std::fabs(std::bit_cast<float>(bits) - expected.out[i]) <= allowed * expected.magnitude[i])) {
            return "heads of " + std::to_string(width) + (each == 2 ? " in bfloat16" : " in float32") + ", query " + std::to_string(i / all) + ", column " + std::to_string(i % all);
        }
    }
    return std::nullopt;
}

}  // namespace

std::optional<std::string> selfTest::attention(const std::shared_ptr<Device>& device) {
    // Kernels are made for widths, and one for an even number of tiles of queries. There are more tiles of keys than a kernel holds at once, and the last is
    // no whole one.
    constexpr struct {
        size_t width, queries;
    } kCases[] = {{64, 20}, {72, 20}, {80, 20}, {128, 20}, {128, 140}, {160, 20}};
    for (const auto& [width, queries] : kCases) {
        if (const auto wrong = test(device, cuda::Element::BF16, width, queries, 370)) {
            return wrong;
        }
    }
    return test(device, cuda::Element::F32, 72, 40, 70);
}

}  // namespace quantscope
