// What kernels reach on the device that is there, against copy bandwidth and bfloat16 products measured in the same run. Needs nothing but the CUDA library
// (native/test/gpu.sh builds and runs it). Lines: name, best of several times, rate, ratio. With arguments only lines whose names contain one of them.
#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <variant>
#include <vector>

#include "base/random.h"
#include "device/coder.h"
#include "device/device.h"
#include "device/library.h"
#include "device_attention.h"
#include "device_forward.h"
#include "device_linears.h"
#include "device_ops.h"
#include "device_statistics.h"
#include "selection.h"
#include "rotation/rpbh.h"

using namespace quantscope;

namespace {

/// Milliseconds of one round, the best of `turns` after one that warms up.
double best(const Device& device, int turns, int rounds, const std::function<void()>& work) {
    work();
    device.synchronise();
    double least = 1e30;
    for (int turn = 0; turn < turns; ++turn) {
        device.check(device.calls().startTimer(device.context()), "timing");
        for (int round = 0; round < rounds; ++round) {
            work();
        }
        float milliseconds = 0;
        device.check(device.calls().stopTimer(device.context(), &milliseconds), "timing");
        least = std::min(least, static_cast<double>(milliseconds) / rounds);
    }
    return least;
}

void line(const std::string& name, double milliseconds, double rate, const char* unit, double ratio, const char* of) {
    std::printf("BENCH %-64s %10.4f ms %9.1f %-6s %5.2f x %s\n", name.c_str(), milliseconds, rate, unit, ratio, of);
}

void rotateAndQuantize(const std::shared_ptr<Device>& device, double copyRate, uint64_t bytes, int turns) {
    const struct {
        const char* name;
        Quantizer quantizer;
    } quantizers[] = {{"codebook 4 bit", CodebookQuantizer{4}}, {"int4 groups of 128", IntQuantizer{4, true, Granularity::Group, 128}}, {"int8 per row", IntQuantizer{8}}};
    for (const uint64_t width : {1152, 1536, 2560, 3072, 4608, 5120, 12288, 15360}) {
        const uint64_t rows = std::max<uint64_t>(bytes / (2 * width), 1);
        SplitMix64 random(width);
        std::vector<uint16_t> values(std::min<uint64_t>(rows, 61) * width);
        for (uint16_t& value : values) {
            value = static_cast<uint16_t>(std::bit_cast<uint32_t>(static_cast<float>(random.uniform() + random.uniform() - 1)) >> 16);
        }
        DeviceArray<uint16_t> x = device->allocate<uint16_t>(rows * width);
        device->check(device->calls().upload(device->context(), x.data(), values.data(), values.size() * 2), "filling");
        for (uint64_t filled = values.size(); filled < rows * width; filled *= 2) {  // all rows: those of zeros are no work, or more
            device->check(device->calls().copy(device->context(), x.data() + filled, x.data(), std::min(filled, rows * width - filled) * 2), "filling");
        }
        device->synchronise();
        const auto rotation = rotationFor(width, 1);
        for (const auto& [kind, quantizer] : quantizers) {
            const std::string name = "rotate + " + std::string(kind) + ", width " + std::to_string(width) + ", block " + std::to_string(rotation->block());
            if (!bench::wanted(name)) {
                continue;
            }
            const DeviceCoder coder(device, quantizer, width, rotation.get());
            DeviceArray<uint8_t> codes = device->allocate<uint8_t>(rows * coder.rowBytes());
            DeviceArray<float> sides = device->allocate<float>(rows * coder.sides());
            const double ms = best(*device, turns, 5, [&] { coder.encode({x.data(), cuda::Element::BF16, rows, width}, codes.data(), sides.data()); });
            const double moved = static_cast<double>(rows) * (2.0 * static_cast<double>(width) + static_cast<double>(coder.rowBytes()) + 4.0 * static_cast<double>(coder.sides()));
            const double rate = moved / ms / 1e6;
            line(name, ms, rate, "GB/s", rate / copyRate, "copy");
        }
    }
}

}  // namespace

int main(int count, char** arguments) {
    bench::selection.assign(arguments + 1, arguments + count);
    const auto opened = openCudaLibrary();
    if (const auto* why = std::get_if<CudaUnavailable>(&opened)) {
        std::printf("No benchmark: %s\n", why->message.c_str());
        return 1;
    }
    const auto& library = std::get<0>(opened);
    const CudaDevices found = findCudaDevices(*library);
    if (!found.first) {
        std::printf("No benchmark: %s\n", found.unavailable->message.c_str());
        return 1;
    }
    try {
        const auto device = Device::open(library, *found.first);
        const bool emulated = library->api().emulated != 0;  // its times say nothing; it runs so that this program is tested
        const uint64_t bytes = emulated ? uint64_t{1} << 17 : uint64_t{1} << 28;
        const int turns = emulated ? 1 : 7;
        std::printf("BENCH device: %s, compute capability %d.%d, %d multiprocessors\n", device->description().name, device->description().major,
                    device->description().minor, device->description().multiprocessors);
        double copyRate = 0;
        {
            DeviceArray<std::byte> from = device->allocate<std::byte>(bytes);
            DeviceArray<std::byte> to = device->allocate<std::byte>(bytes);
            from.clear();
            const double ms = best(*device, turns, 5, [&] { device->check(device->calls().copy(device->context(), to.data(), from.data(), bytes), "copying"); });
            copyRate = 2.0 * static_cast<double>(bytes) / ms / 1e6;
            line("copy on the device, " + std::to_string(bytes >> 20) + " MiB, read and written", ms, copyRate, "GB/s", 1.0, "copy");
        }
        rotateAndQuantize(device, copyRate, bytes, turns);
        const bench::Best bestOf = [&](const std::function<void()>& work) { return best(*device, turns, emulated ? 1 : 5, work); };
        bench::weightDiagnostics(device, bytes / 2, copyRate, bestOf, line);  // more than the caches of large devices hold
        bench::ops(device, emulated, copyRate, bestOf, line);
        const bench::Bf16Rate products = bench::linears(device, emulated, bestOf, line);
        bench::secondMoments(device, emulated, products, bestOf, line);
        bench::attention(device, emulated, products, bestOf, line);
        bench::forward(device, emulated, line);
    } catch (const Error& error) {
        std::printf("The benchmark failed: %s\n", error.what());
        return 1;
    }
    return 0;
}
