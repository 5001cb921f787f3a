// Attention on a device against the graph's op on the processor, which is made of products of another library (OpenBLAS) and another exponential.
#include <gtest/gtest.h>

#include <cmath>

#include "device_support.h"
#include "graph_support.h"

namespace quantscope {
namespace {

TEST(DeviceAttentionGraph, IsTheGraphsOp) {
    const auto device = test::testedDevice();
    for (const auto& [queries, keys, heads, width, biased] : {std::tuple<uint64_t, uint64_t, uint64_t, uint64_t, bool>{70, 130, 3, 40, true}, {5, 1, 1, 72, false}}) {
        test::Model model(queries);
        const Buffer q = model.input({queries, heads * width}), k = model.input({keys, heads * width}), v = model.input({keys, heads * width});
        const std::optional<Buffer> bias = biased ? std::optional(model.input({keys})) : std::nullopt;
        model.add(AttentionOp{q, k, v, heads, bias, 0}, {queries, heads * width});
        const auto expected = model.run();

        const auto onQ = device->upload(model.valuesOf(q)), onK = device->upload(model.valuesOf(k)), onV = device->upload(model.valuesOf(v));
        const auto onBias = device->upload(bias ? model.valuesOf(*bias) : std::vector<float>());
        const auto out = device->allocate<float>(queries * heads * width);
        const cuda::AttentionShape shape{cuda::Element::F32, heads, width, queries, keys};
        const cuda::AttentionRequest request{onQ.data(), heads * width, onK.data(), heads * width, onV.data(), heads * width, bias ? onBias.data() : nullptr, out.data(), heads * width};
        device->check(device->api().attention->run(device->context(), &shape, &request), "attention");
        const auto found = out.read();
        ASSERT_EQ(found.size(), expected.size());
        for (size_t i = 0; i < found.size(); ++i) {
            ASSERT_NEAR(found[i], expected[i], 5e-6) << i;  // values of about 1
        }
    }
}

}  // namespace
}  // namespace quantscope
