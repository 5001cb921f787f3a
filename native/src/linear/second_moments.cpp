#include "linear/second_moments.h"

#include <algorithm>
#include <bit>
#include <cctype>
#include <cmath>
#include <functional>
#include <limits>

#include "base/error.h"
#include "linear/gemm.h"
#include "packed/safetensors_writer.h"

namespace quantscope {

namespace {

constexpr uint64_t kTile = 256;
constexpr uint64_t kRows = 1024;

uint64_t tilesOf(uint64_t width) { return (width + kTile - 1) / kTile; }

/// Letters, digits, dots, dashes and underscores stay; names come from checkpoints and must not leave the folder.
std::string fileName(const std::string& layer) {
    constexpr const char* kDigits = "0123456789abcdef";
    constexpr size_t kLongest = 180;
    std::string name;
    for (const char c : layer) {
        const auto byte = static_cast<unsigned char>(c);
        if ((std::isalnum(byte) != 0 && byte < 0x80) || c == '-' || c == '_' || (c == '.' && !name.empty())) {
            name += c;
        } else {
            name += {'%', kDigits[byte >> 4], kDigits[byte & 15]};
        }
    }
    if (name.size() > kLongest) {
        name = name.substr(0, kLongest) + "%" + std::to_string(std::hash<std::string>()(layer));
    }
    return name + ".safetensors";
}

}  // namespace

SecondMoments::SecondMoments(uint64_t width) : width_(width), tiles_(allocateAligned<double>(bytes(width) / sizeof(double))) {
    std::fill_n(tiles_.get(), bytes(width) / sizeof(double), 0.0);
}

uint64_t SecondMoments::bytes(uint64_t width) {
    const uint64_t side = tilesOf(width);
    return side * (side + 1) / 2 * kTile * kTile * sizeof(double);
}

void SecondMoments::add(const float* x, uint64_t rows, Workers& workers, const Kernels& kernels) {
    std::vector<uint8_t> usable(rows);
    workers.rows(rows, width_, [&](uint64_t begin, uint64_t end) {
        for (uint64_t i = begin; i < end; ++i) {
            usable[i] = kernels.maxMagnitude(x + i * width_, width_) < std::bit_cast<uint32_t>(std::numeric_limits<float>::infinity());
        }
    });
    std::vector<float> packed;
    const uint64_t side = tilesOf(width_);
    for (uint64_t begin = 0; begin < rows; begin += kRows) {
        const uint64_t all = std::min(kRows, rows - begin);
        const float* from = x + begin * width_;
        const auto count = static_cast<uint64_t>(std::count(usable.begin() + static_cast<ptrdiff_t>(begin),
                                                            usable.begin() + static_cast<ptrdiff_t>(begin + all), 1));
        if (count < all) {
            packed.clear();
            for (uint64_t i = 0; i < all; ++i) {
                if (usable[begin + i] != 0) {
                    packed.insert(packed.end(), from + i * width_, from + (i + 1) * width_);
                }
            }
            from = packed.data();
        }
        rows_ += count;
        workers.tiles(count == 0 ? 0 : side * (side + 1) / 2, [&](size_t tile, unsigned) {
            const auto i = static_cast<uint64_t>((std::sqrt(8.0 * static_cast<double>(tile) + 1) - 1) / 2);
            const uint64_t j = tile - i * (i + 1) / 2;
            const uint64_t height = std::min(kTile, width_ - i * kTile);
            const uint64_t width = std::min(kTile, width_ - j * kTile);
            std::vector<float> product(height * width);
            multiplyColumns(height, width, count, from + i * kTile, width_, from + j * kTile, width_, product.data(), width);
            double* const target = tiles_.get() + tile * kTile * kTile;
            for (uint64_t r = 0; r < height; ++r) {
                for (uint64_t c = 0; c < width; ++c) {
                    target[r * kTile + c] += product[r * width + c];
                }
            }
            workers.advance(2.0 * static_cast<double>(count) * static_cast<double>(height) * static_cast<double>(width));
        });
    }
}

double SecondMoments::sum(uint64_t i, uint64_t j) const {
    const uint64_t row = std::max(i, j);
    const uint64_t column = std::min(i, j);
    const uint64_t tile = row / kTile * (row / kTile + 1) / 2 + column / kTile;
    return tiles_[tile * kTile * kTile + row % kTile * kTile + column % kTile];
}

void SecondMoments::meanRow(uint64_t i, float* row) {
    const double each = rows_ == 0 ? 0 : 1 / static_cast<double>(rows_);
    for (uint64_t j = 0; j < width_; ++j) {
        row[j] = static_cast<float>(sum(i, j) * each);
    }
}

SecondMomentsStore::Place SecondMomentsStore::processor() {
    return {SecondMoments::bytes, [](uint64_t width) { return std::make_unique<SecondMoments>(width); }};
}

void SecondMomentsStore::startRun(const std::vector<Layer>& layers, uint64_t maxBytes, const Place& place) {
    adding_.clear();
    std::map<Inputs, uint64_t> widths;
    for (const auto& [inputs, sums] : sums_) {
        widths[inputs] = sums.moments->width();
    }
    for (const Layer& layer : layers) {
        widths[layer.inputs] = layer.width;
    }
    uint64_t bytes = 0;
    uint64_t widest = 0;
    for (const auto& [inputs, width] : widths) {
        bytes += place.bytes(width);
        widest = std::max(widest, width);
    }
    if (bytes > maxBytes) {
        throw Error(ErrorCode::Memory, "The second moments of " + std::to_string(widths.size()) + " different inputs, the widest of " +
                                           std::to_string(widest) + " channels, take " + std::to_string(bytes >> 20) + " MiB; at most " +
                                           std::to_string(maxBytes >> 20) + " MiB are allowed. Collect them for fewer layers at a time.");
    }
    for (const Layer& layer : layers) {
        auto known = sums_.find(layer.inputs);
        if (known == sums_.end()) {
            try {
                known = sums_.emplace(layer.inputs, Sums{place.make(layer.width), {}}).first;
            } catch (...) {
                forget();
                throw;
            }
        }
        Sums& sums = known->second;
        sums.layers.insert(layer.name);
        const bool taken = std::any_of(adding_.begin(), adding_.end(), [&](const auto& entry) { return entry.second == &sums; });
        if (!taken) {
            adding_[layer.name] = &sums;
        }
    }
}

MomentSums* SecondMomentsStore::of(const std::string& layer) const {
    const auto found = adding_.find(layer);
    return found == adding_.end() ? nullptr : found->second->moments.get();
}

double SecondMomentsStore::workOf(const std::string& layer, uint64_t rows) const {
    const MomentSums* const sums = of(layer);
    const double width = sums == nullptr ? 0 : static_cast<double>(sums->width());
    return static_cast<double>(rows) * width * width;
}

std::vector<SecondMomentsFile> SecondMomentsStore::take(const std::string& folder, Workers& workers) {
    std::vector<SecondMomentsFile> files;
    for (const auto& [inputs, sums] : sums_) {
        const uint64_t width = sums.moments->width();
        const std::string path = folder + "/" + fileName(*sums.layers.begin());
        SafetensorsWriter writer(path, "quantscope-second-moments-1", {{"second_moments", Dtype::F32, {width, width}}});
        std::vector<float> row(width);
        for (uint64_t i = 0; i < width; ++i) {
            workers.checkCancelled();
            sums.moments->meanRow(i, row.data());
            if (!std::all_of(row.begin(), row.end(), [](float v) { return std::isfinite(v); })) {
                failArgument("The inputs of \"" + *sums.layers.begin() + "\" are too large for second moments "
                             "in float32. Keep this layer, or run \"quantscope capture\" to see its values.");
            }
            writer.write(row);
        }
        writer.finish();
        workers.advance(1.0);
        for (const std::string& layer : sums.layers) {
            files.push_back({layer, path, sums.moments->rows()});
        }
    }
    forget();
    return files;
}

}  // namespace quantscope
