// What goes into captured linears, described where a model runs on a device: of its rows only a few numbers each come to the host.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "device/coder.h"
#include "device/marginals.h"
#include "linear/capture.h"

namespace quantscope {

/// Of one run.
class DeviceCaptures {
public:
    DeviceCaptures(std::shared_ptr<Device> device, Captures& captures) : device_(std::move(device)), captures_(captures) {}

    /// Why the processor has to describe the inputs of a captured layer, as half a sentence after its name; nothing where add() takes them.
    std::optional<std::string> unsupported(const std::string& layer, uint64_t width) const;
    /// Takes x into the description of a layer for which unsupported() has no reason. Waits for what was queued.
    void add(const std::string& layer, const DeviceRows& x, uint64_t width, Workers& workers, const Kernels& kernels);

private:
    void addColumns(InputSums& sums, const DeviceRows& x, uint64_t width, const cuda::RowStatistics* rows);
    std::vector<float> read(const DeviceRows& x, uint64_t width, const std::vector<uint64_t>& rows, const Kernels& kernels) const;

    std::shared_ptr<Device> device_;
    Captures& captures_;
    std::map<uint64_t, DeviceMarginals> marginals_;  ///< by width
    DeviceArray<float> largest_;                     ///< of columns, then of their parts
    DeviceArray<double> squares_;
};

}  // namespace quantscope
