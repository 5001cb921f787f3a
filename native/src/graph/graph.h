// A model that can run: a program whose every shape, buffer and tensor was checked, its memory, and the codes of its quantized
// weights.
#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/aligned.h"
#include "base/workers.h"
#include "graph/memory_plan.h"
#include "graph/program.h"
#include "linear/capture.h"
#include "linear/recipe.h"
#include "linear/weights.h"

namespace quantscope {

struct RunRequest {
    std::map<std::string, std::vector<float>> inputs;
    Recipes recipes;
    std::optional<CaptureRequest> capture;
};

/// An op that a device left to the processor.
struct ProcessorOp {
    std::string name;    ///< of a linear, or of the op
    std::string reason;  ///< half a sentence after the name
    bool operator==(const ProcessorOp&) const = default;
};

/// How a run used a device.
struct DeviceUse {
    std::string name;
    std::vector<ProcessorOp> processor;  ///< each once
    uint64_t weightBytes = 0;            ///< of all linears on the device, packed
    uint64_t residentBytes = 0;          ///< of those that stayed there; the others were copied during the run
};

struct RunResult {
    std::map<std::string, std::vector<float>> outputs;
    std::vector<CapturedLayer> captured;
    std::optional<std::string> firstNonFinite;  ///< the first linear whose output held a NaN or an infinity
    std::vector<IntegerExecution> integers;     ///< of the layers whose recipe asks for integers
    double flops = 0;
    std::optional<DeviceUse> device{};          ///< none for a run on the processor
};

class Graph {
public:
    /// Opens every file. Throws Error: Argument naming the op and what is wrong with it, Io when a file is missing or too short,
    /// Memory when the buffers alone are larger than this machine's memory.
    explicit Graph(Program program);

    /// Multiply-adds of all linears, attentions and convolutions, times two.
    double flops() const { return flops_; }
    /// Memory that the buffers take during a run.
    uint64_t bufferBytes() const { return arenaSize_ * sizeof(float); }

    /// Results do not depend on the number of threads. Looks at the cancellation every few milliseconds. Throws Error: Argument
    /// when an input is missing or of the wrong length, or a recipe does not fit; Io, Memory, Cancelled. Concurrent calls wait
    /// for each other.
    RunResult run(const RunRequest& request, ThreadPool& pool, const Cancellation& cancellation, const Progress& progress,
                  const Kernels& kernels);

    // What DeviceGraph (device/graph.h) needs to run the same program elsewhere.
    const Program& program() const { return program_; }
    const std::map<std::string, Captures::Expected>& linears() const { return linears_; }
    const std::vector<MemoryPlan::Place>& places() const { return plan_; }
    uint64_t arenaElements() const { return arenaSize_; }
    SecondMomentsStore& secondMoments() { return secondMoments_; }
    std::mutex& oneRun() { return oneRun_; }
    /// Throws Error(Argument).
    void checkRequest(const RunRequest& request) const;

    /// Writes the second moments that runs added up into the folder, which exists, and forgets them. Runs without an error only: one
    /// that fails or is cancelled forgets everything before it too. Throws Error: Io, Argument, Cancelled.
    std::vector<SecondMomentsFile> takeSecondMoments(const std::string& folder, ThreadPool& pool, const Cancellation& cancellation,
                                                     const Progress& progress);

private:
    /// Allocates the block and finds every buffer's address in it.
    void allocate();

    Program program_;
    std::map<std::string, Captures::Expected> linears_;  ///< by name
    double flops_ = 0;
    uint64_t arenaSize_ = 0;
    std::vector<MemoryPlan::Place> plan_;  ///< by buffer

    std::mutex oneRun_;
    AlignedArray<float> arena_;    ///< made by the first run
    std::vector<float*> places_;   ///< by buffer, in the arena or in a constant's data
    std::vector<TileMemory> memory_;
    WeightCache cache_;
    SecondMomentsStore secondMoments_;
};

}  // namespace quantscope
