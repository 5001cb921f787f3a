#include <cmath>

#include "device/graph.h"
#include "device/self_test/definitions.h"
#include "device/self_test/groups.h"

namespace quantscope::selfTest {

/// Norms, elementwise ops, attention and moves of a block without weights, as one program.
std::optional<std::string> graph(const std::shared_ptr<Device>& device) {
    constexpr uint64_t kTokens = 37, kWidth = 48, kHeads = 2;
    const Shape rows{kTokens, kWidth}, angles{kTokens, kWidth / kHeads / 2};
    Program program;
    const auto buffer = [&](const Shape& shape) {
        program.buffers.push_back(shape);
        return static_cast<Buffer>(program.buffers.size() - 1);
    };
    const auto constant = [&](const Shape& shape, uint64_t seed) {
        const Buffer out = buffer(shape);
        program.ops.emplace_back(ConstantOp{gaussians(elementsOf(shape), seed), out});
        return out;
    };
    const auto add = [&](auto op, const Shape& shape) {
        op.out = buffer(shape);
        program.ops.emplace_back(op);
        return op.out;
    };
    const Buffer x = buffer(rows);
    program.inputs["x"] = x;
    const Buffer scale = constant({kWidth}, 11), shift = constant({kWidth}, 12), cos = constant(angles, 13), sin = constant(angles, 14);
    const Buffer y = add(ModulateOp{add(LayerNormOp{x, 1e-6, {}, {}, 0}, rows), shift, scale, 0}, rows);
    const Buffer q = add(RopeOp{y, cos, sin, kHeads, 0}, rows);
    const Buffer z = add(GateAddOp{x, scale, add(AttentionOp{q, q, y, kHeads, {}, 0}, rows), 0}, rows);
    const Buffer turned = add(PermuteOp{add(UnaryOp{UnaryKind::GeluTanh, z, 0}, rows), rows, {1, 0}, 0}, {kWidth, kTokens});
    program.outputs["y"] = add(BinaryOp{BinaryKind::Mul, turned, constant({kWidth, 1}, 15), 0}, {kWidth, kTokens});

    RunRequest request;
    request.inputs["x"] = gaussians(kTokens * kWidth, 16);
    const auto graph = std::make_shared<Graph>(std::move(program));
    ThreadPool pool(1);
    const Progress nobody = [](double) {};
    const std::vector<float> expected = graph->run(request, pool, Cancellation{}, nobody, scalarKernels()).outputs.at("y");
    for (const auto& [element, allowed] : {std::pair{cuda::Element::F32, 1e-5}, {cuda::Element::BF16, 3e-2}}) {
        const std::vector<float> found = DeviceGraph(device, graph, element, scalarKernels()).run(request, pool, Cancellation{}, nobody, scalarKernels()).outputs.at("y");
        double difference = 0;
        double all = 0;
        for (size_t i = 0; i < expected.size(); ++i) {
            difference += std::pow(static_cast<double>(found[i]) - expected[i], 2);
            all += std::pow(static_cast<double>(expected[i]), 2);
        }
        if (!(difference <= allowed * allowed * all)) {
            return std::string(element == cuda::Element::F32 ? "float32" : "bfloat16") + " activations";
        }
    }
    return std::nullopt;
}

}  // namespace quantscope::selfTest
