// Programs on the tested device beside the processor.
#pragma once

#include <bit>
#include <cmath>
#include <memory>

#include "device/graph.h"
#include "device_support.h"
#include "graph_support.h"

namespace quantscope::test {

/// To nearest, ties to even.
inline float throughBf16(float value) {
    const auto bits = std::bit_cast<uint32_t>(value);
    return value != value ? value : std::bit_cast<float>((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000u);
}
inline std::vector<float> throughBf16(std::vector<float> values) {
    for (float& value : values) {
        value = throughBf16(value);
    }
    return values;
}

/// A graph on the tested device with what a run needs.
class OnDevice {
public:
    OnDevice(const Program& program, cuda::Element element, uint64_t reserve = kDeviceReserve, unsigned threads = 2)
        : pool_(threads), program_(std::make_shared<Graph>(program)), graph_(testedDevice(), program_, element, kernels(), reserve) {}
    RunResult run(const RunRequest& request, const Cancellation& cancellation = {}, const Progress& progress = [](double) {}) {
        return graph_.run(request, pool_, cancellation, progress, kernels());
    }
    /// The same program on the processor.
    RunResult runThere(const RunRequest& request) {
        return program_->run(request, pool_, {}, [](double) {}, kernels());
    }
    std::vector<SecondMomentsFile> takeSecondMoments(const std::string& folder) {
        return program_->takeSecondMoments(folder, pool_, {}, [](double) {});
    }

private:
    ThreadPool pool_;
    std::shared_ptr<Graph> program_;
    DeviceGraph graph_;
};

/// sqrt(sum of squared differences / sum of squares).
inline double distance(const std::vector<float>& found, const std::vector<float>& expected) {
    double difference = 0;
    double all = 0;
    for (size_t i = 0; i < expected.size(); ++i) {
        const double d = static_cast<double>(found[i]) - expected[i];
        difference += d * d;
        all += static_cast<double>(expected[i]) * expected[i];
    }
    return std::sqrt(difference / all);
}

}  // namespace quantscope::test
