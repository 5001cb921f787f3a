// Buffers aligned to a cache line, so that vector loads never straddle one.
#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <type_traits>

namespace quantscope {

inline constexpr std::size_t kAlignment = 64;

struct AlignedDelete {
    void operator()(void* p) const { ::operator delete(p, std::align_val_t{kAlignment}); }
};

template <class T>
using AlignedArray = std::unique_ptr<T[], AlignedDelete>;

/// Uninitialised storage for `count` trivial values. Throws std::bad_alloc.
template <class T>
AlignedArray<T> allocateAligned(std::size_t count) {
    static_assert(std::is_trivially_default_constructible_v<T> && std::is_trivially_destructible_v<T>);
    if (count > (static_cast<std::size_t>(-1) - kAlignment) / sizeof(T)) {
        throw std::bad_array_new_length();
    }
    void* memory = ::operator new(count == 0 ? kAlignment : count * sizeof(T), std::align_val_t{kAlignment});
    return AlignedArray<T>(static_cast<T*>(memory));
}

}  // namespace quantscope
