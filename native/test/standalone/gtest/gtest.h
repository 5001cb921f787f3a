// The part of GoogleTest that the tests of the device and of the processor's kernels use, for machines that have a GPU and little else (gpu.sh) and for
// processors that an emulator stands in for (CMakeLists.txt). Same names, same meaning.
#pragma once

#include <cmath>
#include <functional>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

namespace testing {

class Test {
public:
    virtual ~Test() = default;
    virtual void SetUp() {}
    virtual void TearDown() {}
    virtual void TestBody() = 0;
};

struct Registered {
    std::string name;
    std::function<Test*()> make;
};

inline std::vector<Registered>& registry() {
    static std::vector<Registered> tests;
    return tests;
}
/// A test of a suite runs once for each of the suite's values, which INSTANTIATE_TEST_SUITE_P names above the suite's first test.
template <class T>
struct TestParamInfo {
    T param;
};
template <class T>
class TestWithParam : public Test {
public:
    using ParamType = T;
    const T& GetParam() const { return parameter; }
    T parameter;
};
template <class T>
std::vector<T> ValuesIn(std::vector<T> values) {
    return values;
}
template <class Suite>
std::vector<std::pair<std::string, typename Suite::ParamType>>& parameters() {
    static std::vector<std::pair<std::string, typename Suite::ParamType>> all;
    return all;
}
template <class Suite, class NameOf>
bool instantiate(const std::vector<typename Suite::ParamType>& values, NameOf nameOf) {
    for (const auto& value : values) {
        parameters<Suite>().push_back({nameOf(TestParamInfo<typename Suite::ParamType>{value}), value});
    }
    return true;
}
template <class Suite, class Case>
bool registerForEach(const std::string& name) {
    for (const auto& [label, value] : parameters<Suite>()) {
        registry().push_back({name + "/" + label, [value] {
                                  auto* const test = new Case;
                                  test->parameter = value;
                                  return static_cast<Test*>(test);
                              }});
    }
    return true;
}

inline int& failures() {
    static int count = 0;
    return count;
}
inline std::vector<std::string>& traces() {
    static std::vector<std::string> stack;
    return stack;
}

class Message {
public:
    template <class T>
    Message& operator<<(const T& value) {
        text_ << value;
        return *this;
    }
    std::string text() const { return text_.str(); }

private:
    std::ostringstream text_;
};

/// Takes what was streamed behind a failed check and reports it.
class Failure {
public:
    Failure(const char* file, int line, std::string what) : file_(file), line_(line), what_(std::move(what)) {}
    void operator=(const Message& message) const {
        ++failures();
        std::cout << file_ << ":" << line_ << ": " << what_ << " " << message.text() << "\n";
        for (const std::string& trace : traces()) {
            std::cout << "    " << trace << "\n";
        }
    }

private:
    const char* file_;
    int line_;
    std::string what_;
};

class ScopedTrace {
public:
    template <class T>
    explicit ScopedTrace(const T& value) {
        std::ostringstream text;
        text << value;
        traces().push_back(text.str());
    }
    ~ScopedTrace() { traces().pop_back(); }
};

template <class T>
std::string shown(const T& value) {
    if constexpr (requires(std::ostream& out) { out << value; }) {
        std::ostringstream text;
        text << value;
        return text.str();
    } else {
        return "(a value)";
    }
}

template <class A, class B>
std::string comparison(const char* a, const char* b, const char* sign, const A& left, const B& right) {
    return std::string("expected ") + a + " " + sign + " " + b + ", got " + shown(left) + " and " + shown(right) + ";";
}

}  // namespace testing

#define QUANTSCOPE_TEST_CLASS(suite, name) suite##_##name##_Test
#define QUANTSCOPE_TEST(suite, name, base)                                                                                         \
    class QUANTSCOPE_TEST_CLASS(suite, name) : public base {                                                                       \
        void TestBody() override;                                                                                                  \
    };                                                                                                                             \
    static const bool suite##_##name##_registered = [] {                                                                           \
        ::testing::registry().push_back({#suite "." #name, [] { return static_cast<::testing::Test*>(new QUANTSCOPE_TEST_CLASS(suite, name)); }}); \
        return true;                                                                                                               \
    }();                                                                                                                           \
    void QUANTSCOPE_TEST_CLASS(suite, name)::TestBody()
#define INSTANTIATE_TEST_SUITE_P(prefix, suite, values, ...) static const bool suite##_instantiated = ::testing::instantiate<suite>(values, __VA_ARGS__)
#define TEST_P(suite, name)                                                                                                        \
    class QUANTSCOPE_TEST_CLASS(suite, name) : public suite {                                                                      \
        void TestBody() override;                                                                                                  \
    };                                                                                                                             \
    static const bool suite##_##name##_registered = ::testing::registerForEach<suite, QUANTSCOPE_TEST_CLASS(suite, name)>(#suite "." #name); \
    void QUANTSCOPE_TEST_CLASS(suite, name)::TestBody()
#define TEST(suite, name) QUANTSCOPE_TEST(suite, name, ::testing::Test)
#define TEST_F(suite, name) QUANTSCOPE_TEST(suite, name, suite)

#define QUANTSCOPE_JOIN2(a, b) a##b
#define QUANTSCOPE_JOIN(a, b) QUANTSCOPE_JOIN2(a, b)
#define SCOPED_TRACE(value) const ::testing::ScopedTrace QUANTSCOPE_JOIN(trace, __LINE__)(value)

#define QUANTSCOPE_FAILED(what) ::testing::Failure(__FILE__, __LINE__, what) = ::testing::Message()
#define QUANTSCOPE_CHECK(condition, what, leave) \
    if (condition)                               \
        ;                                        \
    else                                         \
        leave QUANTSCOPE_FAILED(what)
#define QUANTSCOPE_COMPARE(a, sign, b, leave) \
    QUANTSCOPE_CHECK((a)sign(b), ::testing::comparison(#a, #b, #sign, (a), (b)), leave)

#define EXPECT_EQ(a, b) QUANTSCOPE_COMPARE(a, ==, b, )
#define EXPECT_NE(a, b) QUANTSCOPE_COMPARE(a, !=, b, )
#define EXPECT_LT(a, b) QUANTSCOPE_COMPARE(a, <, b, )
#define EXPECT_LE(a, b) QUANTSCOPE_COMPARE(a, <=, b, )
#define EXPECT_GT(a, b) QUANTSCOPE_COMPARE(a, >, b, )
#define EXPECT_GE(a, b) QUANTSCOPE_COMPARE(a, >=, b, )
#define EXPECT_TRUE(a) QUANTSCOPE_CHECK((a), "expected " #a ";", )
#define EXPECT_FALSE(a) QUANTSCOPE_CHECK(!(a), "expected not " #a ";", )
#define EXPECT_NEAR(a, b, by) QUANTSCOPE_CHECK(std::fabs(double(a) - double(b)) <= double(by), ::testing::comparison(#a, #b, "within " #by " of", (a), (b)), )
#define ASSERT_EQ(a, b) QUANTSCOPE_COMPARE(a, ==, b, return)
#define ASSERT_NE(a, b) QUANTSCOPE_COMPARE(a, !=, b, return)
#define ASSERT_LT(a, b) QUANTSCOPE_COMPARE(a, <, b, return)
#define ASSERT_LE(a, b) QUANTSCOPE_COMPARE(a, <=, b, return)
#define ASSERT_GT(a, b) QUANTSCOPE_COMPARE(a, >, b, return)
#define ASSERT_GE(a, b) QUANTSCOPE_COMPARE(a, >=, b, return)
#define ASSERT_TRUE(a) QUANTSCOPE_CHECK((a), "expected " #a ";", return)
#define ASSERT_FALSE(a) QUANTSCOPE_CHECK(!(a), "expected not " #a ";", return)
#define ASSERT_NEAR(a, b, by) QUANTSCOPE_CHECK(std::fabs(double(a) - double(b)) <= double(by), ::testing::comparison(#a, #b, "within " #by " of", (a), (b)), return)
#define EXPECT_THROW(statement, type)                                     \
    if ([&] {                                                             \
            try {                                                         \
                statement;                                                \
            } catch (const type&) {                                       \
                return true;                                              \
            }                                                             \
            return false;                                                 \
        }())                                                              \
        ;                                                                 \
    else                                                                  \
        QUANTSCOPE_FAILED("expected " #statement " to throw " #type ";")
#define ADD_FAILURE() QUANTSCOPE_FAILED("failed;")
#define FAIL() return QUANTSCOPE_FAILED("failed;")
