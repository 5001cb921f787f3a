// SplitMix64 (Steele, Lea, Flood 2014): the generator every seeded draw uses. It is written out because seeds must mean the
// same draw on every platform, which the standard library's distributions do not promise.
#pragma once

#include <cstdint>

namespace quantscope {

class SplitMix64 {
public:
    explicit SplitMix64(uint64_t state) : state_(state) {}

    uint64_t next() {
        uint64_t z = (state_ += 0x9E3779B97F4A7C15ull);
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
        return z ^ (z >> 31);
    }

    /// An integer in 0..bound-1: the high 64 bits of next() * bound (bias below bound / 2^64).
    uint64_t below(uint64_t bound) {
#if defined(__SIZEOF_INT128__)
        __extension__ using Wide = unsigned __int128;
        return static_cast<uint64_t>((static_cast<Wide>(next()) * bound) >> 64);
#else
        const uint64_t a = next();
        const uint64_t low = (a & 0xFFFFFFFF) * (bound & 0xFFFFFFFF);
        const uint64_t mid1 = (a >> 32) * (bound & 0xFFFFFFFF) + (low >> 32);
        const uint64_t mid2 = (a & 0xFFFFFFFF) * (bound >> 32) + (mid1 & 0xFFFFFFFF);
        return (a >> 32) * (bound >> 32) + (mid1 >> 32) + (mid2 >> 32);
#endif
    }

    /// A number in [0, 1) with 53 random bits.
    double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }

private:
    uint64_t state_;
};

}  // namespace quantscope
