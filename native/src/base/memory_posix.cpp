#include <unistd.h>

#include "base/memory.h"

namespace quantscope {

uint64_t physicalMemory() {
    return static_cast<uint64_t>(::sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(::sysconf(_SC_PAGE_SIZE));
}

}  // namespace quantscope
