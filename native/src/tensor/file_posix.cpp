#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "base/error.h"
#include "tensor/file.h"

namespace quantscope {

namespace {

std::string reason(int code) { return std::generic_category().message(code); }

}  // namespace

File::File(const std::string& path) : path_(path) {
    // O_NONBLOCK: opening a named pipe must not wait for a writer. It has no effect on regular files.
    do {
        descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    } while (descriptor_ < 0 && errno == EINTR);
    if (descriptor_ < 0) {
        failIo(path + ": cannot be opened: " + reason(errno));
    }
    struct stat info {};
    if (::fstat(descriptor_, &info) != 0 || !S_ISREG(info.st_mode)) {
        const int code = errno;
        ::close(descriptor_);
        failIo(path + (S_ISREG(info.st_mode) ? ": cannot be examined: " + reason(code) : ": is not a regular file"));
    }
    size_ = static_cast<uint64_t>(info.st_size);
}

File::~File() { ::close(descriptor_); }

void File::read(uint64_t offset, std::byte* target, size_t bytes) const {
    constexpr size_t kMostPerCall = size_t{1} << 30;  // some systems cap one read just below 2 GiB
    while (bytes > 0) {
        const ssize_t got = ::pread(descriptor_, target, std::min(bytes, kMostPerCall), static_cast<off_t>(offset));
        if (got < 0) {
            if (errno == EINTR) {
                continue;
            }
            failIo(path_ + ": read error at byte " + std::to_string(offset) + ": " + reason(errno));
        }
        if (got == 0) {
            failIo(path_ + ": ends at byte " + std::to_string(offset) + " although it was " + std::to_string(size_) +
                   " bytes long when opened. Did another program rewrite it? Try again.");
        }
        target += got;
        offset += static_cast<uint64_t>(got);
        bytes -= static_cast<size_t>(got);
    }
}

}  // namespace quantscope
