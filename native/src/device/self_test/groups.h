// One test for each group of api.h, ops as a whole graph; each says what is wrong, or nothing, and throws Error.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "device/device.h"

namespace quantscope::selfTest {

std::optional<std::string> rotation(const std::shared_ptr<Device>& device);
std::optional<std::string> smallFloats(const std::shared_ptr<Device>& device);
std::optional<std::string> statistics(const std::shared_ptr<Device>& device);
std::optional<std::string> linear(const std::shared_ptr<Device>& device);
std::optional<std::string> solver(const std::shared_ptr<Device>& device);
std::optional<std::string> attention(const std::shared_ptr<Device>& device);
std::optional<std::string> graph(const std::shared_ptr<Device>& device);

}  // namespace quantscope::selfTest
