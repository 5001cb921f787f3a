// Which rows stand for all of them.
#pragma once

#include <cstdint>

namespace quantscope {

/// Row number of sample i of `count`, evenly spread over `rows`: floor((i + 1/2) rows / count).
inline uint64_t sampledRow(uint64_t i, uint64_t rows, uint64_t count) {
    __extension__ using Wide = unsigned __int128;  // the product leaves 64 bits
    return static_cast<uint64_t>(static_cast<Wide>(2 * i + 1) * rows / (static_cast<Wide>(2) * count));
}

}  // namespace quantscope
