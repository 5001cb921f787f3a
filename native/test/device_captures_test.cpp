// What captures say of inputs on a device, and second moments added up there, beside the processor's.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "device/moments.h"
#include "device_graph_support.h"
#include "moments_support.h"
#include "support.h"

namespace quantscope {
namespace {

using cuda::Element;
using test::distance;
using test::Model;
using test::OnDevice;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

void expectMoments(const std::vector<float>& found, const std::vector<float>& expected, size_t width, double tolerance) {
    ASSERT_EQ(found.size(), expected.size());
    for (size_t i = 0; i < width; ++i) {
        for (size_t j = 0; j < width; ++j) {
            const double size = std::sqrt(double(expected[i * width + i]) * double(expected[j * width + j]));
            ASSERT_NEAR(found[i * width + j], expected[i * width + j], tolerance * size) << i << ", " << j;
        }
    }
}

std::vector<float> meanOf(MomentSums& sums) {
    std::vector<float> mean(sums.width() * sums.width());
    for (uint64_t i = 0; i < sums.width(); ++i) {
        sums.meanRow(i, mean.data() + i * sums.width());
    }
    return mean;
}

TEST(DeviceMoments, AreThoseOfTheProcessor) {
    const auto device = test::testedDevice();
    test::OneThread one;
    for (const auto& [rows, width] : {std::pair<size_t, size_t>{1, 1}, {37, 70}, {1100, 33}, {5, 130}, {3, 1100}}) {
        for (const bool bf16 : {false, true}) {
            auto x = test::correlated(rows, width, rows);
            if (rows > 4) {
                x[2 * width + width / 2] = kNaN;
                x[4 * width] = kInfinity;
            }
            std::vector<uint16_t> narrow;
            for (float& value : x) {
                narrow.push_back(static_cast<uint16_t>(std::bit_cast<uint32_t>(value) >> 16));
                value = bf16 ? std::bit_cast<float>(static_cast<uint32_t>(narrow.back()) << 16) : value;
            }
            SecondMoments twin(width);
            DeviceMoments moments(device, width);
            EXPECT_EQ(meanOf(moments), std::vector<float>(width * width)) << "nothing was added";
            const auto wide = device->upload(x);
            const auto packed = device->upload(narrow);
            for (int time = 0; time < 2; ++time) {
                twin.add(x.data(), rows, one.workers, scalarKernels());
                moments.add(bf16 ? DeviceRows{packed.data(), Element::BF16, rows, width} : DeviceRows{wide.data(), Element::F32, rows, width});
            }
            twin.add(x.data(), rows, one.workers, scalarKernels());
            moments.add(x.data(), rows, one.workers, scalarKernels());  // from the host
            EXPECT_EQ(moments.rows(), twin.rows());
            expectMoments(meanOf(moments), meanOf(twin), width, 1e-5);
        }
    }
}

/// Two layers that read one input, and one behind them. Inputs have outliers, a row of zeros, a NaN and infinities.
struct Layers {
    Layers(uint64_t rows, uint64_t width) : model(rows + width) {
        x = model.input({rows, width}, test::correlated(rows, width, rows));
        auto& values = model.valuesOf(x);
        if (rows > 8) {
            std::fill_n(values.begin() + static_cast<std::ptrdiff_t>(7 * width), width, 0.0f);
            values[2 * width + width / 2] = kNaN;
            values[8 * width] = kInfinity;
            values[8 * width + width - 1] = -kInfinity;
        }
        const Buffer y = model.add(LinearOp{"first", x, model.weight(24, width), {}, 0}, {rows, 24});
        model.add(LinearOp{"twin", x, model.weight(8, width), {}, 0}, {rows, 8});
        model.add(LinearOp{"last", y, model.weight(5, 24), {}, 0}, {rows, 5});
        model.program.outputs["y"] = y;
        model.request.capture = CaptureRequest{{"last", "first", "twin"}, 3, 24, 5};
    }
    Model model;
    Buffer x = 0;
};

void compare(const CapturedLayer& found, const CapturedLayer& expected, double tolerance) {
    SCOPED_TRACE(expected.name);
    EXPECT_EQ(found.name, expected.name);
    EXPECT_EQ(found.rows, expected.rows);
    EXPECT_EQ(found.width, expected.width);
    EXPECT_EQ(found.nonFinite, expected.nonFinite);
    EXPECT_EQ(found.sample.size(), expected.sample.size());
    for (size_t i = 0; i < found.sample.size(); ++i) {
        EXPECT_TRUE(found.sample[i] == expected.sample[i] || std::fabs(found.sample[i] - expected.sample[i]) <= tolerance * std::fabs(expected.sample[i]) + tolerance ||
                    std::isnan(expected.sample[i]))
            << i;
    }
    EXPECT_LE(distance(found.absMax, expected.absMax), tolerance);
    EXPECT_LE(distance(found.meanSquare, expected.meanSquare), tolerance);
    EXPECT_NEAR(found.rho, expected.rho, tolerance * expected.rho);
    test::compare(found.before, expected.before, "before");
    test::compare(found.after, expected.after, "after");
}

TEST(DeviceCaptures, DescribeInputsAsTheProcessorDoes) {
    for (const auto& [rows, width] : {std::pair<uint64_t, uint64_t>{41, 48}, {1, 7}, {70, 1152}, {133, 77}, {9, 3072}}) {
        SCOPED_TRACE(std::to_string(rows) + " x " + std::to_string(width));
        Layers layers(rows, width);
        for (const Element element : {Element::F32, Element::BF16}) {
            if (element == Element::BF16) {
                layers.model.valuesOf(layers.x) = test::throughBf16(layers.model.valuesOf(layers.x));
            }
            const auto expected = layers.model.runAll();
            const auto found = OnDevice(layers.model.program, element).run(layers.model.request);
            EXPECT_TRUE(found.device->processor.empty());
            ASSERT_EQ(found.captured.size(), 3u);
            compare(found.captured[1], expected.captured[1], 2e-5);  // inputs of the model: the same values on both sides
            compare(found.captured[2], expected.captured[2], 2e-5);
            EXPECT_LT(distance(found.captured[0].meanSquare, expected.captured[0].meanSquare), element == Element::F32 ? 2e-5 : 2e-2);
        }
    }
}

TEST(DeviceCaptures, OneLayerThatIsReadMoreThanOnce) {
    Model model;
    const Stored weight = model.weight(12, 40);
    for (const uint64_t rows : {37, 5}) {
        model.add(LinearOp{"shared", model.input({rows, 40}), weight, {}, 0}, {rows, 12});
    }
    model.request.capture = CaptureRequest{{"shared"}, 0, 16, 11, uint64_t{1} << 30};
    const auto expected = model.runAll();
    const auto found = OnDevice(model.program, Element::F32).run(model.request);
    compare(found.captured.at(0), expected.captured.at(0), 1e-6);
    EXPECT_EQ(found.captured[0].rows, 42u);
}

TEST(DeviceCaptures, WhatTheDeviceDoesNotTakeIsDescribedByTheProcessorAndNamed) {
    Model model;
    const Buffer x = model.input({3, 8192});
    model.add(LinearOp{"wide", x, model.weight(16, 8192), {}, 0}, {3, 16});
    model.request.capture = CaptureRequest{{"wide"}, 1, 16, 2};
    const auto expected = model.runAll();
    const auto found = OnDevice(model.program, Element::F32).run(model.request);
    EXPECT_EQ(found.device->processor, (std::vector<ProcessorOp>{{"wide", "has inputs that the processor describes: Hadamard blocks of 8192 are larger than 4096"}}));
    compare(found.captured.at(0), expected.captured.at(0), 1e-6);
}

/// Of the layers, by name.
std::map<std::string, test::MomentsFile> momentsOf(OnDevice& graph, const test::Folder& folder) {
    std::map<std::string, test::MomentsFile> found;
    for (const SecondMomentsFile& file : graph.takeSecondMoments(folder.path())) {
        found[file.layer] = test::readFile(file.file);
        EXPECT_EQ(file.rows % 2, 0u) << "two runs with the same rows";
    }
    return found;
}

TEST(DeviceCaptures, SecondMomentsAddUpOverRunsWhereverTheseAre) {
    const test::Folder folder;
    Layers layers(70, 96);
    layers.model.request.capture->secondMoments = uint64_t{1} << 30;
    OnDevice reference(layers.model.program, Element::F32);
    reference.runThere(layers.model.request);
    reference.runThere(layers.model.request);
    const auto expected = momentsOf(reference, folder);
    ASSERT_EQ(expected.size(), 3u);
    for (const auto& [first, second] : {std::pair{true, true}, {true, false}, {false, true}}) {
        OnDevice graph(layers.model.program, Element::F32);
        for (const bool here : {first, second}) {
            const auto result = here ? graph.run(layers.model.request) : graph.runThere(layers.model.request);
            EXPECT_EQ(here && !result.device->processor.empty(), here && !first) << "the processor goes on with what it began";
        }
        const auto found = momentsOf(graph, folder);
        EXPECT_TRUE(graph.takeSecondMoments(folder.path()).empty());
        for (const auto& [layer, file] : expected) {
            SCOPED_TRACE(layer);
            expectMoments(found.at(layer).values, file.values, layer == "last" ? 24 : 96, 2e-5);
        }
    }
}

TEST(DeviceCaptures, WeightsMakeRoomForSecondMoments) {
    Model model;
    const Buffer x = model.input({2, 1024});
    for (int i = 0; i < 8; ++i) {  // 2 MiB of weights each
        model.add(LinearOp{"layer " + std::to_string(i), x, model.weight(512, 1024), {}, 0}, {2, 512});
    }
    OnDevice graph(model.program, Element::F32, uint64_t{4} << 20);
    const auto rest = test::fill(test::testedDevice(), uint64_t{22} << 20);
    const auto before = graph.run(model.request);
    EXPECT_EQ(before.device->residentBytes, before.device->weightBytes);
    model.request.capture = CaptureRequest{{"layer 3"}, 0, 16, 0, uint64_t{1} << 30};  // 8 MiB of moments
    const auto found = graph.run(model.request);
    EXPECT_EQ(found.outputs, before.outputs);
    EXPECT_LT(found.device->residentBytes, found.device->weightBytes);
    const test::Folder folder;
    EXPECT_EQ(graph.takeSecondMoments(folder.path()).size(), 1u);
}

}  // namespace
}  // namespace quantscope
