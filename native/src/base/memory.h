// What this machine has.
#pragma once

#include <cstddef>
#include <cstdint>

namespace quantscope {

/// Bytes of physical memory.
uint64_t physicalMemory();

/// Asks for large pages behind a block of many megabytes that was not touched yet: fewer to fill on the first touch, and to look up later. A wish only.
void preferLargePages(void* memory, size_t bytes);

}  // namespace quantscope
