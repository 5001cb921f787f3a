#include "transform/hadamard.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/lru_cache.h"
#include "base/random.h"
#include "linear/gemm.h"

namespace quantscope {

namespace {

bool isPrime(uint64_t n) {
    for (uint64_t i = 2; i * i <= n; ++i) {
        if (n % i == 0) {
            return false;
        }
    }
    return n >= 2;
}

/// Four symmetric circulant ±1 matrices of this size whose squares add up to 4 · size · I (Williamson 1944), found by search. A string
/// gives the first half of a first row; the rest mirrors it.
struct Williamson {
    uint64_t size;
    std::string_view rows[4];
};
constexpr Williamson kWilliamson[] = {
    {13, {"++++-+-", "++---+-", "++---+-", "+---+-+"}},
    {43, {"+++++-++----+-++--++-+", "+++---++--+-+-+-++----", "++-+-++++-+--+--+++--+", "+-++-----++++-+-+++-++"}},
};

enum class Construction { Sylvester, Paley1, Paley2, Williamson, None };

Construction constructionOf(uint64_t order) {
    if (order == 1) {
        return Construction::Sylvester;
    }
    if (order % 4 != 0) {
        return Construction::None;
    }
    if (isPrime(order - 1)) {
        return Construction::Paley1;
    }
    if (order / 2 % 4 == 2 && isPrime(order / 2 - 1)) {
        return Construction::Paley2;
    }
    for (const Williamson& known : kWilliamson) {
        if (order == 4 * known.size) {
            return Construction::Williamson;
        }
    }
    return Construction::None;
}

/// Jacobsthal matrix Q_ij = χ(i - j) over the integers modulo the prime q, bordered: row and column 0 are 1, but 0 in the corner and,
/// when χ(-1) = -1, -1 down the column. It is S with S Sᵀ = q I, symmetric for q = 1 mod 4, skew for q = 3 mod 4 (Paley 1933).
std::vector<int8_t> conferenceMatrix(uint64_t q) {
    std::vector<int8_t> character(q, -1);
    character[0] = 0;
    for (uint64_t i = 1; i < q; ++i) {
        character[i * i % q] = 1;
    }
    const uint64_t n = q + 1;
    std::vector<int8_t> s(n * n);
    for (uint64_t i = 1; i < n; ++i) {
        s[i] = 1;
        s[i * n] = q % 4 == 1 ? 1 : -1;
        for (uint64_t j = 1; j < n; ++j) {
            s[i * n + j] = character[(i + q - j) % q];
        }
    }
    return s;
}

/// I + S, S skew.
std::vector<int8_t> paley1(uint64_t order) {
    std::vector<int8_t> h = conferenceMatrix(order - 1);
    for (uint64_t i = 0; i < order; ++i) {
        h[i * order + i] = 1;
    }
    return h;
}

/// [[S + I, S - I], [S - I, -S - I]], S symmetric.
std::vector<int8_t> paley2(uint64_t order) {
    const uint64_t n = order / 2;
    const std::vector<int8_t> s = conferenceMatrix(n - 1);
    std::vector<int8_t> h(order * order);
    for (uint64_t i = 0; i < n; ++i) {
        for (uint64_t j = 0; j < n; ++j) {
            const auto value = s[i * n + j];
            const auto unit = static_cast<int8_t>(i == j ? 1 : 0);
            h[i * order + j] = static_cast<int8_t>(value + unit);
            h[i * order + n + j] = h[(n + i) * order + j] = static_cast<int8_t>(value - unit);
            h[(n + i) * order + n + j] = static_cast<int8_t>(-value - unit);
        }
    }
    return h;
}

/// [[A, B, C, D], [-B, A, -D, C], [-C, D, A, -B], [-D, -C, B, A]].
std::vector<int8_t> williamson(uint64_t order) {
    constexpr int kParts[4][4] = {{1, 2, 3, 4}, {-2, 1, -4, 3}, {-3, 4, 1, -2}, {-4, -3, 2, 1}};
    const uint64_t n = order / 4;
    const Williamson& known = n == kWilliamson[0].size ? kWilliamson[0] : kWilliamson[1];
    std::vector<int8_t> h(order * order);
    for (uint64_t i = 0; i < order; ++i) {
        for (uint64_t j = 0; j < order; ++j) {
            const int part = kParts[i / n][j / n];
            const uint64_t shift = (n + j % n - i % n) % n;
            const bool positive = known.rows[std::abs(part) - 1][std::min(shift, n - shift)] == '+';
            h[i * order + j] = static_cast<int8_t>(positive == (part > 0) ? 1 : -1);
        }
    }
    return h;
}

}  // namespace

std::optional<uint64_t> hadamardOrder(uint64_t width) {
    uint64_t order = width;
    while (order % 2 == 0 && order > 0) {
        order /= 2;
    }
    for (; order >= 1 && order <= kMaxHadamardOrder && width % order == 0; order *= 2) {
        if (constructionOf(order) != Construction::None) {
            return order;
        }
    }
    return std::nullopt;
}

std::vector<int8_t> hadamardMatrix(uint64_t order) {
    switch (constructionOf(order)) {
        case Construction::Sylvester: return {1};
        case Construction::Paley1: return paley1(order);
        case Construction::Paley2: return paley2(order);
        case Construction::Williamson: return williamson(order);
        case Construction::None: break;
    }
    failArgument("There is no construction for a Hadamard matrix of order " + std::to_string(order) + " here.");
}

HadamardRotation::HadamardRotation(uint64_t width, uint64_t seed) : order_(*hadamardOrder(width)), signs_(width) {
    SplitMix64 random(seed ^ (width << 32));
    for (uint32_t i = 0; i < width; ++i) {
        signs_[i] = i | (static_cast<uint32_t>(random.next() >> 63) << 31);
    }
    if (order_ > 1) {
        const auto matrix = hadamardMatrix(order_);
        matrix_.assign(matrix.begin(), matrix.end());
        for (uint64_t i = 0; i < order_ * order_; ++i) {
            transposed_.push_back(matrix[i % order_ * order_ + i / order_]);
        }
    }
}

void HadamardRotation::apply(const float* x, float* y, float* spare, const Kernels& kernels) const {
    const size_t width = signs_.size();
    const size_t block = width / order_;
    // The two factors of the Kronecker product commute.
    if (order_ == 1) {
        kernels.gatherSigned(x, signs_.data(), width, y);
    } else {
        kernels.gatherSigned(x, signs_.data(), width, spare);
        multiply(order_, block, order_, matrix_.data(), order_, spare, block, 0.0f, y, block);
    }
    kernels.hadamard(y, width, block, static_cast<float>(1.0 / std::sqrt(static_cast<double>(width))));
}

void HadamardRotation::undo(const float* y, float* x, float* spare, const Kernels& kernels) const {
    const size_t width = signs_.size();
    const size_t block = width / order_;
    if (order_ == 1) {
        std::copy_n(y, width, spare);
    } else {
        multiply(order_, block, order_, transposed_.data(), order_, y, block, 0.0f, spare, block);
    }
    kernels.hadamard(spare, width, block, static_cast<float>(1.0 / std::sqrt(static_cast<double>(width))));
    kernels.gatherSigned(spare, signs_.data(), width, x);
}

std::shared_ptr<const HadamardRotation> hadamardFor(uint64_t width, uint64_t seed) {
    constexpr size_t kCacheBytes = size_t{64} << 20;
    static LruCache<std::pair<uint64_t, uint64_t>, HadamardRotation> cache(kCacheBytes);
    return cache.get({width, seed}, (width + 2 * kMaxHadamardOrder) * sizeof(uint32_t), [&] { return HadamardRotation(width, seed); });
}

}  // namespace quantscope
