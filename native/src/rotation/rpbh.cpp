#include "rotation/rpbh.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <utility>

#include "base/lru_cache.h"
#include "base/random.h"
#include "cpu/kernels.h"

namespace quantscope {

Rpbh::Rpbh(uint64_t width, uint64_t seed, const Cancellation* cancellation) : sources_(width) {
    constexpr uint64_t kPoll = 0xFFFF;
    SplitMix64 random(seed ^ (width << 32));
    std::iota(sources_.begin(), sources_.end(), 0u);
    for (uint64_t i = width - 1; i >= 1; --i) {
        std::swap(sources_[i], sources_[random.below(i + 1)]);
        if (cancellation != nullptr && (i & kPoll) == 0) {
            cancellation->check();
        }
    }
    for (auto& source : sources_) {
        source |= static_cast<uint32_t>(random.next() >> 63) << 31;
    }
}

void Rpbh::apply(const float* source, float* target, const Kernels& kernels) const {
    const size_t n = sources_.size();
    const size_t h = block();
    kernels.gatherSigned(source, sources_.data(), n, target);
    kernels.hadamard(target, n, h, static_cast<float>(1.0 / std::sqrt(static_cast<double>(h))));
}

void Rpbh::undo(const float* target, float* source, float* spare, const Kernels& kernels) const {
    const size_t n = sources_.size();
    const size_t h = block();
    std::copy_n(target, n, spare);
    kernels.hadamard(spare, n, h, static_cast<float>(1.0 / std::sqrt(static_cast<double>(h))));
    for (size_t i = 0; i < n; ++i) {
        source[this->source(i)] = sign(i) < 0 ? -spare[i] : spare[i];
    }
}

std::shared_ptr<const Rpbh> rotationFor(uint64_t width, uint64_t seed, const Cancellation* cancellation) {
    if (width < 1 || width > kMaxWidth) {
        failArgument("a rotation needs a width from 1 to " + std::to_string(kMaxWidth) + ", got " + std::to_string(width));
    }
    constexpr size_t kCacheBytes = size_t{64} << 20;
    static LruCache<std::pair<uint64_t, uint64_t>, Rpbh> cache(kCacheBytes);
    return cache.get({width, seed}, width * sizeof(uint32_t), [&] { return Rpbh(width, seed, cancellation); });
}

}  // namespace quantscope
