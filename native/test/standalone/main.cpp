// Runs all tests, or those whose name holds an argument or is one behind its "="; the last line says how many passed and failed. With --list first it names
// them only.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <cstring>
#include <exception>
#include <memory>

int main(int count, char** arguments) {
    const bool lists = count > 1 && std::strcmp(arguments[1], "--list") == 0;
    if (lists) {
        --count;
        ++arguments;
    }
    int passed = 0;
    int failed = 0;
    for (const auto& [name, make] : testing::registry()) {
        bool wanted = count < 2;
        for (int i = 1; i < count; ++i) {
            wanted = wanted || (arguments[i][0] == '=' ? name == arguments[i] + 1 : name.find(arguments[i]) != std::string::npos);
        }
        if (!wanted) {
            continue;
        }
        if (lists) {
            std::printf("%s\n", name.c_str());
            continue;
        }
        const int before = testing::failures();
        const auto begin = std::chrono::steady_clock::now();
        try {
            const std::unique_ptr<testing::Test> test(make());
            test->SetUp();
            test->TestBody();
            test->TearDown();
        } catch (const std::exception& error) {
            ++testing::failures();
            std::printf("%s: %s\n", name.c_str(), error.what());
        }
        testing::traces().clear();
        const bool good = testing::failures() == before;
        ++(good ? passed : failed);
        std::printf("%s %s (%.0f ms)\n", good ? "ok    " : "FAILED", name.c_str(), std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count());
        std::fflush(stdout);
    }
    if (lists) {
        return 0;
    }
    std::printf("%d passed, %d failed\n", passed, failed);
    return failed == 0 && passed > 0 ? 0 : 1;
}
