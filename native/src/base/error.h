// The one exception type of the engine. Every failure a caller can cause or meet carries one of these codes; the addon turns
// them into JavaScript errors with `.code`.
#pragma once

#include <stdexcept>
#include <string>

namespace quantscope {

enum class ErrorCode {
    Io,         ///< a file is missing, too short, or cannot be read
    Argument,   ///< the request makes no sense
    Memory,     ///< an allocation failed, on this machine or on a device
    Device,     ///< a device or its driver failed, or cannot be used
    Cancelled,  ///< the caller asked to stop
};

class Error : public std::runtime_error {
public:
    Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
    ErrorCode code() const { return code_; }

private:
    ErrorCode code_;
};

[[noreturn]] inline void failArgument(const std::string& message) { throw Error(ErrorCode::Argument, message); }
[[noreturn]] inline void failIo(const std::string& message) { throw Error(ErrorCode::Io, message); }

}  // namespace quantscope
