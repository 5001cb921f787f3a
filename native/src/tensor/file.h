// Read-only access to a checkpoint file by position. The only place with operating system calls.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace quantscope {

/// Thread-safe: reads carry their own position.
class File {
public:
    /// Throws Error(Io) when the path is missing, is no regular file or may not be read.
    explicit File(const std::string& path);
    ~File();
    File(const File&) = delete;
    File& operator=(const File&) = delete;

    const std::string& path() const { return path_; }
    uint64_t size() const { return size_; }

    /// Reads exactly `bytes` bytes. Throws Error(Io) when the file ends before that.
    void read(uint64_t offset, std::byte* target, size_t bytes) const;

private:
    std::string path_;
    int descriptor_ = -1;
    uint64_t size_ = 0;
};

}  // namespace quantscope
