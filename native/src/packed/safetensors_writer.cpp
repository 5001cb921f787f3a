#include "packed/safetensors_writer.h"

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <stdexcept>
#include <system_error>

#include "base/error.h"

namespace quantscope {

SafetensorsWriter::SafetensorsWriter(std::string path, const std::string& format, const std::vector<Entry>& entries)
    : path_(std::move(path)),
      temporary_(path_ + "." + std::to_string(std::chrono::steady_clock::now().time_since_epoch().count()) + ".tmp") {
    std::string header = R"({"__metadata__":{"format":")" + format + "\"}";
    for (const Entry& entry : entries) {
        uint64_t bytes = elementBytes(entry.dtype);
        std::string shape;
        for (const uint64_t size : entry.shape) {
            bytes *= size;
            shape += shape.empty() ? "" : ",";
            shape += std::to_string(size);
        }
        header += ",\"" + entry.name + R"(":{"dtype":")" + std::string(nameOf(entry.dtype)) + R"(","shape":[)" + shape +
                  R"(],"data_offsets":[)" + std::to_string(missing_) + "," + std::to_string(missing_ + bytes) + "]}";
        missing_ += bytes;
    }
    header += "}";
    header.resize((header.size() + 7) / 8 * 8, ' ');  // data begins at a multiple of 8
    errno = 0;
    out_.open(temporary_, std::ios::binary | std::ios::trunc);
    const uint64_t size = header.size();
    char length[8];
    for (int i = 0; i < 8; ++i) {
        length[i] = static_cast<char>(size >> (8 * i) & 0xFF);
    }
    if (!out_.write(length, 8) || !out_.write(header.data(), static_cast<std::streamsize>(size))) {
        fail();
    }
}

SafetensorsWriter::~SafetensorsWriter() {
    if (!finished_) {
        out_.close();
        std::error_code ignored;
        std::filesystem::remove(temporary_, ignored);
    }
}

void SafetensorsWriter::write(std::span<const std::byte> bytes) {
    if (bytes.size() > missing_) {
        throw std::logic_error("more bytes than the entries of " + path_);
    }
    missing_ -= bytes.size();
    if (!out_.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()))) {
        fail();
    }
}

void SafetensorsWriter::finish() {
    if (missing_ != 0) {
        throw std::logic_error("fewer bytes than the entries of " + path_);
    }
    out_.close();
    std::error_code error;
    if (out_) {
        std::filesystem::rename(temporary_, path_, error);
    }
    if (!out_ || error) {
        fail();
    }
    finished_ = true;
}

void SafetensorsWriter::fail() const {
    const std::string reason = errno != 0 ? std::generic_category().message(errno) : "write error";
    failIo(path_ + ": cannot be written: " + reason + ". Check that the folder exists, may be written to and has room.");
}

}  // namespace quantscope
