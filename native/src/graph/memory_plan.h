// Where every buffer of a program lies in one block of memory. A buffer's place is free again after its last reader, so the block
// is about as large as what is alive at the worst moment.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "graph/program.h"

namespace quantscope {

class MemoryPlan {
public:
    explicit MemoryPlan(const std::vector<Shape>& buffers);

    void input(Buffer buffer) { written(buffer, 0); }
    void write(Buffer buffer, size_t op) { written(buffer, op + 1); }
    void read(Buffer buffer, size_t op);
    void output(Buffer buffer);
    /// `out` is a view of `x` that starts `offset` values in.
    void alias(Buffer out, Buffer x, uint64_t offset);
    /// Not in the block.
    void external(Buffer buffer) { entries_[buffer].external = true; }

    /// Decides every place. Call once, after all of the above.
    void place();

    /// Values the block must hold.
    uint64_t size() const { return size_; }
    /// A buffer is `offset` values into what belongs to `root`: the block, or an external buffer.
    struct Place {
        Buffer root;
        bool external;
        uint64_t offset;
    };
    Place placeOf(Buffer buffer) const;

private:
    struct Entry {
        uint64_t elements = 0;
        size_t written = 0;   ///< step: 0 for inputs, op + 1 for the others
        size_t lastRead = 0;  ///< step, of this buffer and all its views
        bool external = true;  ///< not in the block
        std::optional<Buffer> viewOf;
        uint64_t offset = 0;  ///< in the block, or in the viewed buffer
    };
    void written(Buffer buffer, size_t step) {
        entries_[buffer].written = step;
        entries_[buffer].external = false;
    }
    uint64_t allocate(uint64_t elements);
    void release(uint64_t offset, uint64_t elements);
    Buffer rootOf(Buffer buffer) const;

    std::vector<Entry> entries_;
    uint64_t size_ = 0;
    std::map<uint64_t, uint64_t> free_;  ///< offset to size, never adjacent
};

}  // namespace quantscope
