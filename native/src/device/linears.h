// The linears of a program on a device: which of them run there, their weights, and their inputs as recipes leave them.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/workers.h"
#include "device/buffers.h"
#include "device/coder.h"
#include "device/linear.h"
#include "device/packing.h"
#include "device/slots.h"
#include "device/small_floats.h"
#include "device/transforms.h"
#include "graph/graph.h"

namespace quantscope {

/// Codes are those that the processor's linears make. They are multiplied as integers where the recipe asks for that, and also where it does not but the
/// integers are the values: sums are exact then. Otherwise both sides are decoded to bfloat16 and multiplied as floats, as are kept values; float32 graphs
/// multiply kept values in float32. Activations in small floats are rounded to bfloat16, too. Tail and low-rank branch are bfloat16.
class DeviceLinears {
public:
    /// `element` is that of activations; others need so much scratch memory, too. So much of the device's memory is left free.
    DeviceLinears(std::shared_ptr<Device> device, const Program& program, cuda::Element element, uint64_t otherScratch, uint64_t reserve);

    /// What prepare() advances the workers by.
    double workFor(const Recipes& recipes) const;
    /// Decides how each layer runs and reads weights, as many as stay on the device. Nothing is to do for the recipes of the last call. Throws DeviceError
    /// OutOfMemory when not even the largest weights pass through, Error.
    void prepare(const Recipes& recipes, const DeviceBench& bench);

    /// Makes room for others: the next prepare() reads everything again.
    void dropWeights();

    /// Of a linear of the program, by its place there: why it runs on the processor, as half a sentence after its name; nothing when it runs here.
    const std::optional<std::string>& reason(size_t op) const { return layers_[op]->reason; }
    /// How the layer runs whose recipe asks for integers.
    const std::optional<IntegerExecution>& integers(size_t op) const { return layers_[op]->integers; }

    /// Inputs that were prepared are forgotten.
    void startRun() { prepared_.reset(); }
    /// Queues the layer, for which reason() has none. Reads weights that do not stay. `nonFinite` becomes 1 where a result is not finite.
    void run(size_t op, const DeviceBuffers& buffers, const DeviceBench& bench, uint32_t* nonFinite);
    /// Memory for the time of one op.
    std::byte* scratch() const { return scratch_.data(); }

    uint64_t weightBytes() const;
    uint64_t residentBytes() const;

private:
    struct Layer : LayerWeights {
        using LayerWeights::LayerWeights;
        uint64_t rows = 0;
        std::optional<std::string> reason{};
        std::optional<IntegerExecution> integers{};
        std::shared_ptr<const DeviceTransforms> transforms{};  ///< none where there are none, or where the coder rotates itself
        std::optional<DeviceCoder> coder{};    ///< none: activations are floats
        std::optional<DeviceSmallFloats> floats{};  ///< which are rounded to these
        std::optional<DeviceLinear> product{};
        std::optional<cuda::CodeBytes> bytes{};     ///< that it may take in the place of codes
        std::optional<DeviceLinear> branch{};  ///< the down matrix
        size_t weights = 0;                    ///< in weights_: the down matrix where there is one, then the product's
    };
    /// The inputs that lie in transformed_, codes_ and sides_ or rounded_.
    struct Prepared {
        Buffer x;
        std::vector<Transform> transforms;
        Quantizer activations;
        std::optional<ActivationRange> range;
        uint64_t tail;
        bool transformed;  ///< what is coded lies in transformed_
        std::optional<cuda::CodeBytes> bytes;  ///< in codes_, in the place of codes
        bool operator==(const Prepared&) const = default;
    };
    /// One piece of memory on the device.
    struct Weight {
        const Layer* layer;
        bool down;
        uint64_t bytes() const { return down ? layer->branch->weightBytes() : layer->product->weightBytes(); }
    };

    void decide(Layer& layer, const Recipes& recipes);
    std::optional<std::string> decideProduct(Layer& layer);
    std::shared_ptr<const DeviceTransforms> transformsFor(const std::vector<Transform>& list, uint64_t width);
    void makeRoom();
    void readWeight(size_t index, std::byte* target);
    DeviceRows prepareInput(const Layer& layer, const DeviceBuffers& buffers);

    std::shared_ptr<Device> device_;
    const Program& program_;
    cuda::Element element_;
    std::vector<std::unique_ptr<Layer>> layers_;  ///< by op
    std::optional<Recipes> recipes_;
    uint64_t otherScratch_;
    uint64_t reserve_;

    DeviceArray<std::byte> scratch_;
    struct Loaded {
        std::vector<Transform> list;
        uint64_t width;
        std::shared_ptr<const DeviceTransforms> transforms;
    };
    std::vector<Loaded> loaded_;
    DeviceArray<float> transformed_;
    DeviceArray<float> spare_;
    DeviceArray<uint8_t> codes_;
    DeviceArray<float> sides_;
    DeviceArray<uint16_t> rounded_;
    DeviceArray<float> branch_;
    std::optional<Prepared> prepared_;

    const DeviceBench* bench_ = nullptr;  ///< of the call that is under way
    bool loading_ = false;                ///< the weights that stay are being read
    std::vector<Weight> pieces_;
    std::vector<std::vector<std::byte>> kept_;  ///< on the host: weights that are streamed and took long to make
    uint64_t keptBytes_ = 0;
    std::unique_ptr<DeviceWeights> weights_;
};

}  // namespace quantscope
