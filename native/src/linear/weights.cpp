#include "linear/weights.h"

#include <algorithm>
#include <bit>

namespace quantscope {

namespace {

/// Rows that are read and quantized at once: about a mebibyte of float32.
uint64_t rowsPerPiece(uint64_t inputs) { return std::clamp<uint64_t>((uint64_t{1} << 18) / inputs, 1, 256); }

}  // namespace

std::shared_ptr<const CodedWeight> WeightCache::find(const std::string& layer, const LinearRecipe& recipe) {
    const auto found = entries_.find(layer);
    if (found == entries_.end() || found->second.recipe != recipe) {
        return nullptr;
    }
    found->second.lastRun = run_;
    return found->second.weight;
}

bool WeightCache::makeRoom(size_t bytes) {
    for (auto entry = entries_.begin(); bytes_ + bytes > maxBytes_ && entry != entries_.end();) {
        if (entry->second.lastRun + 1 < run_) {
            bytes_ -= entry->second.weight->bytes();
            entry = entries_.erase(entry);
        } else {
            ++entry;
        }
    }
    return bytes_ + bytes <= maxBytes_;
}

void WeightCache::insert(const std::string& layer, const LinearRecipe& recipe, std::shared_ptr<const CodedWeight> weight) {
    const auto old = entries_.find(layer);
    if (old != entries_.end()) {
        bytes_ -= old->second.weight->bytes();
    }
    bytes_ += weight->bytes();
    entries_.insert_or_assign(layer, Entry{recipe, run_, std::move(weight)});
}

WeightRows::WeightRows(const std::string& layer, const Tensor& tensor, uint64_t outputs, uint64_t inputs,
                       const LinearRecipe* recipe, WeightCache& cache, Workers& workers, std::vector<TileMemory>& memory,
                       const Kernels& kernels)
    : tensor_(tensor), outputs_(outputs), inputs_(inputs), kernels_(kernels) {
    if (recipe == nullptr) {
        return;
    }
    if (recipe->rotationSeed) {
        rotation_ = rotationFor(inputs, *recipe->rotationSeed);
    }
    if (const auto* keep = std::get_if<KeepQuantizer>(&recipe->weights)) {
        cast_ = keep->type;
        return;
    }
    coded_ = cache.find(layer, *recipe);
    if (coded_ != nullptr) {
        return;
    }
    const auto* integer = std::get_if<IntQuantizer>(&recipe->weights);
    const bool wholeTensor = integer != nullptr && integer->granularity == Granularity::Tensor;
    codec_.emplace(recipe->weights, inputs, wholeTensor ? findRange(workers, memory) : TensorRange{}, kernels);
    if (cache.makeRoom(outputs * (inputs + codec_->sides() * sizeof(float)))) {
        coded_ = encodeAll(workers, memory);
        cache.insert(layer, *recipe, coded_);
    }
}

void WeightRows::readUnquantized(uint64_t first, uint64_t count, float* panel, Scratch& scratch) const {
    const uint64_t elements = count * inputs_;
    if (tensor_.dtype() == Dtype::F32 && rotation_ == nullptr) {
        tensor_.read(first * inputs_, elements, reinterpret_cast<std::byte*>(panel));
        return;
    }
    const uint64_t storedBytes = (elements * tensor_.elementBytes() + kAlignment - 1) / kAlignment * kAlignment;
    std::byte* stored = scratch.get<std::byte>(storedBytes + (rotation_ != nullptr ? inputs_ * sizeof(float) : 0));
    tensor_.read(first * inputs_, elements, stored);
    if (rotation_ == nullptr) {
        kernels_.decode(tensor_.dtype(), stored, panel, elements);
        return;
    }
    float* row = reinterpret_cast<float*>(stored + storedBytes);
    for (uint64_t i = 0; i < count; ++i) {
        kernels_.decode(tensor_.dtype(), stored + i * inputs_ * tensor_.elementBytes(), row, inputs_);
        rotation_->apply(row, panel + i * inputs_, kernels_);
    }
}

void WeightRows::read(uint64_t first, uint64_t count, float* panel, Scratch& scratch) const {
    if (coded_ != nullptr) {
        const size_t sides = coded_->codec.sides();
        for (uint64_t i = 0; i < count; ++i) {
            coded_->codec.decode(coded_->codes.data() + (first + i) * inputs_, coded_->sides.data() + (first + i) * sides,
                                 panel + i * inputs_);
        }
        return;
    }
    readUnquantized(first, count, panel, scratch);
    if (cast_) {
        castRow(*cast_, panel, count * inputs_);
    }
    if (codec_) {
        std::vector<float> sides(codec_->sides());
        auto* codes = scratch.get<uint8_t>(inputs_);
        for (uint64_t i = 0; i < count; ++i) {
            codec_->encode(panel + i * inputs_, codes, sides.data());
            codec_->decode(codes, sides.data(), panel + i * inputs_);
        }
    }
}

/// Of the rows without NaN and infinities, like measure().
TensorRange WeightRows::findRange(Workers& workers, std::vector<TileMemory>& memory) const {
    const uint64_t each = rowsPerPiece(inputs_);
    const uint64_t pieces = (outputs_ + each - 1) / each;
    std::vector<TensorRange> found(pieces);
    workers.tiles(pieces, [&](size_t piece, unsigned worker) {
        const uint64_t first = piece * each;
        const uint64_t count = std::min(each, outputs_ - first);
        std::vector<float> rows(count * inputs_);
        readUnquantized(first, count, rows.data(), memory[worker].stored);
        for (uint64_t i = 0; i < count; ++i) {
            const float* row = rows.data() + i * inputs_;
            if (kernels_.maxMagnitude(row, inputs_) < std::bit_cast<uint32_t>(std::numeric_limits<float>::infinity())) {
                const Range range = kernels_.range(row, inputs_);
                found[piece].lowest = std::min<double>(found[piece].lowest, range.lowest);
                found[piece].highest = std::max<double>(found[piece].highest, range.highest);
            }
        }
    });
    TensorRange all;
    for (const TensorRange& range : found) {
        all = {std::min(all.lowest, range.lowest), std::max(all.highest, range.highest)};
    }
    return all;
}

std::shared_ptr<const CodedWeight> WeightRows::encodeAll(Workers& workers, std::vector<TileMemory>& memory) const {
    const size_t sides = codec_->sides();
    auto result = std::make_shared<CodedWeight>(
        CodedWeight{*codec_, std::vector<uint8_t>(outputs_ * inputs_), std::vector<float>(outputs_ * sides)});
    const uint64_t each = rowsPerPiece(inputs_);
    workers.tiles((outputs_ + each - 1) / each, [&](size_t piece, unsigned worker) {
        const uint64_t first = piece * each;
        const uint64_t count = std::min(each, outputs_ - first);
        std::vector<float> rows(count * inputs_);
        readUnquantized(first, count, rows.data(), memory[worker].stored);
        for (uint64_t i = 0; i < count; ++i) {
            codec_->encode(rows.data() + i * inputs_, result->codes.data() + (first + i) * inputs_,
                           result->sides.data() + (first + i) * sides);
        }
    });
    return result;
}

}  // namespace quantscope
