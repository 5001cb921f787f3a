// One safetensors file, written under another name and renamed when it is whole.
#pragma once

#include <cstdint>
#include <fstream>
#include <span>
#include <string>
#include <vector>

#include "tensor/dtype.h"

namespace quantscope {

class SafetensorsWriter {
public:
    struct Entry {
        std::string name;  ///< letters, digits, dots, dashes and underscores
        Dtype dtype;
        std::vector<uint64_t> shape;
    };
    /// `format` goes into the metadata. Throws Error(Io) when the file cannot be made, like every function here.
    SafetensorsWriter(std::string path, const std::string& format, const std::vector<Entry>& entries);
    /// Removes what was not finished.
    ~SafetensorsWriter();
    SafetensorsWriter(const SafetensorsWriter&) = delete;
    SafetensorsWriter& operator=(const SafetensorsWriter&) = delete;

    /// The next bytes, in the order of the entries.
    void write(std::span<const std::byte> bytes);
    template <class T>
    void write(const std::vector<T>& values) {
        write(std::as_bytes(std::span(values)));
    }
    /// Every byte was written: the file appears under its name.
    void finish();

private:
    [[noreturn]] void fail() const;

    std::string path_;
    std::string temporary_;
    std::ofstream out_;
    uint64_t missing_ = 0;  ///< bytes that are still to come
    bool finished_ = false;
};

}  // namespace quantscope
