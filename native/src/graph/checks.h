// What checking a program needs and collects: every op states its rule through this class. A program that passed can run: every
// buffer is written once and before it is read, every shape fits, every tensor lies inside its file.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "graph/memory_plan.h"
#include "graph/program.h"

namespace quantscope {

class Checks {
public:
    /// Checks buffers, inputs and outputs by themselves. Throws Error(Argument).
    explicit Checks(const Program& program);

    /// Every complaint from here on is about this op: "op 12 (linear blocks.0.attn.to_q): …".
    void startOp(size_t index, const Op& op);
    /// Outputs must have been written.
    void finish();

    [[noreturn]] void fail(const std::string& message) const;
    void require(bool condition, const std::string& message) const {
        if (!condition) {
            fail(message);
        }
    }

    /// Shape of a buffer the op reads.
    const Shape& read(Buffer buffer, const char* what);
    /// Shape of the buffer the op writes.
    const Shape& write(Buffer buffer);
    /// The op writes nothing: `out` is `x` from element `offset` on.
    void alias(Buffer out, Buffer x, uint64_t offset) { plan_.alias(out, x, offset); }
    /// `out` lives outside of the arena, in the program itself.
    void constant(Buffer out) { plan_.external(out); }

    /// Opens a tensor of the op; it must have this many elements (when given) and a type that can be a weight.
    /// Throws Error(Io) when the file is missing or too short.
    void open(Stored& stored, const char* what, std::optional<uint64_t> elements = {});

    void addFlops(double flops) { flops_ += flops; }

    double flops() const { return flops_; }
    const MemoryPlan& plan() const { return plan_; }

private:
    const Program& program_;
    MemoryPlan plan_;
    std::vector<bool> written_;
    std::map<std::string, std::shared_ptr<const File>> files_;
    size_t index_ = 0;
    std::string name_ = "program";
    double flops_ = 0;
};

/// "[2, 3]"
std::string describe(const Shape& shape);

}  // namespace quantscope
