// Programs and requests that make no sense: each ends in a message that names the place, none in a crash.
#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "base/error.h"
#include "graph_support.h"

namespace quantscope {
namespace {

using test::expectError;
using test::Model;

/// A program with one op that is wrong. `build` adds it and returns nothing; x is [4, 6].
void expectRefused(const std::string& part, const std::function<void(Model&, Buffer)>& build) {
    Model model;
    const Buffer x = model.input({4, 6});
    build(model, x);
    expectError(ErrorCode::Argument, part, [&] { Graph graph(model.program); });
}

TEST(GraphErrors, Buffers) {
    expectRefused("op 0 (unary): x: there is no buffer 99",
                  [](Model& m, Buffer) { m.add(UnaryOp{UnaryKind::Silu, 99, 0}, {4, 6}); });
    expectRefused("op 0 (unary): x: buffer 1 is read before it is written",
                  [](Model& m, Buffer) { m.add(UnaryOp{UnaryKind::Silu, 1, 0}, {4, 6}); });
    expectRefused("op 1 (unary): out: buffer 1 is written a second time", [](Model& m, Buffer x) {
        m.add(UnaryOp{UnaryKind::Silu, x, 0}, {4, 6});
        m.program.ops.push_back(UnaryOp{UnaryKind::Silu, x, 1});
    });
    expectRefused("out: buffer 0 is written a second time",
                  [](Model& m, Buffer x) { m.program.ops.push_back(UnaryOp{UnaryKind::Silu, x, x}); });
    expectRefused("out: there is no buffer 7",
                  [](Model& m, Buffer x) { m.program.ops.push_back(UnaryOp{UnaryKind::Silu, x, 7}); });
    expectRefused("output \"y\": no op writes buffer 1", [](Model& m, Buffer) { m.program.outputs = {{"y", m.buffer({1})}}; });
    expectRefused("output \"y\": there is no buffer 12", [](Model& m, Buffer) { m.program.outputs = {{"y", 12}}; });
    expectRefused("it has no outputs", [](Model&, Buffer) {});
    expectRefused("input \"z\": there is no buffer 5", [](Model& m, Buffer) { m.program.inputs["z"] = 5; });
    expectRefused("input \"z\": buffer 0 is an input already", [](Model& m, Buffer) { m.program.inputs["z"] = 0; });
    expectRefused("buffer 1 has the shape [0, 3]", [](Model& m, Buffer) { m.buffer({0, 3}); });
    expectRefused("at most 2^40 values", [](Model& m, Buffer) { m.buffer({1u << 30, 1u << 30, 1u << 30}); });
    expectRefused("at most 2^40 values", [](Model& m, Buffer) { m.buffer(Shape(17, 1)); });
}

TEST(GraphErrors, TooLargeForThisMachine) {
    Model model;
    const Buffer x = model.input({1});
    model.add(BinaryOp{BinaryKind::Add, x, model.input({1u << 20, 1u << 20}, {0.0f}), 0}, {1u << 20, 1u << 20});
    expectError(ErrorCode::Memory, "MiB for its activations", [&] { Graph graph(model.program); });
}

TEST(GraphErrors, ShapesOfEveryOp) {
    expectRefused("op 0 (linear a.b): x is [4, 6], the weight [3, 5] takes 5 features",
                  [](Model& m, Buffer x) { m.add(LinearOp{"a.b", x, m.tensor({3, 5}), {}, 0}, {4, 3}); });
    expectRefused("weight: expected [4, in], found [3, 6]",
                  [](Model& m, Buffer x) { m.add(LinearOp{"a", x, m.tensor({3, 6}), {}, 0}, {4, 4}); });
    expectRefused("out is [5, 3], expected [4, 3]",
                  [](Model& m, Buffer x) { m.add(LinearOp{"a", x, m.tensor({3, 6}), {}, 0}, {5, 3}); });
    expectRefused("weight: expected [1, in]",
                  [](Model& m, Buffer x) { m.add(LinearOp{"a", x, m.tensor({6}), {}, 0}, {4, 1}); });
    expectRefused("bias has 2 values in the shape [2], expected 3",
                  [](Model& m, Buffer x) { m.add(LinearOp{"a", x, m.tensor({3, 6}), m.tensor({2}), 0}, {4, 3}); });
    expectRefused("another linear of this name takes 6 features", [](Model& m, Buffer x) {
        const Buffer y = m.add(LinearOp{"a", x, m.tensor({3, 6}), {}, 0}, {4, 3});
        m.add(LinearOp{"a", y, m.tensor({3, 3}), {}, 0}, {4, 3});
    });
    expectRefused("op 0 (constant): data has 2 values, its buffer 3",
                  [](Model& m, Buffer) { m.add(ConstantOp{{1, 2}, 0}, {3}); });
    expectRefused("op 0 (tensor): tensor has 6 values", [](Model& m, Buffer) { m.add(TensorOp{m.tensor({2, 3}), 0}, {7}); });
    expectRefused("op 0 (row): table: expected [rows, width]",
                  [](Model& m, Buffer x) { m.add(RowOp{m.tensor({6}), x, 0}, {6}); });
    expectRefused("index: expected one value", [](Model& m, Buffer x) { m.add(RowOp{m.tensor({6, 2}), x, 0}, {2}); });
    expectRefused("rows of the table have 2 values",
                  [](Model& m, Buffer) { m.add(RowOp{m.tensor({6, 2}), m.input({1}), 0}, {3}); });
    expectRefused("op 0 (timestep): t: expected one value", [](Model& m, Buffer x) { m.add(TimestepOp{x, 8, 0, 1, 0}, {8}); });
    expectRefused("dim: expected an even number", [](Model& m, Buffer) { m.add(TimestepOp{m.input({1}), 7, 0, 1, 0}, {7}); });
    expectRefused("shift: expected less", [](Model& m, Buffer) { m.add(TimestepOp{m.input({1}), 8, 4, 1, 0}, {8}); });
    expectRefused("out is [9], dim is 8", [](Model& m, Buffer) { m.add(TimestepOp{m.input({1}), 8, 0, 1, 0}, {9}); });
    expectRefused("op 0 (layernorm): eps", [](Model& m, Buffer x) { m.add(LayerNormOp{x, 0, {}, {}, 0}, {4, 6}); });
    expectRefused("weight has 5 values", [](Model& m, Buffer x) { m.add(LayerNormOp{x, 1e-6, m.tensor({5}), {}, 0}, {4, 6}); });
    expectRefused("out is [6, 4], x is [4, 6]", [](Model& m, Buffer x) { m.add(LayerNormOp{x, 1e-6, {}, {}, 0}, {6, 4}); });
    expectRefused("op 0 (rmsnorm): weight has 4 values",
                  [](Model& m, Buffer x) { m.add(RmsNormOp{x, 1e-6, m.tensor({4}), 0}, {4, 6}); });
    expectRefused("op 0 (groupnorm): groups: 3 does not divide 4",
                  [](Model& m, Buffer x) { m.add(GroupNormOp{x, 3, 1e-6, m.tensor({4}), m.tensor({4}), 0}, {4, 6}); });
    expectRefused("groups: 0",
                  [](Model& m, Buffer x) { m.add(GroupNormOp{x, 0, 1e-6, m.tensor({4}), m.tensor({4}), 0}, {4, 6}); });
    expectRefused("op 0 (channelnorm): weight has 6 values",
                  [](Model& m, Buffer x) { m.add(ChannelNormOp{x, m.tensor({6}), 0}, {4, 6}); });
    expectRefused("op 0 (modulate): shift is [4], expected 6 values",
                  [](Model& m, Buffer x) { m.add(ModulateOp{x, m.input({4}), m.input({6}), 0}, {4, 6}); });
    expectRefused("op 0 (gateAdd): y is [6], x is [4, 6]",
                  [](Model& m, Buffer x) { m.add(GateAddOp{x, m.input({6}), m.input({6}), 0}, {4, 6}); });
    expectRefused("op 0 (binary): a is [4, 6], b is [4]",
                  [](Model& m, Buffer x) { m.add(BinaryOp{BinaryKind::Add, x, m.input({4}), 0}, {4, 6}); });
    expectRefused("a and b broadcast to [4, 6]",
                  [](Model& m, Buffer x) { m.add(BinaryOp{BinaryKind::Add, x, x, 0}, {1, 4, 6}); });
    expectRefused("op 0 (affine): low", [](Model& m, Buffer x) { m.add(AffineOp{x, 1, 0, 2.0, 1.0, 0}, {4, 6}); });
    expectRefused("mul and add",
                  [](Model& m, Buffer x) { m.add(AffineOp{x, std::numeric_limits<double>::quiet_NaN(), 0, {}, {}, 0}, {4, 6}); });
    expectRefused("op 0 (attention): heads: 6 columns do not split into 4",
                  [](Model& m, Buffer x) { m.add(AttentionOp{x, x, x, 4, {}, 0}, {4, 6}); });
    expectRefused("heads: 6 columns do not split into 0",
                  [](Model& m, Buffer x) { m.add(AttentionOp{x, x, x, 0, {}, 0}, {4, 6}); });
    expectRefused("expected q [T, width]",
                  [](Model& m, Buffer x) { m.add(AttentionOp{x, m.input({4, 5}), x, 2, {}, 0}, {4, 6}); });
    expectRefused("bias is [3]", [](Model& m, Buffer x) { m.add(AttentionOp{x, x, x, 2, m.input({3}), 0}, {4, 6}); });
    expectRefused("op 0 (rope): cos is [4, 1], expected [4, 3]",
                  [](Model& m, Buffer x) { m.add(RopeOp{x, m.input({4, 1}), m.input({4, 3}), 1, 0}, {4, 6}); });
    expectRefused("heads of even width", [](Model& m, Buffer x) { m.add(RopeOp{x, x, x, 2, 0}, {4, 6}); });
    expectRefused("op 0 (permute): shape: x is [4, 6], which cannot be viewed as [5, 5]",
                  [](Model& m, Buffer x) { m.add(PermuteOp{x, {5, 5}, {0, 1}, 0}, {24}); });
    expectRefused("cannot be viewed", [](Model& m, Buffer x) {
        m.add(PermuteOp{x, {uint64_t{1} << 32, uint64_t{1} << 32, 24}, {0, 1, 2}, 0}, {24});
    });
    expectRefused("cannot be viewed", [](Model& m, Buffer x) { m.add(PermuteOp{x, {0, 24}, {0, 1}, 0}, {24}); });
    expectRefused("axes: expected every axis", [](Model& m, Buffer x) { m.add(PermuteOp{x, {4, 6}, {1, 1}, 0}, {24}); });
    expectRefused("axes: expected every axis", [](Model& m, Buffer x) { m.add(PermuteOp{x, {4, 6}, {1}, 0}, {24}); });
    expectRefused("op 0 (slice): axis", [](Model& m, Buffer x) { m.add(SliceOp{x, 2, 0, 1, 0}, {4, 1}); });
    expectRefused("range: 3 to 7", [](Model& m, Buffer x) { m.add(SliceOp{x, 1, 3, 7, 0}, {4, 4}); });
    expectRefused("range: 3 to 3", [](Model& m, Buffer x) { m.add(SliceOp{x, 1, 3, 3, 0}, {4, 1}); });
    expectRefused("out is [4, 3], expected [4, 2]", [](Model& m, Buffer x) { m.add(SliceOp{x, 1, 3, 5, 0}, {4, 3}); });
    expectRefused("op 0 (concat): xs: expected at least one", [](Model& m, Buffer) { m.add(ConcatOp{{}, 0, 0}, {1}); });
    expectRefused("xs[1] is [4, 5]", [](Model& m, Buffer x) { m.add(ConcatOp{{x, m.input({4, 5})}, 0, 0}, {8, 6}); });
    expectRefused("xs[1] is [6]", [](Model& m, Buffer x) { m.add(ConcatOp{{x, m.input({6})}, 1, 0}, {4, 7}); });
    expectRefused("op 0 (resize): out is [8]", [](Model& m, Buffer x) { m.add(ResizeOp{x, 0}, {8}); });
    expectRefused("op 0 (conv): x: expected [C, H, W]",
                  [](Model& m, Buffer x) { m.add(ConvOp{x, m.tensor({2, 4, 3, 3}), {}, 0}, {2, 6}); });
    expectRefused("does not fit x",
                  [](Model& m, Buffer) { m.add(ConvOp{m.input({3, 5, 5}), m.tensor({2, 4, 3, 3}), {}, 0}, {2, 5, 5}); });
    expectRefused("must be odd",
                  [](Model& m, Buffer) { m.add(ConvOp{m.input({3, 5, 5}), m.tensor({2, 3, 2, 3}), {}, 0}, {2, 5, 5}); });
    expectRefused("x has 2 frames, the kernel takes 3",
                  [](Model& m, Buffer) { m.add(ConvOp{m.input({3, 2, 5, 5}), m.tensor({2, 3, 3, 3, 3}), {}, 0}, {2, 1, 5, 5}); });
}

TEST(GraphErrors, Files) {
    const auto linear = [](const std::function<void(TensorRef&)>& spoil) {
        Model model;
        const Buffer x = model.input({4, 6});
        Stored weight = model.tensor({3, 6});
        spoil(weight.ref);
        model.add(LinearOp{"blocks.0.q", x, weight, {}, 0}, {4, 3});
        Graph graph(model.program);
    };
    expectError(ErrorCode::Io, "op 0 (linear blocks.0.q): weight: ", [&] { linear([](TensorRef& ref) { ref.offset = 4; }); });
    expectError(ErrorCode::Io, "truncated", [&] { linear([](TensorRef& ref) { ref.offset = uint64_t{1} << 53; }); });
    expectError(ErrorCode::Io, "No such file", [&] { linear([](TensorRef& ref) { ref.file = "/nowhere/at/all.safetensors"; }); });
    expectError(ErrorCode::Argument, "I64 tensors cannot take part",
                [&] { linear([](TensorRef& ref) { ref.dtype = Dtype::I64; }); });
    expectError(ErrorCode::Argument, "overflows",
                [&] { linear([](TensorRef& ref) { ref.shape = {3, uint64_t{1} << 53, uint64_t{1} << 53}; }); });
    expectError(ErrorCode::Argument, "takes 0 features", [&] { linear([](TensorRef& ref) { ref.shape = {3, 0}; }); });
}

TEST(GraphErrors, AFileThatShrinksUnderARun) {
    Model model;
    const Buffer x = model.input({4, 6});
    const Stored weight = model.tensor({3, 6});
    model.add(LinearOp{"a", x, weight, {}, 0}, {4, 3});
    Graph graph(model.program);
    std::filesystem::resize_file(weight.ref.file, 20);
    expectError(ErrorCode::Io, "ends at byte 20", [&] { model.runOn(graph); });
}

TEST(GraphErrors, Requests) {
    const auto request = [](const std::function<void(RunRequest&)>& spoil) {
        Model model;
        const Buffer x = model.input({4, 6});
        model.add(LinearOp{"a", x, model.tensor({3, 6}), {}, 0}, {4, 3});
        spoil(model.request);
        model.runAll();
    };
    EXPECT_NO_THROW(request([](RunRequest&) {}));
    expectError(ErrorCode::Argument, "\"x0\" is missing; it has 24 values",
                [&] { request([](RunRequest& r) { r.inputs.clear(); }); });
    expectError(ErrorCode::Argument, "\"x0\" has 23 values, expected 24",
                [&] { request([](RunRequest& r) { r.inputs["x0"].pop_back(); }); });
    expectError(ErrorCode::Argument, "no input \"z\"", [&] { request([](RunRequest& r) { r.inputs["z"] = {1}; }); });
    expectError(ErrorCode::Argument, "no linear \"b\"", [&] { request([](RunRequest& r) { r.recipes["b"] = {}; }); });
    expectError(ErrorCode::Argument, "no linear \"b\"",
                [&] { request([](RunRequest& r) { r.capture = CaptureRequest{{"b"}, 0, 8, 1}; }); });
    expectError(ErrorCode::Argument, "recipes[\"a\"].activations.group: ", [&] {
        request([](RunRequest& r) {
            r.recipes["a"] = {{}, KeepQuantizer{}, IntQuantizer{4, true, Granularity::Group, 4, FloatType::Fp16}};
        });
    });
    expectError(ErrorCode::Argument, "recipes[\"a\"].weights.bits: ", [&] {
        request([](RunRequest& r) { r.recipes["a"] = {{}, CodebookQuantizer{9, FloatType::Fp16}, KeepQuantizer{}}; });
    });
}

}  // namespace
}  // namespace quantscope
