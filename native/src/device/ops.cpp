#include "device/ops.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>

#include "graph/conv_geometry.h"
#include "graph/ops.h"
#include "graph/strides.h"

namespace quantscope {

namespace {

/// Patches of a convolution that are worth having at once.
constexpr uint64_t kPatchBytes = uint64_t{64} << 20;

/// What an op walks along: sizes and the steps of its operands, axes merged with their neighbours where all operands allow it.
struct Walk {
    Walk(const Shape& shape, const std::vector<std::vector<uint64_t>>& operandSteps) : steps(operandSteps.size()) {
        for (size_t axis = 0; axis < shape.size(); ++axis) {
            if (shape[axis] == 1) {
                continue;
            }
            bool merges = !sizes.empty();
            for (size_t k = 0; k < steps.size(); ++k) {
                merges = merges && steps[k].back() == shape[axis] * operandSteps[k][axis];
            }
            if (merges) {
                sizes.back() *= shape[axis];
            } else {
                sizes.push_back(shape[axis]);
            }
            for (size_t k = 0; k < steps.size(); ++k) {
                merges ? static_cast<void>(steps[k].back() = operandSteps[k][axis]) : steps[k].push_back(operandSteps[k][axis]);
            }
        }
        if (sizes.empty()) {
            sizes.push_back(1);
            for (auto& each : steps) {
                each.push_back(1);
            }
        }
    }
    bool fits() const { return sizes.size() <= cuda::kMaxAxes && elementsOf(sizes) / sizes.back() <= std::numeric_limits<uint32_t>::max(); }

    std::vector<uint64_t> sizes;
    std::vector<std::vector<uint64_t>> steps;
};

Walk walkOf(const BinaryOp& op, const Program& program) {
    const Shape& out = program.buffers[op.out];
    return {out, {broadcastSteps(program.buffers[op.a], out), broadcastSteps(program.buffers[op.b], out)}};
}

Walk walkOf(const PermuteOp& op) {
    const PermuteWalk walk(op);
    return {walk.sizes, {walk.xSteps, stepsOf(walk.sizes)}};
}

cuda::AttentionShape shapeOf(const AttentionOp& op, const Program& program, cuda::Element element) {
    const Shape& q = program.buffers[op.q];
    return {element, op.heads, q[1] / op.heads, q[0], program.buffers[op.k][0]};
}

uint64_t patchOf(const ConvGeometry& g) { return cuda::convPitch(g.patch()); }

uint64_t patchBytes(const ConvGeometry& g, cuda::Element element) {
    const uint64_t row = patchOf(g) * bytesOf(element);
    return std::max(row, std::min(kPatchBytes, g.area() * row));
}

/// Rows as ConvRequest wants them.
std::vector<float> convRows(const ConvGeometry& g, const std::vector<float>& weight, const std::vector<float>& bias, cuda::Element element) {
    std::vector<float> rows(g.outputs * patchOf(g), 0.0f);
    for (uint64_t o = 0; o < g.outputs; ++o) {
        float* const row = rows.data() + o * patchOf(g);
        std::copy_n(weight.data() + o * g.patch(), g.patch(), row);
        float left = bias.empty() ? 0.0f : bias[o];
        for (int part = 0; part < 3; ++part) {
            // What bfloat16 keeps of it, by cutting off: the rest is exact.
            const float kept = element == cuda::Element::F32 ? left : std::bit_cast<float>(std::bit_cast<uint32_t>(left) & 0xFFFF0000u);
            row[g.patch() + static_cast<uint64_t>(part)] = kept;
            left = std::isfinite(kept) ? left - kept : 0.0f;
        }
    }
    return rows;
}

/// One op on its way to the device.
struct Queue {
    const Device& device;
    const Program& program;
    const DeviceBuffers& buffers;
    const std::vector<DeviceArray<std::byte>>& tensors;
    std::byte* scratch;

    const Shape& shape(Buffer buffer) const { return program.buffers[buffer]; }
    uint64_t elements(Buffer buffer) const { return elementsOf(shape(buffer)); }
    const float* tensor(size_t i) const { return reinterpret_cast<const float*>(tensors[i].data()); }
    template <class Request>
    void call(cuda::Status (*const function)(cuda::Context*, const Request*), const Request& request, const char* doing) const {
        device.check(function(device.context(), &request), doing);
    }
    const cuda::OpCalls& calls() const { return *device.api().ops; }

    void combine(cuda::Combination kind, const Walk& walk, std::array<const void*, 3> operands, Buffer out) const {
        cuda::CombineRequest request{};
        request.kind = kind;
        request.element = buffers.element(out);
        request.axes = static_cast<int32_t>(walk.sizes.size());
        std::copy(walk.sizes.begin(), walk.sizes.end(), request.sizes);
        for (size_t k = 0; k < walk.steps.size(); ++k) {
            std::copy(walk.steps[k].begin(), walk.steps[k].end(), request.steps[k]);
        }
        std::copy(operands.begin(), operands.end(), request.operands);
        request.out = buffers.at(out);
        call(calls().combine, request, "combining values");
    }

    /// Rows of x with vectors that hold for all of them.
    Walk rowsOf(Buffer x, std::array<bool, 3> isVector) const {
        const uint64_t width = lastOf(shape(x));
        std::vector<std::vector<uint64_t>> steps;
        for (const bool vector : isVector) {
            steps.push_back({vector ? 0 : width, 1});
        }
        return {{elements(x) / width, width}, steps};
    }

    void map(cuda::MapRequest request, Buffer x, Buffer out) const {
        request.element = buffers.element(x);
        request.x = buffers.at(x);
        request.count = elements(x);
        request.out = buffers.at(out);
        call(calls().map, request, "mapping values");
    }

    void rowNorm(Buffer x, bool centred, double eps, Buffer out) const {
        const uint64_t width = lastOf(shape(x));
        call(calls().rowNorm, {buffers.at(x), buffers.element(x), centred ? 1 : 0, elements(x) / width, width, eps, tensor(0), tensor(1), buffers.at(out), nullptr, nullptr},
             "a norm");
    }
    /// The tensors are the norm's.
    void modulatedNorm(const LayerNormOp& norm, const ModulateOp& op) const {
        const uint64_t width = lastOf(shape(norm.x));
        call(calls().rowNorm, {buffers.at(norm.x), buffers.element(norm.x), 1, elements(norm.x) / width, width, norm.eps, tensor(0), tensor(1), buffers.at(op.out),
                               buffers.at(op.scale), buffers.at(op.shift)}, "a modulated norm");
    }

    /// `from` and `to` are elements that x and out start behind.
    void move(const Walk& walk, Buffer x, uint64_t from, Buffer out, uint64_t to) const {
        const size_t each = bytesOf(buffers.element(x));
        cuda::MoveRequest request{};
        request.elementBytes = static_cast<int32_t>(each);
        request.axes = static_cast<int32_t>(walk.sizes.size());
        std::copy(walk.sizes.begin(), walk.sizes.end(), request.sizes);
        std::copy(walk.steps[0].begin(), walk.steps[0].end(), request.xSteps);
        std::copy(walk.steps[1].begin(), walk.steps[1].end(), request.outSteps);
        request.x = buffers.at(x) + from * each;
        request.out = buffers.at(out) + to * each;
        call(calls().move, request, "moving values");
    }

    void operator()(const ModulateOp& op) const {
        combine(cuda::Combination::Modulate, rowsOf(op.x, {false, true, true}), {buffers.at(op.x), buffers.at(op.scale), buffers.at(op.shift)}, op.out);
    }
    void operator()(const GateAddOp& op) const {
        combine(cuda::Combination::GateAdd, rowsOf(op.x, {false, true, false}), {buffers.at(op.x), buffers.at(op.gate), buffers.at(op.y)}, op.out);
    }
    void operator()(const BinaryOp& op) const {
        constexpr cuda::Combination kKinds[] = {cuda::Combination::Add, cuda::Combination::Sub, cuda::Combination::Mul};
        combine(kKinds[static_cast<size_t>(op.kind)], walkOf(op, program), {buffers.at(op.a), buffers.at(op.b), nullptr}, op.out);
    }
    void operator()(const UnaryOp& op) const {
        constexpr cuda::Map kKinds[] = {cuda::Map::Silu, cuda::Map::GeluTanh, cuda::Map::Tanh, cuda::Map::Relu};
        cuda::MapRequest request{};
        request.kind = kKinds[static_cast<size_t>(op.kind)];
        map(request, op.x, op.out);
    }
    void operator()(const AffineOp& op) const {
        constexpr double kInfinity = std::numeric_limits<double>::infinity();
        cuda::MapRequest request{};
        request.kind = cuda::Map::Affine;
        request.mul = static_cast<float>(op.mul);
        request.add = static_cast<float>(op.add);
        request.low = static_cast<float>(op.low.value_or(-kInfinity));
        request.high = static_cast<float>(op.high.value_or(kInfinity));
        map(request, op.x, op.out);
    }
    void operator()(const LayerNormOp& op) const { rowNorm(op.x, true, op.eps, op.out); }
    void operator()(const RmsNormOp& op) const { rowNorm(op.x, false, op.eps, op.out); }
    void operator()(const GroupNormOp& op) const {
        const uint64_t channels = shape(op.x)[0];
        call(calls().groupNorm, {buffers.at(op.x), buffers.element(op.x), op.groups, channels, elements(op.x) / channels, op.eps, tensor(0), tensor(1),
                                 reinterpret_cast<double*>(scratch), buffers.at(op.out)}, "a norm");
    }
    void operator()(const ChannelNormOp& op) const {
        const uint64_t channels = shape(op.x)[0];
        call(calls().channelNorm, {buffers.at(op.x), buffers.element(op.x), channels, elements(op.x) / channels, tensor(0), buffers.at(op.out)}, "a norm");
    }
    void operator()(const AttentionOp& op) const {
        const cuda::AttentionShape attention = shapeOf(op, program, buffers.element(op.q));
        const uint64_t width = shape(op.q)[1];
        const cuda::AttentionRequest request{buffers.at(op.q), width, buffers.at(op.k), width, buffers.at(op.v), width,
                                             op.bias ? buffers.at(*op.bias) : nullptr, buffers.at(op.out), width};
        device.check(device.api().attention->run(device.context(), &attention, &request), "attention");
    }
    void operator()(const RopeOp& op) const {
        const Shape& x = shape(op.x);
        call(calls().rope, {buffers.at(op.x), buffers.element(op.x), x[0], op.heads, x[1] / op.heads / 2, buffers.at(op.cos), buffers.at(op.sin),
                            buffers.element(op.cos), buffers.at(op.out)}, "rotating pairs");
    }
    void operator()(const TimestepOp& op) const {
        call(calls().timestep, {buffers.at(op.t), buffers.element(op.t), static_cast<float>(op.scale), tensor(0), op.dim / 2, buffers.element(op.out),
                                buffers.at(op.out)}, "a timestep");
    }
    void operator()(const PermuteOp& op) const { move(walkOf(op), op.x, 0, op.out, 0); }
    void operator()(const SliceOp& op) const {
        const Shape& x = shape(op.x);
        const uint64_t inner = innerOf(x, op.axis);
        const uint64_t run = (op.end - op.start) * inner;
        move({{outerOf(x, op.axis), run}, {{x[op.axis] * inner, 1}, {run, 1}}}, op.x, op.start * inner, op.out, 0);
    }
    void operator()(const ConcatOp& op) const {
        const Shape& out = shape(op.out);
        const uint64_t inner = innerOf(out, op.axis);
        uint64_t position = 0;
        for (const Buffer x : op.xs) {
            const uint64_t run = shape(x)[op.axis] * inner;
            move({{outerOf(out, op.axis), run}, {{run, 1}, {out[op.axis] * inner, 1}}}, x, 0, op.out, position);
            position += run;
        }
    }
    void operator()(const ResizeOp& op) const {
        cuda::ResizeRequest request{};
        request.elementBytes = static_cast<int32_t>(bytesOf(buffers.element(op.x)));
        request.axes = std::max<int32_t>(1, static_cast<int32_t>(shape(op.x).size()));
        request.from[0] = request.to[0] = 1;  // of a scalar
        std::copy(shape(op.x).begin(), shape(op.x).end(), request.from);
        std::copy(shape(op.out).begin(), shape(op.out).end(), request.to);
        request.x = buffers.at(op.x);
        request.out = buffers.at(op.out);
        call(calls().resize, request, "resizing");
    }
    void operator()(const ConvOp& op) const {
        const ConvGeometry g = geometryOf(shape(op.x), op.weight.ref.shape);
        const cuda::Element element = buffers.element(op.x);
        call(calls().conv, {buffers.at(op.x), element, g.channels, g.frames, g.height, g.width, g.outputs, g.kernelT, g.kernelH, g.kernelW, tensors[0].data(),
                            buffers.at(op.out), scratch, patchBytes(g, element)}, "a convolution");
    }
    /// Sources are there already, and unsupported() keeps the others away.
    template <class OpType>
    void operator()(const OpType&) const {}
};

}  // namespace

DeviceOps::DeviceOps(std::shared_ptr<Device> device, const Program& program, DeviceBuffers& buffers, const Kernels& kernels)
    : device_(std::move(device)), program_(program), buffers_(buffers), tensors_(program.ops.size()), with_(program.ops.size()) {
    for (size_t i = 0; i < program.ops.size(); ++i) {
        load(program.ops[i], tensors_[i], buffers, kernels);
    }
    foldNorms();
}

/// One reading and one writing of the rows instead of two. What goes into the norm has to be there still where the modulation stands.
void DeviceOps::foldNorms() {
    std::vector<size_t> readers(program_.buffers.size());
    std::vector<size_t> writer(program_.buffers.size(), program_.ops.size());
    for (const auto& [name, buffer] : program_.outputs) {
        ++readers[buffer];
    }
    for (size_t i = 0; i < program_.ops.size(); ++i) {
        for (const Buffer buffer : inputsOf(program_.ops[i])) {
            ++readers[buffer];
        }
        writer[outOf(program_.ops[i])] = i;
    }
    const auto overlap = [&](Buffer a, Buffer b) {
        const auto end = [&](Buffer buffer) { return buffers_.at(buffer) + elementsOf(program_.buffers[buffer]) * bytesOf(buffers_.element(buffer)); };
        return buffers_.at(a) < end(b) && buffers_.at(b) < end(a);
    };
    for (size_t i = 0; i < program_.ops.size(); ++i) {
        const auto* const modulation = std::get_if<ModulateOp>(&program_.ops[i]);
        const size_t from = modulation == nullptr ? i : writer[modulation->x];
        const auto* const norm = from < i ? std::get_if<LayerNormOp>(&program_.ops[from]) : nullptr;
        if (norm == nullptr || readers[norm->out] != 1) {
            continue;
        }
        bool there = true;
        for (size_t k = from + 1; k <= i; ++k) {
            const Buffer out = outOf(program_.ops[k]);
            there = there && (buffers_.isView(out) || !overlap(out, norm->x));
        }
        if (there) {
            with_[from] = i;
            with_[i] = from;
        }
    }
}

DeviceArray<std::byte> DeviceOps::upload(const std::vector<float>& values, cuda::Element element) const {
    return device_->upload(toElements(values.data(), values.size(), element));
}

void DeviceOps::load(const Op& op, std::vector<DeviceArray<std::byte>>& to, DeviceBuffers& buffers, const Kernels& kernels) {
    const auto all = [&](const Stored& stored) { return quantscope::load(*stored.tensor, kernels); };
    if (const auto* tensor = std::get_if<TensorOp>(&op)) {
        buffers.keep(tensor->out, all(tensor->tensor).data());
    } else if (const auto* norm = std::get_if<LayerNormOp>(&op)) {
        to.push_back(norm->weight ? upload(all(*norm->weight)) : DeviceArray<std::byte>());
        to.push_back(norm->bias ? upload(all(*norm->bias)) : DeviceArray<std::byte>());
    } else if (const auto* norm = std::get_if<RmsNormOp>(&op)) {
        to.push_back(upload(all(norm->weight)));
        to.emplace_back();
    } else if (const auto* norm = std::get_if<GroupNormOp>(&op)) {
        to.push_back(upload(all(norm->weight)));
        to.push_back(upload(all(norm->bias)));
        scratchBytes_ = std::max(scratchBytes_, norm->groups * 2 * cuda::kNormParts * sizeof(double));
    } else if (const auto* norm = std::get_if<ChannelNormOp>(&op)) {
        std::vector<float> weight = all(norm->weight);
        for (float& w : weight) {
            w *= std::sqrt(static_cast<float>(weight.size()));
        }
        to.push_back(upload(weight));
    } else if (const auto* timestep = std::get_if<TimestepOp>(&op)) {
        to.push_back(upload(frequenciesOf(*timestep)));
    } else if (const auto* conv = std::get_if<ConvOp>(&op)) {
        const ConvGeometry g = geometryOf(program_.buffers[conv->x], conv->weight.ref.shape);
        const cuda::Element element = buffers.element(conv->x);
        to.push_back(upload(convRows(g, all(conv->weight), conv->bias ? all(*conv->bias) : std::vector<float>(), element), element));
        scratchBytes_ = std::max(scratchBytes_, patchBytes(g, element));
    }
}

std::optional<std::string> DeviceOps::unsupported(const Op& op) const {
    if (const auto* binary = std::get_if<BinaryOp>(&op); binary != nullptr && !walkOf(*binary, program_).fits()) {
        return "broadcasts along more axes than kernels take";
    }
    if (const auto* permute = std::get_if<PermuteOp>(&op); permute != nullptr && !walkOf(*permute).fits()) {
        return "orders more axes than kernels take";
    }
    if (const auto* resize = std::get_if<ResizeOp>(&op); resize != nullptr && program_.buffers[resize->x].size() > cuda::kMaxAxes) {
        return "has more axes than kernels take";
    }
    if (const auto* attention = std::get_if<AttentionOp>(&op)) {
        const cuda::AttentionShape shape = shapeOf(*attention, program_, buffers_.element(attention->q));
        if (device_->api().attention->check(&shape) != cuda::Status::Ok) {
            return device_->api().message();
        }
    }
    return std::nullopt;
}

void DeviceOps::run(size_t index, std::byte* scratch) {
    if (const auto with = with_[index]) {
        if (const auto* const modulation = std::get_if<ModulateOp>(&program_.ops[index])) {
            Queue{*device_, program_, buffers_, tensors_[*with], scratch}.modulatedNorm(std::get<LayerNormOp>(program_.ops[*with]), *modulation);
        }
        return;
    }
    std::visit(Queue{*device_, program_, buffers_, tensors_[index], scratch}, program_.ops[index]);
}

void DeviceOps::findNonFinite(Buffer buffer, uint32_t* found) const {
    const cuda::NonFiniteRequest request{buffers_.at(buffer), buffers_.element(buffer), elementsOf(program_.buffers[buffer]), found};
    device_->check(device_->api().ops->findNonFinite(device_->context(), &request), "looking for values that are not finite");
}

}  // namespace quantscope
