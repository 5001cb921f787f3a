#include "solver/levels.h"

#include <algorithm>
#include <cmath>

namespace quantscope {

RowLevels::RowLevels(const RowCodec& codec)
    : codec_(codec), levels_(size_t{1} << codec.bits()), sizes_(codec.width() / codec.group()),
      choices_(sizes_.size() * levels_), codes_(codec.width()), decoded_(codec.width()) {}

void RowLevels::set(const float* sides) {
    const size_t group = codec_.group();
    std::fill(sizes_.begin(), sizes_.end(), 0);
    for (size_t first = 0; first < levels_; first += group) {  // as many codes at once as a group has places
        const size_t count = std::min(group, levels_ - first);
        for (size_t i = 0; i < codes_.size(); ++i) {
            codes_[i] = static_cast<uint8_t>(first + std::min(i % group, count - 1));
        }
        codec_.decode(codes_.data(), sides, decoded_.data());
        for (size_t g = 0; g < sizes_.size(); ++g) {
            for (size_t i = 0; i < count; ++i) {
                const float value = decoded_[g * group + i];
                if (std::isfinite(value)) {
                    choices_[g * levels_ + sizes_[g]++] = {static_cast<uint8_t>(first + i), value};
                }
            }
        }
    }
    const auto before = [](const Choice& a, const Choice& b) { return a.value < b.value; };
    for (size_t g = 0; g < sizes_.size(); ++g) {
        const auto begin = choices_.begin() + static_cast<ptrdiff_t>(g * levels_);
        const auto end = begin + static_cast<ptrdiff_t>(sizes_[g]);
        if (!std::is_sorted(begin, end, before)) {
            std::stable_sort(begin, end, before);
        }
    }
}

RowLevels::Choice RowLevels::nearest(size_t column, double value) const {
    const size_t group = column / codec_.group();
    const Choice* const begin = choices_.data() + group * levels_;
    const Choice* const end = begin + sizes_[group];
    const Choice* const above = std::lower_bound(begin, end, value, [](const Choice& c, double v) { return c.value < v; });
    if (above == begin) {
        return *begin;
    }
    return above == end || value - above[-1].value < above->value - value ? above[-1] : *above;
}

}  // namespace quantscope
