// Files of coded layers, read back.
#pragma once

#include <fstream>
#include <map>
#include <string>

#include "linear/recipe.h"

namespace quantscope::test {

/// Tensors of a safetensors file that this program wrote: {"name":{"dtype":"U8","shape":[1,2],"data_offsets":[0,2]},…
inline std::map<std::string, TensorRef> tensorsOf(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    uint64_t length = 0;
    in.read(reinterpret_cast<char*>(&length), 8);
    std::string header(length, ' ');
    in.read(header.data(), static_cast<std::streamsize>(length));
    std::map<std::string, TensorRef> result;
    const std::string key = "\":{\"dtype\":\"";
    for (size_t at = header.find(key); at != std::string::npos; at = header.find(key, at + 1)) {
        const size_t name = header.rfind('"', at - 1) + 1;
        const size_t dtype = at + key.size();
        const size_t shape = header.find('[', at) + 1;
        const size_t offset = header.find('[', shape) + 1;
        TensorRef ref{path, 8 + length + std::stoull(header.substr(offset)), *parseDtype(header.substr(dtype, header.find('"', dtype) - dtype)), {}};
        for (size_t i = shape; header[i - 1] != ']'; i = header.find_first_of(",]", i) + 1) {
            ref.shape.push_back(std::stoull(header.substr(i)));
        }
        result[header.substr(name, at - name)] = ref;
    }
    return result;
}

/// The recipe with what a file holds.
inline LinearRecipe withCodes(LinearRecipe recipe, const std::string& path) {
    auto tensors = tensorsOf(path);
    PackedWeight packed{tensors.at("codes"), {}, {}};
    for (const auto& [name, ref] : tensors) {
        if (name == "tail") {
            packed.tail = ref;
        } else if (name != "codes" && name.rfind("low_rank", 0) != 0) {
            packed.sides[name] = ref;
        }
    }
    if (tensors.contains("low_rank.down")) {
        recipe.lowRank = LowRank{tensors.at("low_rank.down"), tensors.at("low_rank.up")};
    }
    recipe.packed = packed;
    return recipe;
}

}  // namespace quantscope::test
