#include "graph/checks.h"

#include "base/error.h"

namespace quantscope {

namespace {

/// Matrix routines count in 32 bits; no activation comes near.
constexpr uint64_t kMostPerAxis = (uint64_t{1} << 31) - 1;
constexpr uint64_t kMostElements = uint64_t{1} << 40;
constexpr size_t kMostAxes = 16;

std::string nameOf(const Op& op) {
    const auto* linear = std::get_if<LinearOp>(&op);
    return kOpNames[op.index()] + (linear != nullptr ? " " + linear->name : std::string());
}

}  // namespace

std::string describe(const Shape& shape) {
    std::string text = "[";
    for (const uint64_t size : shape) {
        text += (text.size() > 1 ? ", " : "") + std::to_string(size);
    }
    return text + "]";
}

Checks::Checks(const Program& program) : program_(program), plan_(program.buffers), written_(program.buffers.size(), false) {
    for (size_t i = 0; i < program.buffers.size(); ++i) {
        const Shape& shape = program.buffers[i];
        uint64_t elements = 1;
        bool fits = shape.size() <= kMostAxes;
        for (const uint64_t size : shape) {
            fits = fits && size >= 1 && size <= kMostPerAxis && elements <= kMostElements / size;
            elements = fits ? elements * size : elements;
        }
        require(fits, "buffer " + std::to_string(i) + " has the shape " + describe(shape) +
                          "; sizes are 1 or more and a buffer holds at most 2^40 values");
    }
    for (const auto& [name, buffer] : program.inputs) {
        require(buffer < written_.size(), "input \"" + name + "\": there is no buffer " + std::to_string(buffer));
        require(!written_[buffer], "input \"" + name + "\": buffer " + std::to_string(buffer) + " is an input already");
        written_[buffer] = true;
        plan_.input(buffer);
    }
}

void Checks::startOp(size_t index, const Op& op) {
    index_ = index;
    name_ = "op " + std::to_string(index) + " (" + nameOf(op) + ")";
}

void Checks::finish() {
    name_ = "program";
    require(!program_.outputs.empty(), "it has no outputs");
    for (const auto& [name, buffer] : program_.outputs) {
        require(buffer < written_.size(), "output \"" + name + "\": there is no buffer " + std::to_string(buffer));
        require(written_[buffer], "output \"" + name + "\": no op writes buffer " + std::to_string(buffer));
        plan_.output(buffer);
    }
    plan_.place();
}

void Checks::fail(const std::string& message) const { failArgument(name_ + ": " + message); }

const Shape& Checks::read(Buffer buffer, const char* what) {
    require(buffer < written_.size(), std::string(what) + ": there is no buffer " + std::to_string(buffer));
    require(written_[buffer], std::string(what) + ": buffer " + std::to_string(buffer) + " is read before it is written");
    plan_.read(buffer, index_);
    return program_.buffers[buffer];
}

const Shape& Checks::write(Buffer buffer) {
    require(buffer < written_.size(), "out: there is no buffer " + std::to_string(buffer));
    require(!written_[buffer], "out: buffer " + std::to_string(buffer) + " is written a second time");
    written_[buffer] = true;
    plan_.write(buffer, index_);
    return program_.buffers[buffer];
}

void Checks::open(Stored& stored, const char* what, std::optional<uint64_t> elements) {
    const TensorRef& ref = stored.ref;
    require(isWeightDtype(ref.dtype),
            std::string(what) + ": " + std::string(quantscope::nameOf(ref.dtype)) +
                " tensors cannot take part; supported are F32, F16, BF16, F64, F8_E4M3, F8_E5M2, I8 and U8");
    auto& file = files_[ref.file];
    try {
        if (file == nullptr) {
            file = std::make_shared<const File>(ref.file);
        }
        stored.tensor = std::make_shared<const Tensor>(ref, file);
    } catch (const Error& error) {
        throw Error(error.code(), name_ + ": " + what + ": " + error.what());
    }
    const uint64_t found = stored.tensor->elements();
    require(!elements || found == *elements, std::string(what) + " has " + std::to_string(found) + " values in the shape " +
                                                 describe(ref.shape) + ", expected " + std::to_string(elements.value_or(0)));
}

}  // namespace quantscope
