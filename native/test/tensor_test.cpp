#include "tensor/tensor.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "base/error.h"
#include "support.h"

namespace quantscope {
namespace {

using test::TemporaryFile;

/// Code and message of the error that opening the tensor gives.
std::pair<ErrorCode, std::string> failure(const TensorRef& ref) {
    try {
        const Tensor tensor(ref);
    } catch (const Error& error) {
        return {error.code(), error.what()};
    }
    ADD_FAILURE() << "no error";
    return {};
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(Tensor, ShapeAndReading) {
    std::vector<float> values(30);
    for (size_t i = 0; i < values.size(); ++i) {
        values[i] = static_cast<float>(i);
    }
    const TemporaryFile file(test::bytesOf(values));
    const Tensor tensor(test::tensorIn(file, Dtype::F32, {2, 3, 4}, 8));
    EXPECT_EQ(tensor.rows(), 6u);
    EXPECT_EQ(tensor.columns(), 4u);
    EXPECT_EQ(tensor.rowBytes(), 16u);
    std::vector<float> row(4);
    tensor.read(4, 4, reinterpret_cast<std::byte*>(row.data()));
    EXPECT_EQ(row, (std::vector<float>{6, 7, 8, 9}));
    EXPECT_EQ(Tensor(test::tensorIn(file, Dtype::F32, {})).elements(), 1u);
    EXPECT_EQ(Tensor(test::tensorIn(file, Dtype::F32, {7, 0})).elements(), 0u);
}

TEST(Tensor, TruncatedFileNamesBothSizes) {
    const TemporaryFile file(test::bytesOf(std::vector<float>(10)));
    const auto [code, message] = failure(test::tensorIn(file, Dtype::F32, {3, 4}, 4));
    EXPECT_EQ(code, ErrorCode::Io);
    EXPECT_TRUE(contains(message, file.path())) << message;
    EXPECT_TRUE(contains(message, "52")) << message;
    EXPECT_TRUE(contains(message, "40")) << message;
    EXPECT_TRUE(contains(message, "truncated")) << message;
}

TEST(Tensor, HostileHeaders) {
    const TemporaryFile file(test::bytesOf(std::vector<float>(10)));
    const uint64_t huge = uint64_t{1} << 62;
    EXPECT_EQ(failure(test::tensorIn(file, Dtype::F32, {huge, huge, 2})).first, ErrorCode::Argument);
    EXPECT_EQ(failure(test::tensorIn(file, Dtype::F64, {huge})).first, ErrorCode::Argument);
    EXPECT_EQ(failure(test::tensorIn(file, Dtype::F32, {4}, UINT64_MAX - 3)).first, ErrorCode::Io);
    EXPECT_EQ(failure(test::tensorIn(file, Dtype::F4, {4})).first, ErrorCode::Argument);
}

TEST(Tensor, NotAFile) {
    const auto [missing, message] = failure({"/nonexistent/model.safetensors", 0, Dtype::F32, {1}});
    EXPECT_EQ(missing, ErrorCode::Io);
    EXPECT_TRUE(contains(message, "/nonexistent/model.safetensors")) << message;
    EXPECT_EQ(failure({"/dev/null", 0, Dtype::F32, {1}}).first, ErrorCode::Io);
    EXPECT_EQ(failure({std::filesystem::temp_directory_path().string(), 0, Dtype::F32, {1}}).first, ErrorCode::Io);
}

TEST(Tensor, ANamedPipeDoesNotHang) {
    const std::string path = std::filesystem::temp_directory_path() / ("quantscope-pipe-" + std::to_string(::getpid()));
    ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
    EXPECT_EQ(failure({path, 0, Dtype::F32, {1}}).first, ErrorCode::Io);
    std::filesystem::remove(path);
}

TEST(Tensor, AFileThatShrinksIsReported) {
    const TemporaryFile file(test::bytesOf(std::vector<float>(1000)));
    const Tensor tensor(test::tensorIn(file, Dtype::F32, {1000}));
    std::filesystem::resize_file(file.path(), 100);
    std::vector<float> values(1000);
    EXPECT_THROW(tensor.read(0, 1000, reinterpret_cast<std::byte*>(values.data())), Error);
}

}  // namespace
}  // namespace quantscope
