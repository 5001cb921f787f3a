#include "device/self_test/definitions.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "base/random.h"
#include "packed/codes.h"

namespace quantscope {

std::vector<float> gaussians(size_t count, uint64_t seed) {
    SplitMix64 random(seed);
    std::vector<float> values(count);
    for (float& value : values) {
        const double radius = std::sqrt(-2 * std::log(1 - random.uniform()));
        value = static_cast<float>(radius * std::cos(2 * std::numbers::pi * random.uniform()));
    }
    return values;
}

std::optional<std::string> compareCodes(const RowCodec& codec, const float* values, size_t rows, const uint8_t* packed, const float* sides) {
    const size_t width = codec.width();
    const size_t rowBytes = packedBytes(width, codec.bits());
    const bool affine = codec.sides() > 1;  // scale and lowest step in turn
    std::vector<uint8_t> codes(width);
    std::vector<uint8_t> own(width);
    std::vector<float> expected(codec.sides());
    std::vector<float> want(width);
    std::vector<float> have(width);
    size_t differences = 0;
    for (size_t i = 0; i < rows; ++i) {
        const auto place = [&](size_t k) { return "row " + std::to_string(i) + ", value " + std::to_string(k); };
        const float* const row = values + i * width;
        const float* const ownSides = sides + i * codec.sides();
        codec.encode(row, codes.data(), expected.data());
        unpackCodes(packed + i * rowBytes, width, codec.bits(), own.data());
        for (size_t k = 0; k < codec.sides(); ++k) {
            // A zero point may fall either way at a half; a norm or a scale by one unit of the coarsest type that it is stored in.
            const float allowed = affine && k % 2 == 1 ? 1.0f : std::fabs(expected[k]) * 0x1p-7f;
            if (std::isnan(expected[k]) ? !std::isnan(ownSides[k]) : !(std::fabs(ownSides[k] - expected[k]) <= allowed)) {
                return "row " + std::to_string(i) + ", side " + std::to_string(k) + " is " + std::to_string(ownSides[k]) + ", not " + std::to_string(expected[k]);
            }
        }
        codec.decode(codes.data(), expected.data(), want.data());
        codec.decode(own.data(), ownSides, have.data());
        for (size_t k = 0; k < width; ++k) {
            if (own[k] == codes[k]) {
                continue;
            }
            ++differences;
            const float difference = std::fabs(std::fabs(have[k] - row[k]) - std::fabs(want[k] - row[k]));
            if (!(difference <= 0.02f * std::fabs(row[k]) + 1e-4f * std::fabs(want[k]))) {
                return place(k) + " has code " + std::to_string(own[k]) + ", not " + std::to_string(codes[k]);
            }
        }
        if (const size_t used = width * static_cast<size_t>(codec.bits()) % 8; used != 0 && packed[(i + 1) * rowBytes - 1] >> used != 0) {
            return "row " + std::to_string(i) + " has bits behind its last code";
        }
    }
    if (differences > 2 + rows * width / 500) {
        return std::to_string(differences) + " of " + std::to_string(rows * width) + " codes are different";
    }
    return std::nullopt;
}

PlainAttention attendPlainly(const cuda::AttentionShape& shape, PlainRows q, PlainRows k, PlainRows v, const float* bias) {
    const size_t width = shape.heads * shape.width;
    PlainAttention result{std::vector<double>(shape.queries * width), std::vector<double>(shape.queries * width)};
    std::vector<double> p(shape.keys);
    for (size_t i = 0; i < shape.queries; ++i) {
        for (size_t column = 0; column < width; column += shape.width) {
            double greatest = -std::numeric_limits<double>::infinity();
            for (size_t j = 0; j < shape.keys; ++j) {
                double sum = 0;
                for (size_t c = column; c < column + shape.width; ++c) {
                    sum += static_cast<double>(q.at[i * q.stride + c]) * k.at[j * k.stride + c];
                }
                p[j] = sum / std::sqrt(static_cast<double>(shape.width)) + (bias == nullptr ? 0.0 : bias[j]);
                greatest = std::fmax(greatest, p[j]);  // NaNs are no maximum: they come out of the exponential
            }
            double total = 0;
            for (double& each : p) {
                each = std::exp(each - greatest);
                total += each;
            }
            for (size_t c = column; c < column + shape.width; ++c) {
                for (size_t j = 0; j < shape.keys; ++j) {
                    const double term = p[j] / total * v.at[j * v.stride + c];
                    result.out[i * width + c] += term;
                    result.magnitude[i * width + c] += std::fabs(term);
                }
            }
        }
    }
    return result;
}

PlainSweep sweepPlainly(const cuda::SweepRequest& request) {
    const size_t n = request.size;
    PlainSweep result{std::vector<uint8_t>(request.rows * n), std::vector<double>(request.rows)};
    std::vector<double> errors(n);
    for (size_t row = 0; row < request.rows; ++row) {
        const float* const weights = request.weights + row * n;
        const float* const sides = request.sides + row * request.sidesOfRow;
        const auto value = [&](size_t coordinate, size_t code) {
            const float* const side = request.hasOffsets != 0 ? sides + 2 * (coordinate / request.group) : sides;
            const float level = request.levels[code] + (request.hasOffsets != 0 ? side[1] : 0.0f);
            return static_cast<double>(level * (side[0] * request.unit));
        };
        for (size_t r = n; r-- > 0;) {
            const size_t coordinate = request.order[r];
            double moved = 0;
            for (size_t k = r + 1; k < n; ++k) {
                moved += errors[k] * request.lower[k * n + r];
            }
            const double diagonal = request.lower[r * n + r];
            const double wanted = weights[coordinate] + moved / diagonal;
            size_t best = 0;
            for (size_t code = 1; code < size_t{1} << request.bits; ++code) {
                if (std::fabs(value(coordinate, code) - wanted) <= std::fabs(value(coordinate, best) - wanted)) {
                    best = code;
                }
            }
            result.codes[row * n + coordinate] = static_cast<uint8_t>(best);
            errors[r] = weights[coordinate] - value(coordinate, best);
            const double left = (wanted - value(coordinate, best)) * diagonal;
            result.losses[row] += request.dead[coordinate] != 0 ? 0.0 : left * left - request.damping * errors[r] * errors[r];
        }
    }
    return result;
}

std::vector<uint8_t> asBytes(const std::vector<uint8_t>& packed, const cuda::CodeBytes& form) {
    std::vector<uint8_t> bytes(2 * packed.size());
    for (size_t i = 0; i < bytes.size(); ++i) {
        const size_t within = i % 32, code = packed[i / 2] >> i % 2 * 4 & 15;
        const size_t place = form.inHalves != 0 ? i - within + within / 4 % 2 * 16 + within / 8 * 4 + within % 4 : i;
        bytes[place] = static_cast<uint8_t>(form.levels[code / 4] >> code % 4 * 8);
    }
    return bytes;
}

}  // namespace quantscope
