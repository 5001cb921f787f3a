// A graph as an environment's jobs run it: on the processor, or on the device that was chosen for them.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "addon/cuda.h"
#include "device/graph.h"
#include "graph/graph.h"

namespace quantscope {

struct JobRunRequest {
    RunRequest run;
    std::optional<cuda::Element> element;  ///< of activations on a device; none for the processor
};

class JobGraph;

/// The device's side of an environment's graphs. Job thread alone: a device has one user at a time, also for freeing its memory.
class GraphsOnDevice {
public:
    /// The graph of `owner`, made where it is not there yet.
    DeviceGraph& of(const std::shared_ptr<JobGraph>& owner, const std::shared_ptr<Device>& device, cuda::Element element);
    void freeAll() { entries_.clear(); }
    /// Of graphs that were closed.
    void freeClosed();

private:
    struct Entry {
        std::weak_ptr<JobGraph> owner;
        cuda::Element element;
        std::unique_ptr<DeviceGraph> graph;
    };
    std::vector<Entry> entries_;
};

class JobGraph : public std::enable_shared_from_this<JobGraph> {
public:
    JobGraph(std::shared_ptr<Graph> graph, std::shared_ptr<JobDevice> device, std::shared_ptr<GraphsOnDevice> onDevice)
        : graph_(std::move(graph)), device_(std::move(device)), onDevice_(std::move(onDevice)) {}

    const std::shared_ptr<Graph>& graph() const { return graph_; }
    /// On the processor where no device was chosen, too. When the device's memory does not suffice, other graphs give theirs back. Job thread.
    RunResult run(const JobRunRequest& request, ThreadPool& pool, const Cancellation& cancellation, const Progress& progress);

private:
    std::shared_ptr<Graph> graph_;
    std::shared_ptr<JobDevice> device_;
    std::shared_ptr<GraphsOnDevice> onDevice_;
};

}  // namespace quantscope
