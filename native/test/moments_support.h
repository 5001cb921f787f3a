// Files of second moments, as a test finds them.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <unistd.h>

#include "graph_support.h"

namespace quantscope::test {

class Folder {
public:
    Folder() : path_(std::filesystem::temp_directory_path() / ("quantscope-moments-" + std::to_string(::getpid()))) {
        std::filesystem::create_directories(path_);
    }
    ~Folder() { std::filesystem::remove_all(path_); }
    std::string path() const { return path_.string(); }

private:
    std::filesystem::path path_;
};

struct MomentsFile {
    std::string header;
    std::vector<float> values;
};

inline MomentsFile readFile(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    uint64_t length = 0;
    in.read(reinterpret_cast<char*>(&length), 8);
    MomentsFile file;
    file.header.resize(length);
    in.read(file.header.data(), static_cast<std::streamsize>(length));
    const auto begin = in.tellg();
    in.seekg(0, std::ios::end);
    file.values.resize(static_cast<size_t>(in.tellg() - begin) / sizeof(float));
    in.seekg(begin);
    in.read(reinterpret_cast<char*>(file.values.data()), static_cast<std::streamsize>(file.values.size() * sizeof(float)));
    return file;
}

}  // namespace quantscope::test
