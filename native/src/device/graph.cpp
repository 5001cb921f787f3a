#include "device/graph.h"

#include <algorithm>

#include "device/captures.h"
#include "device/moments.h"
#include "graph/conv_geometry.h"
#include "graph/ops.h"

namespace quantscope {

namespace {

/// Work that may be queued before the host waits and looks at the cancellation: some twenty milliseconds of a slow device, one of a fast one.
constexpr double kMostQueued = 1e12;

double flopsOf(const Op& op, const Program& program) {
    const auto elements = [&](Buffer buffer) { return static_cast<double>(elementsOf(program.buffers[buffer])); };
    if (const auto* linear = std::get_if<LinearOp>(&op)) {
        return 2.0 * elements(linear->x) * static_cast<double>(lastOf(program.buffers[linear->out]));
    }
    if (const auto* attention = std::get_if<AttentionOp>(&op)) {
        return 4.0 * elements(attention->q) * static_cast<double>(program.buffers[attention->k][0]);
    }
    if (const auto* conv = std::get_if<ConvOp>(&op)) {
        const ConvGeometry g = geometryOf(program.buffers[conv->x], conv->weight.ref.shape);
        return g.flops(g.outFrames() * g.area());
    }
    return 0;
}

/// Out of memory, with what helps.
template <class Work>
auto withRemedy(Work work) {
    try {
        return work();
    } catch (const DeviceError& error) {
        if (error.status() != cuda::Status::OutOfMemory) {
            throw;
        }
        throw DeviceError(error.status(), std::string(error.what()) + ". The model's activations and two of its largest weights have to fit: choose a smaller "
                                                                      "size, or the processor (--device cpu)");
    }
}

}  // namespace

/// One run of all ops.
struct DeviceGraph::Pass {
    DeviceGraph& graph;
    const RunRequest& request;
    Captures& captures;
    DeviceCaptures here;  ///< beside them
    Linears& processor;
    const DeviceBench& bench;
    RunResult& result;
    double queued = 0;

    const Program& program() const { return graph.graph_->program(); }

    void run() {
        for (const auto& [name, values] : request.inputs) {
            graph.buffers_.write(program().inputs.at(name), values.data());
        }
        for (size_t i = 0; i < program().ops.size(); ++i) {
            bench.workers.checkCancelled();
            step(i);
            if (queued >= kMostQueued) {
                wait();
            }
        }
        wait();
    }

    void wait() {
        graph.device_->synchronise();
        bench.workers.advance(queued);
        queued = 0;
    }

    void step(size_t i) {
        const Op& op = program().ops[i];
        if (const auto* linear = std::get_if<LinearOp>(&op)) {
            runLinear(i, *linear);
        } else if (std::holds_alternative<RowOp>(op)) {
            onProcessor(op);  // its table lies in a file
        } else if (graph.buffers_.isView(outOf(op))) {
            return;
        } else if (const auto reason = graph.ops_.unsupported(op)) {
            name(kOpNames[op.index()], *reason);
            onProcessor(op);
        } else {
            graph.ops_.run(i, graph.linears_.scratch());
            queued += flopsOf(op, program());
        }
    }

    void runLinear(size_t i, const LinearOp& op) {
        if (const auto& reason = graph.linears_.reason(i)) {
            name(op.name, *reason);
            const size_t before = processor.integers().size();
            onProcessor(op);
            graph.ops_.findNonFinite(op.out, graph.nonFinite_.data() + i);
            result.integers.insert(result.integers.end(), processor.integers().begin() + static_cast<std::ptrdiff_t>(before), processor.integers().end());
        } else {
            if (captures.has(op.name)) {
                capture(op);
            }
            graph.linears_.run(i, graph.buffers_, bench, graph.nonFinite_.data() + i);
            if (const auto& integers = graph.linears_.integers(i)) {
                result.integers.push_back(*integers);
            }
            queued += flopsOf(op, program());
        }
    }

    void capture(const LinearOp& op) {
        const uint64_t width = lastOf(program().buffers[op.x]);
        const uint64_t rows = elementsOf(program().buffers[op.x]) / width;
        if (const auto reason = here.unsupported(op.name, width)) {
            name(op.name, *reason);
            std::vector<float> x(rows * width);
            graph.buffers_.read(op.x, x.data());
            captures.add(op.name, x.data(), rows, width, bench.workers, bench.kernels);
        } else {
            here.add(op.name, {graph.buffers_.at(op.x), graph.buffers_.element(op.x), rows, width}, width, bench.workers, bench.kernels);
        }
    }

    void name(const std::string& what, const std::string& reason) {
        ProcessorOp named{what, reason};
        if (std::ranges::find(result.device->processor, named) == result.device->processor.end()) {
            result.device->processor.push_back(std::move(named));
        }
    }

    void onProcessor(const Op& op) {
        std::vector<float*> places(program().buffers.size(), nullptr);
        std::vector<std::vector<float>> values;
        const auto room = [&](Buffer buffer) {
            values.emplace_back(elementsOf(program().buffers[buffer]));
            return places[buffer] = values.back().data();
        };
        for (const Buffer buffer : inputsOf(op)) {
            if (places[buffer] == nullptr) {
                graph.buffers_.read(buffer, room(buffer));
            }
        }
        room(outOf(op));
        Run context{program(), places, bench.workers, &processor, bench.kernels, bench.memory};
        std::visit([&](const auto& each) { quantscope::run(each, context); }, op);
        graph.buffers_.write(outOf(op), places[outOf(op)]);
    }
};

DeviceGraph::DeviceGraph(std::shared_ptr<Device> device, std::shared_ptr<Graph> graph, cuda::Element element, const Kernels& kernels, uint64_t reserve)
    : device_(std::move(device)), graph_(std::move(graph)), buffers_(withRemedy([&] { return DeviceBuffers(device_, *graph_, element); })),
      ops_(withRemedy([&] { return DeviceOps(device_, graph_->program(), buffers_, kernels); })),
      linears_(device_, graph_->program(), element, ops_.scratchBytes(), reserve), nonFinite_(device_->allocate<uint32_t>(graph_->program().ops.size())) {}

/// On the device: weights leave it where there is no room for both.
SecondMomentsStore::Place DeviceGraph::momentsPlace() {
    const auto make = [this](uint64_t width) { return std::make_unique<DeviceMoments>(device_, width); };
    return {DeviceMoments::bytes, [this, make](uint64_t width) {
                try {
                    return make(width);
                } catch (const DeviceError& error) {
                    if (error.status() != cuda::Status::OutOfMemory) {
                        throw;
                    }
                }
                linears_.dropWeights();
                return make(width);
            }};
}

RunResult DeviceGraph::run(const RunRequest& request, ThreadPool& pool, const Cancellation& cancellation, const Progress& progress, const Kernels& kernels) {
    const std::lock_guard one(graph_->oneRun());
    graph_->checkRequest(request);
    Captures captures(request.capture.value_or(CaptureRequest{}), graph_->linears(), graph_->secondMoments(), momentsPlace());
    memory_.resize(std::max<size_t>(memory_.size(), pool.threads()));
    cache_.startRun();
    Workers workers(pool, cancellation, progress, graph_->flops() + captures.work() + linears_.workFor(request.recipes));
    const DeviceBench bench{workers, memory_, kernels};
    Linears processor(request.recipes, captures, cache_, workers, memory_, kernels);
    RunResult result;
    result.device.emplace(DeviceUse{device_->description().name, {}});
    try {
        withRemedy([&] { linears_.prepare(request.recipes, bench); });
        nonFinite_.clear();
        linears_.startRun();
        Pass{*this, request, captures, DeviceCaptures(device_, captures), processor, bench, result}.run();
    } catch (...) {
        device_->calls().synchronise(device_->context());  // what is queued reads memory of this run; the error that counts is the first
        graph_->secondMoments().forget();
        throw;
    }
    for (const auto& [name, buffer] : graph_->program().outputs) {
        std::vector<float>& values = result.outputs[name];
        values.resize(elementsOf(graph_->program().buffers[buffer]));
        buffers_.read(buffer, values.data());
    }
    if (request.capture) {
        result.captured = captures.finish();
    }
    const std::vector<uint32_t> nonFinite = nonFinite_.read();
    const auto first = std::ranges::find(nonFinite, 1u);
    if (first != nonFinite.end()) {
        result.firstNonFinite = std::get<LinearOp>(graph_->program().ops[static_cast<size_t>(first - nonFinite.begin())]).name;
    }
    result.flops = graph_->flops();
    result.device->weightBytes = linears_.weightBytes();
    result.device->residentBytes = linears_.residentBytes();
    return result;
}

}  // namespace quantscope
