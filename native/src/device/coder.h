// Rows rotated and coded on a device: RowCodec and Rpbh behind the CUDA library's rotate().
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cpu/kernels.h"
#include "device/device.h"
#include "quantizer/quantizer.h"
#include "rotation/rpbh.h"

namespace quantscope {

cuda::Stored storedOf(FloatType type);

/// A codebook's positive levels and the thresholds between them, ascending.
struct DeviceLevels {
    DeviceLevels() = default;
    DeviceLevels(Device& device, const LevelTable& table);

    DeviceArray<float> levels;
    DeviceArray<float> thresholds;
    uint32_t count = 0;
};

/// `rows` of [width] values on a device, `stride` elements apart.
struct DeviceRows {
    const void* data;
    cuda::Element element;
    uint64_t rows;
    uint64_t stride;
};

/// What integers take from elsewhere than the rows that are coded (linear/activations.h).
struct ActivationCoding {
    std::optional<TensorRange> range{};  ///< for one scale for the whole tensor; without one it is that of the rows of each call
    std::vector<float> shift{};          ///< [width] behind the rotation, in the place of the quantizer's own
};

/// A quantizer and a rotation for rows of one width, ready on a device. Calls are queued.
class DeviceCoder {
public:
    /// Why rows of this quantizer are not coded on this device, as half a sentence; nothing when they are.
    static std::optional<std::string> unsupported(const Quantizer& quantizer, uint64_t width, const Rpbh* rotation, const Device& device,
                                                  const ActivationCoding& given = {});

    /// `rotation` may be null. Throws DeviceError, and Error(Argument) where unsupported() has a reason.
    DeviceCoder(std::shared_ptr<Device> device, const Quantizer& quantizer, uint64_t width, const Rpbh* rotation, const ActivationCoding& given = {});

    size_t rowBytes() const { return rowBytes_; }  ///< of packed codes
    size_t sides() const { return sides_; }        ///< numbers beside the codes of a row, as RowCodec::sides()

    /// codes [rows, rowBytes()] and sides [rows, sides()], addresses of the device.
    void encode(const DeviceRows& x, uint8_t* codes, float* sides) const { encode(x, codes, sides, nullptr); }
    /// Whether codes of such rows may become bytes at once, [rows, width].
    bool writesBytes(const DeviceRows& x) const;
    void encode(const DeviceRows& x, uint8_t* codes, float* sides, const cuda::CodeBytes* bytes) const;
    /// What is coded, before it is: y [rows, width].
    void rotate(const DeviceRows& x, void* y, cuda::Element element, uint64_t stride) const;

private:
    cuda::RotateRequest requestFor(const DeviceRows& x) const;

    std::shared_ptr<Device> device_;
    cuda::RotateRequest request_{};
    DeviceArray<uint32_t> sources_;
    DeviceLevels levels_;
    DeviceArray<float> shift_;
    DeviceArray<uint32_t> range_;
    bool findsRange_ = false;
    size_t rowBytes_ = 0;
    size_t sides_ = 0;
};

}  // namespace quantscope
