#include "graph/memory_plan.h"

#include <algorithm>
#include <limits>

#include "base/aligned.h"

namespace quantscope {

namespace {

/// Places start on cache lines.
uint64_t padded(uint64_t elements) {
    constexpr uint64_t kLine = kAlignment / sizeof(float);
    return (elements + kLine - 1) / kLine * kLine;
}

}  // namespace

MemoryPlan::MemoryPlan(const std::vector<Shape>& buffers) : entries_(buffers.size()) {
    for (size_t i = 0; i < buffers.size(); ++i) {
        entries_[i].elements = elementsOf(buffers[i]);
    }
}

Buffer MemoryPlan::rootOf(Buffer buffer) const {
    while (entries_[buffer].viewOf) {
        buffer = *entries_[buffer].viewOf;
    }
    return buffer;
}

void MemoryPlan::read(Buffer buffer, size_t op) {
    Entry& root = entries_[rootOf(buffer)];
    root.lastRead = std::max(root.lastRead, op + 1);
}

void MemoryPlan::output(Buffer buffer) { entries_[rootOf(buffer)].lastRead = std::numeric_limits<size_t>::max(); }

void MemoryPlan::alias(Buffer out, Buffer x, uint64_t offset) {
    entries_[out].offset = offset + (entries_[x].viewOf ? entries_[x].offset : 0);
    entries_[out].viewOf = rootOf(x);
}

void MemoryPlan::place() {
    // In order of writing; what was last read before the current step is free. An op's inputs are still alive while it writes.
    std::vector<Buffer> byWriting;
    std::multimap<size_t, Buffer> byLastRead;
    for (Buffer i = 0; i < entries_.size(); ++i) {
        if (!entries_[i].viewOf && !entries_[i].external) {
            byWriting.push_back(i);
        }
    }
    std::stable_sort(byWriting.begin(), byWriting.end(),
                     [&](Buffer a, Buffer b) { return entries_[a].written < entries_[b].written; });
    for (const Buffer buffer : byWriting) {
        Entry& entry = entries_[buffer];
        while (!byLastRead.empty() && byLastRead.begin()->first < entry.written) {
            const Entry& dead = entries_[byLastRead.begin()->second];
            release(dead.offset, padded(dead.elements));
            byLastRead.erase(byLastRead.begin());
        }
        entry.offset = allocate(padded(entry.elements));
        byLastRead.emplace(std::max(entry.lastRead, entry.written), buffer);
    }
}

uint64_t MemoryPlan::allocate(uint64_t elements) {
    for (auto hole = free_.begin(); hole != free_.end(); ++hole) {
        const auto [offset, size] = *hole;
        if (size >= elements) {
            free_.erase(hole);
            if (size > elements) {
                free_.emplace(offset + elements, size - elements);
            }
            return offset;
        }
    }
    // A hole at the end of the block grows with it.
    uint64_t offset = size_;
    if (!free_.empty() && free_.rbegin()->first + free_.rbegin()->second == size_) {
        offset = free_.rbegin()->first;
        free_.erase(offset);
    }
    size_ = offset + elements;
    return offset;
}

void MemoryPlan::release(uint64_t offset, uint64_t elements) {
    auto next = free_.lower_bound(offset);
    if (next != free_.end() && offset + elements == next->first) {
        elements += next->second;
        next = free_.erase(next);
    }
    if (next != free_.begin()) {
        const auto previous = std::prev(next);
        if (previous->first + previous->second == offset) {
            previous->second += elements;
            return;
        }
    }
    free_.emplace(offset, elements);
}

MemoryPlan::Place MemoryPlan::placeOf(Buffer buffer) const {
    const Buffer root = rootOf(buffer);
    const Entry& owner = entries_[root];
    const uint64_t inside = entries_[buffer].viewOf ? entries_[buffer].offset : 0;
    return {root, owner.external, (owner.external ? 0 : owner.offset) + inside};
}

}  // namespace quantscope
