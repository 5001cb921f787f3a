// Every reason why CUDA is not used, and what is said of it.
#include "device/library.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "device/self_test.h"

namespace quantscope {
namespace {

class DeviceLibrary : public testing::Test {
protected:
    ~DeviceLibrary() override {
        ::unsetenv("QUANTSCOPE_CUDA_LIBRARY");
        ::unsetenv("QUANTSCOPE_FAKE_CUDA");
    }
    static void fake(const char* what) {
        ::setenv("QUANTSCOPE_CUDA_LIBRARY", QUANTSCOPE_FAKE_LIBRARY, 1);
        ::setenv("QUANTSCOPE_FAKE_CUDA", what, 1);
    }
    static CudaUnavailable refusal() {
        const auto opened = openCudaLibrary();
        if (const auto* why = std::get_if<CudaUnavailable>(&opened)) {
            return *why;
        }
        return findCudaDevices(*std::get<0>(opened)).unavailable.value_or(CudaUnavailable{CudaReason::NoLibrary, "nothing is wrong"});
    }
};

TEST_F(DeviceLibrary, EveryReasonHasAWord) {
    const struct {
        const char* fake;
        CudaReason reason;
        const char* part;
    } cases[] = {{"other-version", CudaReason::BadLibrary, "another version"}, {"no-driver", CudaReason::NoDriver, "no working NVIDIA driver"},
                 {"old-driver", CudaReason::OldDriver, "too old"},             {"no-device", CudaReason::NoDevice, "finds no device"},
                 {"old-device", CudaReason::OldDevice, "fake device: compute capability 7.0"}};
    for (const auto& [what, reason, part] : cases) {
        fake(what);
        const CudaUnavailable why = refusal();
        EXPECT_EQ(std::string(nameOf(why.reason)), nameOf(reason)) << what;
        EXPECT_NE(why.message.find(part), std::string::npos) << why.message;
    }
}

TEST_F(DeviceLibrary, ALibraryThatIsNotThere) {
    EXPECT_EQ(refusal().reason, CudaReason::NoLibrary);  // beside the tests there is none
    ::setenv("QUANTSCOPE_CUDA_LIBRARY", "/nowhere/libquantscope_cuda.so", 1);
    EXPECT_EQ(refusal().reason, CudaReason::NoLibrary);
    EXPECT_NE(refusal().message.find("/nowhere"), std::string::npos);
}

TEST_F(DeviceLibrary, AFileThatIsNoLibrary) {
    ::setenv("QUANTSCOPE_CUDA_LIBRARY", __FILE__, 1);
    EXPECT_EQ(refusal().reason, CudaReason::BadLibrary);
    EXPECT_NE(refusal().message.find("cannot be opened"), std::string::npos) << refusal().message;
}

TEST_F(DeviceLibrary, TheSelfTestFindsKernelsThatComputeSomethingElse) {
    fake("wrong");
    const auto opened = openCudaLibrary();
    const auto wrong = runSelfTests(std::get<0>(opened), 0);
    ASSERT_TRUE(wrong.has_value());
    EXPECT_NE(wrong->find("rotation computes something else than the processor"), std::string::npos) << *wrong;
}

}  // namespace
}  // namespace quantscope
