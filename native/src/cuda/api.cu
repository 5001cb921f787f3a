// The table, and the messages of what failed.
#include "cuda/context.cuh"

namespace quantscope::cuda {

namespace {

std::string& message() {
    thread_local std::string text;
    return text;
}

}  // namespace

Status fail(Status status, const std::string& text) {
    message() = text;
    return status;
}

const char* lastMessage() { return message().c_str(); }

}  // namespace quantscope::cuda

extern "C" __attribute__((visibility("default"))) const quantscope::cuda::Api* quantscope_cuda_api(uint32_t version) {
    using namespace quantscope::cuda;
#ifdef QUANTSCOPE_CUDA_EMULATION
    constexpr int32_t kEmulated = 1;
#else
    constexpr int32_t kEmulated = 0;
#endif
    static const Api table{kApiVersion, kEmulated, lastMessage, &deviceCalls(), &rotateCalls(), &linearCalls(),
                           &solverCalls(), &statisticsCalls(), &attentionCalls(), &opCalls(), &smallFloatCalls()};
    return version == kApiVersion ? &table : nullptr;
}
