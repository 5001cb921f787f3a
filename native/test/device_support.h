// Tests of the CUDA library, opened as the engine opens it: the emulated one, or the one that QUANTSCOPE_CUDA_LIBRARY names.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "base/workers.h"
#include "device/device.h"
#include "device/library.h"
#include "stats/marginal.h"
#include "support.h"

namespace quantscope::test {

inline std::shared_ptr<const CudaLibrary> testedLibrary() {
#ifdef QUANTSCOPE_EMULATED_LIBRARY
    ::setenv("QUANTSCOPE_CUDA_LIBRARY", QUANTSCOPE_EMULATED_LIBRARY, 0);
    ::setenv("QUANTSCOPE_EMULATED_MEMORY", "268435456", 0);
#endif
    const auto opened = openCudaLibrary();
    if (const auto* unavailable = std::get_if<CudaUnavailable>(&opened)) {
        ADD_FAILURE() << unavailable->message;
        std::abort();
    }
    return std::get<0>(opened);
}

/// The first usable device, opened once.
inline std::shared_ptr<Device> testedDevice() {
    static const std::shared_ptr<Device> device = Device::open(testedLibrary(), findCudaDevices(*testedLibrary()).first.value());
    return device;
}

/// Takes the device's memory but about `left` bytes: in pieces, since what is free need not be in one.
inline std::vector<DeviceArray<std::byte>> fill(const std::shared_ptr<Device>& device, uint64_t left) {
    std::vector<DeviceArray<std::byte>> pieces;
    constexpr uint64_t kLeast = uint64_t{2} << 20;  // what a driver gives out at least
    for (uint64_t piece = device->freeBytes(); piece >= kLeast && device->freeBytes() > left;) {
        piece = std::min(piece, device->freeBytes() - left);
        try {
            pieces.push_back(device->allocate<std::byte>(piece));
        } catch (const DeviceError&) {
            piece /= 2;
        }
    }
    return pieces;
}

/// A marginal measured on the device against the processor's.
inline void compare(const Marginal& found, const Marginal& expected, const char* which) {
    SCOPED_TRACE(which);
    EXPECT_NEAR(found.ks, expected.ks, 2e-4);
    EXPECT_NEAR(found.wasserstein1, expected.wasserstein1, 1e-5);
    EXPECT_NEAR(found.excessKurtosis, expected.excessKurtosis, 1e-4 * (1 + std::fabs(expected.excessKurtosis)));
    EXPECT_NEAR(found.maxAbs, expected.maxAbs, 1e-5 * expected.maxAbs);
    ASSERT_EQ(found.histogram.counts.size(), expected.histogram.counts.size());
    uint64_t moved = 0;
    for (size_t i = 0; i < expected.histogram.counts.size(); ++i) {
        const uint64_t a = found.histogram.counts[i];
        const uint64_t b = expected.histogram.counts[i];
        moved += a > b ? a - b : b - a;
    }
    const auto& counts = expected.histogram.counts;
    const uint64_t total = std::accumulate(counts.begin(), counts.end(), uint64_t{0});
    EXPECT_EQ(std::accumulate(found.histogram.counts.begin(), found.histogram.counts.end(), uint64_t{0}), total);
    EXPECT_LE(moved, 4 + total / 500);  // values at the edge of a bin may fall to either side
}

/// As many bytes are free as before; others may use a real device, too.
inline void expectFreeAgain(const Device& device, uint64_t before) {
    if (device.api().emulated != 0) {
        EXPECT_EQ(device.freeBytes(), before);
    } else {
        EXPECT_GE(device.freeBytes() + (uint64_t{64} << 20), before);
    }
}

/// What functions take that share their work, with nobody to share it.
struct OneThread {
    ThreadPool pool{1};
    Cancellation cancellation;
    Progress progress = [](double) {};
    Workers workers{pool, cancellation, progress, 1};
};

/// Rows whose channels correlate; one channel in seven is far larger, and channel 3 is always zero.
inline std::vector<float> correlated(size_t rows, size_t width, uint64_t seed) {
    Gaussian random(seed);
    std::vector<float> x(rows * width);
    for (size_t i = 0; i < rows; ++i) {
        double carried = 0;
        for (size_t j = 0; j < width; ++j) {
            carried = 0.7 * carried + random();
            x[i * width + j] = j == 3 ? 0.0f : static_cast<float>(carried * (j % 7 == 2 ? 9 : 1));
        }
    }
    return x;
}

}  // namespace quantscope::test
