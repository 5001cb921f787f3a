// Small programs with random data, and plain loops in double precision to hold them to.
#pragma once

#include <memory>

#include "graph/graph.h"
#include "support.h"

namespace quantscope::test {

/// A program in the making. Every tensor is a file of its own.
class Model {
public:
    explicit Model(uint64_t seed = 1) : random_(seed) {}

    Buffer buffer(Shape shape) {
        program.buffers.push_back(std::move(shape));
        return static_cast<Buffer>(program.buffers.size() - 1);
    }

    /// An input of Gaussian numbers, or of these.
    Buffer input(Shape shape, std::vector<float> values = {}) {
        if (values.empty()) {
            values = random_.floats(elementsOf(shape));
        }
        const Buffer id = buffer(std::move(shape));
        const std::string name = "x" + std::to_string(id);
        program.inputs[name] = id;
        request.inputs[name] = std::move(values);
        return id;
    }
    std::vector<float>& valuesOf(Buffer input) { return request.inputs.at("x" + std::to_string(input)); }

    Stored tensor(Shape shape, std::vector<float> values = {}) {
        if (values.empty()) {
            values = random_.floats(elementsOf(shape));
        }
        files_.push_back(std::make_unique<TemporaryFile>(bytesOf(values)));
        return {tensorIn(*files_.back(), Dtype::F32, std::move(shape)), nullptr};
    }
    /// A weight [outputs, inputs] that keeps the size of what it multiplies.
    Stored weight(uint64_t outputs, uint64_t inputs) {
        std::vector<float> values = random_.floats(outputs * inputs);
        for (float& value : values) {
            value /= std::sqrt(static_cast<float>(inputs));
        }
        return tensor({outputs, inputs}, std::move(values));
    }
    /// What tensor() without values wrote.
    std::vector<float> valuesOf(const Stored& stored) const {
        std::ifstream in(stored.ref.file, std::ios::binary);
        std::vector<float> values(elementsOf(stored.ref.shape));
        in.read(reinterpret_cast<char*>(values.data()), static_cast<std::streamsize>(values.size() * sizeof(float)));
        return values;
    }

    /// Adds the op; its out is a new buffer of this shape, and so far the program's output.
    template <class OpType>
    Buffer add(OpType op, Shape shape) {
        op.out = buffer(std::move(shape));
        const Buffer out = op.out;
        program.ops.push_back(std::move(op));
        program.outputs = {{"y", out}};
        return out;
    }

    RunResult runAll(unsigned threads = 2, const Kernels& level = kernels()) {
        Graph graph(program);
        return runOn(graph, threads, level);
    }
    RunResult runOn(Graph& graph, unsigned threads = 2, const Kernels& level = kernels()) {
        ThreadPool pool(threads);
        return graph.run(request, pool, Cancellation{}, [](double) {}, level);
    }
    std::vector<float> run(unsigned threads = 2, const Kernels& level = kernels()) {
        return runAll(threads, level).outputs.at("y");
    }

    Program program;
    RunRequest request;

private:
    Gaussian random_;
    std::vector<std::unique_ptr<TemporaryFile>> files_;
};

/// |found - expected| <= tolerance (1 + |expected|) everywhere.
inline void expectClose(const std::vector<float>& found, const std::vector<double>& expected, double tolerance = 2e-6) {
    ASSERT_EQ(found.size(), expected.size());
    for (size_t i = 0; i < found.size(); ++i) {
        ASSERT_NEAR(found[i], expected[i], tolerance * (1 + std::fabs(expected[i]))) << "at " << i;
    }
}

/// Sizes that are no multiple of anything.
inline const Shape kOddRows[] = {{1, 1}, {1, 7}, {5, 33}, {37, 129}, {301, 96}};

/// A network with every op of a transformer block, so that a difference anywhere shows.
inline void buildBlock(Model& model, uint64_t tokens, uint64_t width, uint64_t heads) {
    const Buffer x = model.input({tokens, width});
    const Buffer t = model.input({1}, {311.0f});
    const Buffer cos = model.input({tokens, width / heads / 2});
    const Buffer sin = model.input({tokens, width / heads / 2});
    const auto linear = [&](const std::string& name, Buffer from, Shape shape, uint64_t inputs) {
        return model.add(LinearOp{name, from, model.weight(shape.back(), inputs), model.tensor({shape.back()}), 0}, shape);
    };
    const Buffer c = linear(
        "modulation", model.add(UnaryOp{UnaryKind::Silu, model.add(TimestepOp{t, 64, 0, 1, 0}, {64}), 0}, {64}), {3 * width}, 64);
    const auto chunk = [&](uint64_t i) { return model.add(SliceOp{c, 0, i * width, (i + 1) * width, 0}, {width}); };
    const Buffer y = model.add(ModulateOp{model.add(LayerNormOp{x, 1e-6, {}, {}, 0}, {tokens, width}), chunk(0), chunk(1), 0},
                               {tokens, width});
    const Buffer q = model.add(RopeOp{linear("q", y, {tokens, width}, width), cos, sin, heads, 0}, {tokens, width});
    const Buffer k = model.add(RopeOp{linear("k", y, {tokens, width}, width), cos, sin, heads, 0}, {tokens, width});
    const Buffer o = model.add(AttentionOp{q, k, linear("v", y, {tokens, width}, width), heads, {}, 0}, {tokens, width});
    const Buffer z = model.add(GateAddOp{x, chunk(2), linear("out", o, {tokens, width}, width), 0}, {tokens, width});
    const Buffer up =
        model.add(UnaryOp{UnaryKind::GeluTanh, linear("up", z, {tokens, 4 * width}, width), 0}, {tokens, 4 * width});
    model.add(BinaryOp{BinaryKind::Add, z, linear("down", up, {tokens, width}, 4 * width), 0}, {tokens, width});
}

}  // namespace quantscope::test
