#include "addon/job_graph.h"

#include <algorithm>

#include "cpu/kernels.h"

namespace quantscope {

DeviceGraph& GraphsOnDevice::of(const std::shared_ptr<JobGraph>& owner, const std::shared_ptr<Device>& device, cuda::Element element) {
    freeClosed();
    const auto found = std::ranges::find_if(entries_, [&](const Entry& entry) { return entry.owner.lock() == owner; });
    if (found != entries_.end() && found->element == element) {
        return *found->graph;
    }
    if (found != entries_.end()) {
        entries_.erase(found);
    }
    auto graph = std::make_unique<DeviceGraph>(device, owner->graph(), element, kernels());
    return *entries_.emplace_back(Entry{owner, element, std::move(graph)}).graph;
}

void GraphsOnDevice::freeClosed() {
    std::erase_if(entries_, [](const Entry& entry) { return entry.owner.expired(); });
}

RunResult JobGraph::run(const JobRunRequest& request, ThreadPool& pool, const Cancellation& cancellation, const Progress& progress) {
    const std::shared_ptr<Device> device = request.element ? device_->get() : nullptr;
    if (device == nullptr) {
        return graph_->run(request.run, pool, cancellation, progress, kernels());
    }
    const bool begun = graph_->secondMoments().size() > 0;  // an attempt that fails forgets them
    const auto attempt = [&] { return onDevice_->of(shared_from_this(), device, *request.element).run(request.run, pool, cancellation, progress, kernels()); };
    try {
        return attempt();
    } catch (const DeviceError& error) {
        if (error.status() != cuda::Status::OutOfMemory || begun) {
            throw;
        }
        onDevice_->freeAll();
        return attempt();
    }
}

}  // namespace quantscope
