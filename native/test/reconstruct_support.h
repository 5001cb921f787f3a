// A transformer block whose rounding can be learned, and what a tape of it works with.
#pragma once

#include "base/error.h"
#include "graph_support.h"
#include "reconstruct/tape.h"

namespace quantscope::test {

inline constexpr uint64_t kTokens = 12;
inline constexpr uint64_t kWidth = 16;

inline LinearRecipe integers(int bits, std::vector<Transform> transforms = {}) {
    LinearRecipe recipe;
    recipe.transforms = std::move(transforms);
    recipe.weights = IntQuantizer{.bits = bits, .symmetric = false, .granularity = Granularity::Row, .group = 0, .scale = FloatType::Fp32};
    recipe.activations = KeepQuantizer{};
    return recipe;
}

/// adaLN block: modulated attention with normed heads and rope, and a gated feed-forward. Two inputs: tokens and condition.
struct Block {
    explicit Block(uint64_t seed = 1) : model(seed) {
        x = model.input({kTokens, kWidth});
        condition = model.input({1, kWidth});
        Gaussian random(seed + 50);
        const Buffer modulation = linear("modulation", model.add(UnaryOp{UnaryKind::Silu, condition, 0}, {1, kWidth}), 6 * kWidth);
        Buffer parts[6];
        for (uint64_t i = 0; i < 6; ++i) {
            parts[i] = model.add(SliceOp{modulation, 1, i * kWidth, (i + 1) * kWidth, 0}, {1, kWidth});
        }
        const Shape rows{kTokens, kWidth};
        const Buffer u = model.add(ModulateOp{norm(x), parts[0], parts[1], 0}, rows);
        const Buffer cos = model.add(ConstantOp{random.floats(kTokens * 4), 0}, {kTokens, 4});
        const Buffer sin = model.add(ConstantOp{random.floats(kTokens * 4), 0}, {kTokens, 4});
        Buffer heads[2];
        const char* const names[] = {"q", "k"};
        for (int i = 0; i < 2; ++i) {
            const Buffer split = reshape(linear(names[i], u, kWidth), {kTokens, 2, kWidth / 2});
            const Buffer normed = model.add(RmsNormOp{split, 1e-6, model.tensor({kWidth / 2}), 0}, {kTokens, 2, kWidth / 2});
            heads[i] = model.add(RopeOp{reshape(normed, rows), cos, sin, 2, 0}, rows);
        }
        const Buffer attended = model.add(AttentionOp{heads[0], heads[1], linear("v", u, kWidth), 2, std::nullopt, 0}, rows);
        const Buffer y = model.add(GateAddOp{x, parts[2], linear("out", attended, kWidth), 0}, rows);
        const Buffer w = model.add(ModulateOp{norm(y), parts[3], parts[4], 0}, rows);
        const Shape wide{kTokens, 2 * kWidth};
        const Buffer gelu = model.add(UnaryOp{UnaryKind::GeluTanh, linear("up", w, 2 * kWidth), 0}, wide);
        model.add(GateAddOp{y, parts[5], linear("down", gelu, kWidth), 0}, rows);
    }

    Buffer norm(Buffer of) { return model.add(LayerNormOp{of, 1e-6, std::nullopt, std::nullopt, 0}, {kTokens, kWidth}); }
    Buffer reshape(Buffer of, const Shape& shape) {
        std::vector<uint64_t> axes(shape.size());
        for (size_t i = 0; i < axes.size(); ++i) {
            axes[i] = i;
        }
        return model.add(PermuteOp{of, shape, axes, 0}, shape);
    }
    Buffer linear(const std::string& name, Buffer of, uint64_t outputs) {
        const uint64_t inputs = lastOf(model.program.buffers[of]);
        std::vector<float> values = weights_.floats(outputs * inputs);
        for (float& value : values) {
            value /= std::sqrt(static_cast<float>(inputs));
        }
        stored[name] = model.tensor({outputs, inputs}, values);
        Shape out = model.program.buffers[of];
        out.back() = outputs;
        return model.add(LinearOp{name, of, stored[name], model.tensor({outputs}), 0}, out);
    }

    Model model;
    Buffer x = 0;
    Buffer condition = 0;
    std::map<std::string, Stored> stored;

private:
    Gaussian weights_{7};
};

/// Everything a tape works with.
struct Shop {
    explicit Shop(unsigned threads = 2) : pool(threads), memory(threads) {}
    ThreadPool pool;
    Cancellation cancellation;
    Progress progress = [](double) {};
    Workers workers{pool, cancellation, progress, 1};
    std::vector<TileMemory> memory;
    Bench bench{workers, memory, kernels()};
};

inline std::string messageOf(const std::function<void()>& body) {
    try {
        body();
    } catch (const Error& error) {
        return error.what();
    }
    return "no error";
}

}  // namespace quantscope::test
