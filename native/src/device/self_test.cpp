#include "device/self_test.h"

#include <numeric>

#include "device/self_test/groups.h"

namespace quantscope {

namespace {

std::optional<std::string> testMemory(const std::shared_ptr<Device>& device) {
    std::vector<uint32_t> values(100003);
    std::iota(values.begin(), values.end(), 1u);
    if (device->upload(values).read() != values) {
        return "what was copied to the device and back is not what it was";
    }
    return std::nullopt;
}

}  // namespace

const std::vector<SelfTest>& selfTests() {
    static const std::vector<SelfTest> tests{{"memory", testMemory},
                                             {"rotation", selfTest::rotation},
                                             {"small floats", selfTest::smallFloats},
                                             {"statistics", selfTest::statistics},
                                             {"linear", selfTest::linear},
                                             {"solver", selfTest::solver},
                                             {"attention", selfTest::attention},
                                             {"graph", selfTest::graph}};
    return tests;
}

std::optional<std::string> runSelfTests(const std::shared_ptr<const CudaLibrary>& library, int32_t number) {
    try {
        const auto device = Device::open(library, number);
        for (const SelfTest& test : selfTests()) {
            if (const auto wrong = test.run(device)) {
                return std::string(test.group) + " computes something else than the processor: " + *wrong;
            }
        }
    } catch (const Error& error) {
        return error.what();
    }
    return std::nullopt;
}

}  // namespace quantscope
