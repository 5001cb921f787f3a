// Which lines of a benchmark are asked for: those whose name contains one of the program's arguments, all without arguments.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

namespace quantscope::bench {

inline std::vector<std::string> selection;

inline bool wanted(const std::string& name) {
    return selection.empty() || std::any_of(selection.begin(), selection.end(), [&](const std::string& each) { return name.find(each) != std::string::npos; });
}

}  // namespace quantscope::bench
