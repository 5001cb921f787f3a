// Ops that memory bounds, at the widths of FLUX.1 in bfloat16 and of its decoder in float32: bytes that have to be read and written against copy bandwidth.
#pragma once

#include <string>

#include "device_linears.h"

namespace quantscope::bench {

inline void ops(const std::shared_ptr<Device>& device, bool emulated, double copyRate, const Best& best, const Line& line) {
    using namespace cuda;
    const OpCalls& calls = *device->api().ops;
    Context* const context = device->context();
    const uint64_t tokens = emulated ? 9 : 36864, heads = emulated ? 3 : 24, width = heads * 128;  // eight images of 1024 px: more than caches hold
    const uint64_t values = tokens * width;
    const auto x = randomBytes(*device, 10 * values, 1, true), vectors = randomBytes(*device, 10 * width * 4, 2, true);
    const auto angles = randomBytes(*device, tokens * 128 * 4, 3, true), moments = device->allocate<uint8_t>(32 * 2 * kNormParts * 8);
    const auto out = device->allocate<uint8_t>(10 * values), found = device->allocate<uint8_t>(4);
    const auto* const weight = reinterpret_cast<const float*>(vectors.data());
    /// `bytes` is what has to be moved.
    const auto measure = [&](const std::string& name, uint64_t bytes, const std::function<Status()>& work) {
        if (wanted("ops, " + name)) {
            const double ms = best([&] { device->check(work(), "an op"); });
            const double rate = static_cast<double>(bytes) / ms / 1e6;
            line("ops, " + name, ms, rate, "GB/s", rate / copyRate, "copy");
        }
    };
    const std::string of = ", " + std::to_string(tokens) + " x " + std::to_string(width);

    const auto combination = [&](Combination kind) {
        CombineRequest r{kind, Element::BF16, 2, {tokens, width}, {{width, 1}, {0, 1}, {0, 1}}, {x.data(), vectors.data(), nullptr}, out.data()};
        if (kind == Combination::Modulate) {
            r.operands[2] = vectors.data() + 2 * width;
        } else if (kind == Combination::GateAdd) {
            r.operands[2] = x.data() + 2 * values;
            r.steps[2][0] = width;
        } else {
            r.operands[1] = x.data() + 2 * values;
            r.steps[1][0] = width;
        }
        return r;
    };
    const auto modulate = combination(Combination::Modulate), gateAdd = combination(Combination::GateAdd), add = combination(Combination::Add);
    const RowNormRequest layerNorm{x.data(), Element::BF16, 1, tokens, width, 1e-6, nullptr, nullptr, out.data(), nullptr, nullptr};
    const RowNormRequest modulated{x.data(), Element::BF16, 1, tokens, width, 1e-6, nullptr, nullptr, out.data(), vectors.data(), vectors.data() + 2 * width};
    const RowNormRequest headNorm{x.data(), Element::BF16, 0, tokens * heads, 128, 1e-6, weight, nullptr, out.data(), nullptr, nullptr};
    measure("layer norm" + of, 4 * values, [&] { return calls.rowNorm(context, &layerNorm); });
    measure("modulate" + of, 4 * values, [&] { return calls.combine(context, &modulate); });
    measure("layer norm and modulate, as two" + of, 8 * values, [&] {
        const Status normed = calls.rowNorm(context, &layerNorm);
        return normed == Status::Ok ? calls.combine(context, &modulate) : normed;
    });
    measure("layer norm and modulate" + of, 4 * values, [&] { return calls.rowNorm(context, &modulated); });
    measure("rms norm of heads of 128" + of, 4 * values, [&] { return calls.rowNorm(context, &headNorm); });
    const RopeRequest rope{x.data(), Element::BF16, tokens, heads, 64, angles.data(), angles.data() + tokens * 64 * 4, Element::F32, out.data()};
    measure("rope" + of, 4 * values + tokens * 128 * 4, [&] { return calls.rope(context, &rope); });
    for (const auto& [kind, name] : {std::pair{Map::GeluTanh, "gelu"}, {Map::Silu, "silu"}}) {
        const MapRequest map{kind, Element::BF16, x.data(), 4 * values, 0, 0, 0, 0, out.data()};
        measure(name + of + " x 4", 16 * values, [&] { return calls.map(context, &map); });
    }
    measure("gate add" + of, 6 * values, [&] { return calls.combine(context, &gateAdd); });
    measure("add" + of, 6 * values, [&] { return calls.combine(context, &add); });

    const MoveRequest attended{2, 2, {tokens, width}, {width, 1}, {5 * width, 1}, x.data(), out.data()};
    const MoveRequest hidden{2, 2, {tokens, 4 * width}, {4 * width, 1}, {5 * width, 1}, x.data(), out.data() + 2 * width};
    measure("concat along the last axis, 1 + 4 parts" + of, 20 * values, [&] {
        const Status first = calls.move(context, &attended);
        return first == Status::Ok ? calls.move(context, &hidden) : first;
    });
    const MoveRequest slice{2, 2, {tokens, width}, {3 * width, 1}, {width, 1}, x.data() + 2 * width, out.data()};
    measure("slice of the last axis, 1 of 3 parts" + of, 4 * values, [&] { return calls.move(context, &slice); });
    const MoveRequest heads1{2, 3, {heads, tokens, 128}, {128, width, 1}, {tokens * 128, 128, 1}, x.data(), out.data()};
    measure("permute heads outwards" + of, 4 * values, [&] { return calls.move(context, &heads1); });
    const MoveRequest transpose{2, 2, {width, tokens}, {1, width}, {tokens, 1}, x.data(), out.data()};
    measure("transpose" + of, 4 * values, [&] { return calls.move(context, &transpose); });
    const MoveRequest same{2, 2, {tokens, width}, {width, 1}, {width, 1}, x.data(), out.data()};
    measure("move as it is" + of, 4 * values, [&] { return calls.move(context, &same); });
    const NonFiniteRequest search{x.data(), Element::BF16, 4 * values, reinterpret_cast<uint32_t*>(found.data())};
    measure("search for what is not finite" + of + " x 4", 8 * values, [&] { return calls.findNonFinite(context, &search); });

    const uint64_t channels = emulated ? 32 : 128, size = values / channels;  // in float32
    const std::string image = ", float32, " + std::to_string(channels) + " x " + std::to_string(size);
    const GroupNormRequest groupNorm{x.data(), Element::F32, 32, channels, size, 1e-6, weight, weight, reinterpret_cast<double*>(moments.data()), out.data()};
    measure("group norm" + image, 12 * values, [&] { return calls.groupNorm(context, &groupNorm); });
    const ChannelNormRequest channelNorm{x.data(), Element::F32, channels, size, weight, out.data()};
    measure("channel norm" + image, 8 * values, [&] { return calls.channelNorm(context, &channelNorm); });
    const MapRequest silu{Map::Silu, Element::F32, x.data(), values, 0, 0, 0, 0, out.data()};
    measure("silu" + image, 8 * values, [&] { return calls.map(context, &silu); });
    const uint64_t side = emulated ? 8 : 512;
    const ResizeRequest resize{4, 3, {channels, side, side}, {channels, 2 * side, 2 * side}, x.data(), out.data()};
    measure("resize, float32, " + std::to_string(channels) + " x " + std::to_string(side) + "^2 to twice", 20 * channels * side * side,
            [&] { return calls.resize(context, &resize); });
}

}  // namespace quantscope::bench
