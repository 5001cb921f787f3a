#include <sys/mman.h>
#include <unistd.h>

#include "base/memory.h"

namespace quantscope {

uint64_t physicalMemory() {
    return static_cast<uint64_t>(::sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(::sysconf(_SC_PAGE_SIZE));
}

void preferLargePages(void* memory, size_t bytes) {
#ifdef MADV_HUGEPAGE
    const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGE_SIZE));
    const uintptr_t begin = (reinterpret_cast<uintptr_t>(memory) + page - 1) / page * page;
    const uintptr_t end = (reinterpret_cast<uintptr_t>(memory) + bytes) / page * page;
    if (begin < end) {
        static_cast<void>(::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE));
    }
#else
    static_cast<void>(memory);
    static_cast<void>(bytes);
#endif
}

}  // namespace quantscope
