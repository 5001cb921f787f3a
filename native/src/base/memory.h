// What this machine has.
#pragma once

#include <cstdint>

namespace quantscope {

/// Bytes of physical memory.
uint64_t physicalMemory();

}  // namespace quantscope
