// One linear on a device: the CUDA library's linears behind our quantizers.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "device/device.h"
#include "quantizer/quantizer.h"

namespace quantscope {

struct DeviceLinearShape {
    uint64_t outputs;
    uint64_t width;                 ///< quantized inputs, behind the transforms
    Quantizer weights;              ///< KeepQuantizer: BF16, or float32 with type Fp32 (then without tail and rank)
    Quantizer activations;
    uint64_t tail = 0;              ///< inputs behind `width` in high precision
    uint64_t rank = 0;              ///< of the low-rank branch
    bool bias = false;
    bool decoded = false;           ///< codes are multiplied as the floats that they decode to, rounded to BF16
};

/// A layer's shape as the library takes it, with the tables that it points to. Immutable, thread-safe.
class DeviceLinear {
public:
    /// Why such a linear has no product on a device, as half a sentence; nothing when it has.
    static std::optional<std::string> unsupported(const DeviceLinearShape& shape, const Device& device);

    /// Throws Error(Argument) where unsupported() has a reason.
    DeviceLinear(std::shared_ptr<Device> device, const DeviceLinearShape& shape);

    const cuda::LinearShape& shape() const { return tables_->shape; }
    /// Relative mean squared error of the integers that stand for a codebook, as IntegerCodes::surrogateError; 0 where there is none.
    double weightSurrogate() const { return tables_->weightSurrogate; }
    double activationSurrogate() const { return tables_->activationSurrogate; }

    uint64_t weightBytes() const;
    /// Into weightBytes() bytes of the host, to be copied to a device as they are.
    void pack(const cuda::LinearWeights& weights, void* packed) const;
    uint64_t scratchBytes(uint64_t rows) const;
    /// What codes of activations may come as; nothing where they have to come as they are.
    std::optional<cuda::CodeBytes> activationBytes() const;
    /// Queued.
    void run(const cuda::LinearRequest& request) const;

private:
    struct Tables {
        cuda::LinearShape shape{};
        std::vector<int8_t> integers[2];  ///< of weights and activations
        std::vector<float> levels[2];
        double weightSurrogate = 0;
        double activationSurrogate = 0;
    };
    static std::optional<std::string> describe(const DeviceLinearShape& shape, Tables& tables);

    std::shared_ptr<Device> device_;
    std::shared_ptr<const Tables> tables_;
};

}  // namespace quantscope
