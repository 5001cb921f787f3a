// The addon's exports, exactly the interface of server/src/engine/addon.ts. Thin: requests in, jobs, results out.
#include <napi.h>

#include <memory>

#include "addon/cuda.h"
#include "addon/fields.h"
#include "addon/fit.h"
#include "addon/job_graph.h"
#include "addon/jobs.h"
#include "addon/layer.h"
#include "addon/program.h"
#include "addon/reconstruct.h"
#include "addon/results.h"
#include "base/error.h"
#include "device/either.h"
#include "device/gptq.h"
#include "device/measure.h"
#include "quantizer/codebook.h"
#include "quantizer/expected.h"
#include "rotation/rpbh.h"
#include "stats/columns.h"

namespace quantscope {

namespace {

/// State of one environment; worker_threads load the addon once each.
struct State {
    std::shared_ptr<JobQueue> jobs;
    std::shared_ptr<JobDevice> device = std::make_shared<JobDevice>();
    std::shared_ptr<GraphsOnDevice> graphs = std::make_shared<GraphsOnDevice>();
};

JobQueue& jobsOf(Napi::Env env) { return *env.GetInstanceData<State>()->jobs; }
const std::shared_ptr<JobDevice>& deviceOf(Napi::Env env) { return env.GetInstanceData<State>()->device; }

/// Runs a synchronous export; engine errors become JavaScript errors with a code.
template <class Body>
auto guarded(Napi::Env env, Body body) {
    try {
        return body();
    } catch (const Error& error) {
        throw toJsError(env, error);
    } catch (const std::bad_alloc&) {
        throw toJsError(env, Error(ErrorCode::Memory, "Not enough memory."));
    }
}

Napi::Value version(const Napi::CallbackInfo& info) { return Napi::String::New(info.Env(), QUANTSCOPE_VERSION); }

Napi::Value cpu(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    return guarded(env, [&] {
        Napi::Object object = Napi::Object::New(env);
        object.Set("level", Napi::String::New(env, kernels().name));
        Napi::Array supported = Napi::Array::New(env);
        for (const Kernels* level : supportedKernels()) {
            supported.Set(supported.Length(), Napi::String::New(env, level->name));
        }
        object.Set("supported", supported);
        object.Set("threads", number(env, static_cast<uint64_t>(jobsOf(env).threads())));
        return object;
    });
}

Napi::Value setThreads(const Napi::CallbackInfo& info) {
    return guarded(info.Env(), [&] {
        jobsOf(info.Env()).setThreads(static_cast<unsigned>(toInteger(info[0], "count", 0, 1024)));
        return info.Env().Undefined();
    });
}

Napi::Value useCuda(const Napi::CallbackInfo& info) {
    return guarded(info.Env(), [&] {
        deviceOf(info.Env())->choose(static_cast<int32_t>(toInteger(info[0], "device", 0, 1 << 20)));
        return info.Env().Undefined();
    });
}

/// A job whose request is parsed first. A request that makes no sense rejects the promise like any other failure of the job.
template <class Request, class Run>
Napi::Value submit(const Napi::CallbackInfo& info, Request (*parse)(const Napi::Value&), Run run) {
    const Napi::Env env = info.Env();
    return guarded(env, [&]() -> Napi::Value {
        if (!info[1].IsFunction()) {
            failArgument("progress: expected a function");
        }
        JobQueue::Work work;
        try {
            work = [request = parse(info[0]), run](ThreadPool& pool, const Cancellation& cancellation, const Progress& progress) {
                return JobQueue::Result([result = run(request, pool, cancellation, progress)](Napi::Env e) { return toJs(e, result); });
            };
        } catch (const Error& error) {
            work = [error](ThreadPool&, const Cancellation&, const Progress&) -> JobQueue::Result { throw error; };
        }
        return jobsOf(env).submit(env, info[1].As<Napi::Function>(), std::move(work));
    });
}

Napi::Value measureJob(const Napi::CallbackInfo& info) {
    const auto run = [chosen = deviceOf(info.Env())](const MeasureRequest& request, ThreadPool& pool, const Cancellation& cancellation, const Progress& progress) {
        const std::shared_ptr<Device> device = chosen->get();
        const auto onProcessor = [&] { return measure(request, pool, cancellation, progress, kernels()); };
        const auto onDevice = [&] { return measureOnDevice(request, device, cancellation, progress, kernels()); };
        MeasuredWeight measured;
        measured.measurement = device == nullptr ? onProcessor() : onEither(notMeasuredOnDevice(request, *device), measured.onProcessor, onDevice, onProcessor);
        return measured;
    };
    return submit(info, toMeasureRequest, run);
}

Napi::Value statsJob(const Napi::CallbackInfo& info) { return submit(info, toStatsRequest, valueStats); }

Napi::Value columnRangeJob(const Napi::CallbackInfo& info) {
    const auto parse = +[](const Napi::Value& value) { return ColumnRequest{toTensorRef(Fields(value, "").get("tensor"), "tensor")}; };
    const auto run = [](const ColumnRequest& request, ThreadPool& pool, const Cancellation& cancellation, const Progress& progress) {
        return columnRange(request, pool, cancellation, progress, kernels());
    };
    return submit(info, parse, run);
}

/// A job of transform/jobs.h, solver/layer.h or reconstruct/reconstruct.h.
template <class Request, class Summary>
Napi::Value fitJob(const Napi::CallbackInfo& info, Request (*parse)(const Napi::Value&),
                   Summary (*run)(const Request&, ThreadPool&, const Cancellation&, const Progress&, const Kernels&)) {
    return submit(info, parse, [run](const Request& request, ThreadPool& pool, const Cancellation& cancellation, const Progress& progress) {
        return run(request, pool, cancellation, progress, kernels());
    });
}

Napi::Value fitOutlierRotationJob(const Napi::CallbackInfo& info) {
    return fitJob<OutlierRotationRequest, OutlierRotationSummary>(info, toOutlierRotationRequest, runJob);
}
Napi::Value fitBasisJob(const Napi::CallbackInfo& info) { return fitJob<BasisRequest, BasisSummary>(info, toBasisRequest, runJob); }
Napi::Value applyTransformsJob(const Napi::CallbackInfo& info) {
    return fitJob<TransformRequest, TransformSummary>(info, toTransformRequest, runJob);
}

Napi::Value quantizeLayerJob(const Napi::CallbackInfo& info) {
    const auto run = [chosen = deviceOf(info.Env())](const QuantizeLayerRequest& request, ThreadPool& pool, const Cancellation& cancellation, const Progress& progress) {
        SolvedLayer solved;
        const SolveGptq solve = [&](std::vector<float> weights, const float* moments, size_t stride, const RowCodec& codec, const GptqOptions& options, Workers& workers) {
            const std::shared_ptr<Device> device = chosen->get();
            const Quantizer& quantizer = request.recipe.weights;
            const auto onProcessor = [&] { return gptq(std::move(weights), moments, stride, codec, options, workers); };
            const auto onDevice = [&] { return gptqOnDevice(device, weights, moments, stride, quantizer, codec, options, workers); };
            return device == nullptr ? onProcessor() : onEither(gptqUnsupported(quantizer, options), solved.onProcessor, onDevice, onProcessor);
        };
        solved.fit = quantizeLayer(request, pool, cancellation, progress, kernels(), solve);
        return solved;
    };
    return submit(info, toQuantizeLayerRequest, run);
}
Napi::Value dequantizeLayerJob(const Napi::CallbackInfo& info) {
    return fitJob<DequantizeLayerRequest, DequantizedLayer>(info, toDequantizeLayerRequest, dequantizeLayer);
}

Napi::Value reconstructBlockJob(const Napi::CallbackInfo& info) {
    return fitJob<ReconstructBlockRequest, ReconstructedBlock>(info, toReconstructBlockRequest, reconstructBlock);
}

/// { run(request, progress), takeSecondMoments(folder, progress), close() } around a Graph. The graph lives until it is closed or collected, and until its last run ends.
Napi::Value openGraph(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    return guarded(env, [&] {
        const State& state = *env.GetInstanceData<State>();
        const auto holder = std::make_shared<std::shared_ptr<JobGraph>>(
            std::make_shared<JobGraph>(std::make_shared<Graph>(toProgram(info[0])), state.device, state.graphs));
        const auto opened = [](const std::shared_ptr<JobGraph>& graph) -> JobGraph& {
            if (graph == nullptr) {
                failArgument("This graph was closed.");
            }
            return *graph;
        };
        Napi::Object object = Napi::Object::New(env);
        object.Set("run", Napi::Function::New(env, [holder, opened](const Napi::CallbackInfo& call) {
                       return submit(call, toRunRequest, [graph = *holder, opened](const JobRunRequest& request, ThreadPool& pool, const Cancellation& cancellation,
                                                                                   const Progress& progress) {
                           return opened(graph).run(request, pool, cancellation, progress);
                       });
                   }));
        object.Set("takeSecondMoments", Napi::Function::New(env, [holder, opened](const Napi::CallbackInfo& call) {
                       const auto parse = +[](const Napi::Value& value) { return Fields(value, "").string("folder"); };
                       return submit(call, parse, [graph = *holder, opened](const std::string& folder, ThreadPool& pool, const Cancellation& cancellation,
                                                                            const Progress& progress) {
                           return opened(graph).graph()->takeSecondMoments(folder, pool, cancellation, progress);
                       });
                   }));
        object.Set("close", Napi::Function::New(env, [holder, graphs = state.graphs](const Napi::CallbackInfo& call) {
                       holder->reset();
                       jobsOf(call.Env()).afterwards([graphs] { graphs->freeClosed(); });
                   }));
        return object;
    });
}

Napi::Value codebook(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    return guarded(env, [&] {
        const uint64_t width = toInteger(info[0], "width", 1, kMaxSafeInteger);
        const auto book = codebookFor(width, static_cast<int>(toInteger(info[1], "bits", 1, 8)));
        Napi::Object object = Napi::Object::New(env);
        object.Set("levels", toTypedArray<Napi::Float64Array>(env, book->levels.size(), [&](size_t i) { return book->levels[i]; }));
        object.Set("thresholds",
                   toTypedArray<Napi::Float64Array>(env, book->thresholds.size(), [&](size_t i) { return book->thresholds[i]; }));
        object.Set("distortion", number(env, book->distortion));
        return object;
    });
}

Napi::Value rotation(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    return guarded(env, [&] {
        const auto draw = rotationFor(toInteger(info[0], "width", 1, kMaxWidth), toInteger(info[1], "seed", 0, kMaxSafeInteger));
        Napi::Object object = Napi::Object::New(env);
        object.Set("block", number(env, draw->block()));
        object.Set("permutation", toTypedArray<Napi::Uint32Array>(env, draw->width(), [&](size_t i) { return draw->source(i); }));
        object.Set("signs", toTypedArray<Napi::Int8Array>(env, draw->width(),
                                                          [&](size_t i) { return static_cast<int8_t>(draw->sign(i)); }));
        return object;
    });
}

/// A whole-tensor scale has no value here: it depends on the number of rows too. measure() knows them.
Napi::Value expected(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    return guarded(env, [&] {
        const Quantizer quantizer = toQuantizer(info[0], "quantizer");
        return number(env, expectedDistortion(quantizer, toInteger(info[1], "width", 1, kMaxSafeInteger), 0));
    });
}

Napi::Object initialize(Napi::Env env, Napi::Object exports) {
    auto state = std::make_unique<State>();
    state->jobs = std::make_shared<JobQueue>(env);
    // Hooks run in reverse order: this one stops the job thread before Node closes the queue's channel, which is older.
    env.AddCleanupHook([jobs = state->jobs] { jobs->shutdown(); });
    env.SetInstanceData(state.release());  // the environment owns and deletes it

    exports.Set("version", Napi::Function::New(env, version));
    exports.Set("cpu", Napi::Function::New(env, cpu));
    exports.Set("cuda", Napi::Function::New(env, [](const Napi::CallbackInfo& info) { return guarded(info.Env(), [&] { return cudaState(info); }); }));
    exports.Set("cudaSelfTest", Napi::Function::New(env, [](const Napi::CallbackInfo& info) { return guarded(info.Env(), [&] { return cudaSelfTest(info); }); }));
    exports.Set("useCuda", Napi::Function::New(env, useCuda));
    exports.Set("setThreads", Napi::Function::New(env, setThreads));
    exports.Set("measure", Napi::Function::New(env, measureJob));
    exports.Set("stats", Napi::Function::New(env, statsJob));
    exports.Set("columnRange", Napi::Function::New(env, columnRangeJob));
    exports.Set("fitOutlierRotation", Napi::Function::New(env, fitOutlierRotationJob));
    exports.Set("fitBasis", Napi::Function::New(env, fitBasisJob));
    exports.Set("applyTransforms", Napi::Function::New(env, applyTransformsJob));
    exports.Set("quantizeLayer", Napi::Function::New(env, quantizeLayerJob));
    exports.Set("dequantizeLayer", Napi::Function::New(env, dequantizeLayerJob));
    exports.Set("reconstructBlock", Napi::Function::New(env, reconstructBlockJob));
    exports.Set("openGraph", Napi::Function::New(env, openGraph));
    exports.Set("codebook", Napi::Function::New(env, codebook));
    exports.Set("rotation", Napi::Function::New(env, rotation));
    exports.Set("expectedDistortion", Napi::Function::New(env, expected));
    return exports;
}

NODE_API_MODULE(quantscope, initialize)

}  // namespace

}  // namespace quantscope
