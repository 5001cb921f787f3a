#include "linear/weights.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "linear/gemm.h"
#include "packed/packed_weight.h"

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

WeightRows::WeightRows(const std::string& layer, const Tensor* tensor, uint64_t outputs, uint64_t inputs, const Parts* parts,
                       WeightCache& cache, Workers& workers, std::vector<TileMemory>& memory, const Kernels& kernels)
    : tensor_(tensor), outputs_(outputs), inputs_(inputs), kernels_(kernels), parts_(parts), quantized_(inputs) {
    if (tensor == nullptr && (parts == nullptr || !parts->recipe.packed)) {
        failArgument(layer + ": this checkpoint holds the layer as packed codes, and no recipe with them was given.");
    }
    if (parts == nullptr) {
        return;
    }
    const LinearRecipe& recipe = parts->recipe;
    quantized_ = inputs - recipe.tail;
    if (const auto* keep = std::get_if<KeepQuantizer>(&recipe.weights)) {
        cast_ = keep->type;
        return;
    }
    coded_ = cache.find(layer, recipe);
    if (coded_ != nullptr) {
        return;
    }
    if (recipe.packed) {
        coded_ = asIntegers(load(*recipe.packed));
        if (cache.makeRoom(coded_->bytes())) {
            cache.insert(layer, recipe, coded_);
        }
        return;
    }
    codec_.emplace(recipe.weights, quantized_, needsTensorRange(recipe.weights) ? findRange(workers, memory) : TensorRange{}, kernels);
    if (cache.makeRoom(outputs * (quantized_ + codec_->sides() * sizeof(float) + recipe.tail * sizeof(uint16_t)))) {
        coded_ = asIntegers(encodeAll(workers, memory));
        cache.insert(layer, recipe, coded_);
    }
}

std::shared_ptr<const CodedWeight> WeightRows::load(const PackedWeight& packed) const {
    const Quantizer& quantizer = parts_->recipe.weights;
    const RowCodec codec(quantizer, quantized_, {}, kernels_);  // decodes without the range
    const uint64_t tail = inputs_ - quantized_;
    return std::make_shared<CodedWeight>(CodedWeight{codec, loadCodes(packed.codes, codec, outputs_),
                                                     loadSides(packed.sides, packed.codes.file, quantizer, codec, outputs_, kernels_),
                                                     packed.tail ? loadTail(*packed.tail, outputs_, tail) : std::vector<uint16_t>()});
}

std::shared_ptr<const CodedWeight> WeightRows::asIntegers(std::shared_ptr<const CodedWeight> weight) const {
    if (parts_->plan == nullptr) {
        return weight;
    }
    const auto integers = std::make_shared<IntegerWeight>(*parts_->plan, outputs_, weight->codes.data(), weight->sides.data());
    return std::make_shared<CodedWeight>(CodedWeight{weight->codec, {}, {}, weight->tail, integers});
}

void WeightRows::readTail(uint64_t first, uint64_t count, float* tail, uint64_t stride) const {
    const uint64_t width = inputs_ - quantized_;
    for (uint64_t i = 0; i < count; ++i) {
        for (uint64_t j = 0; j < width; ++j) {
            tail[i * stride + j] = std::bit_cast<float>(static_cast<uint32_t>(coded_->tail[(first + i) * width + j]) << 16);
        }
    }
}

WeightRows::Integers WeightRows::readIntegers(uint64_t first, uint64_t count, float* tail, TileMemory& memory) const {
    const uint64_t width = inputs_ - quantized_;
    if (coded_ != nullptr) {
        readTail(first, count, tail, width);
        return {coded_->integer, first / kPanelColumns};
    }
    std::vector<float> rows(count * inputs_);
    readUnquantized(first, count, rows.data(), memory);
    std::vector<uint8_t> codes(count * quantized_);
    std::vector<float> sides(count * codec_->sides());
    for (uint64_t i = 0; i < count; ++i) {
        float* const row = rows.data() + i * inputs_;
        codec_->encode(row, codes.data() + i * quantized_, sides.data() + i * codec_->sides());
        castRow(FloatType::Bf16, row + quantized_, width);
        std::copy_n(row + quantized_, width, tail + i * width);
    }
    return {std::make_shared<IntegerWeight>(*parts_->plan, count, codes.data(), sides.data()), 0};
}

void WeightRows::readUnquantized(uint64_t first, uint64_t count, float* panel, TileMemory& memory) const {
    const bool asStored = parts_ == nullptr || parts_->transforms.empty();
    const uint64_t atOnce = asStored ? count : std::min(count, parts_->transforms.rowsAtOnce());
    for (uint64_t begin = 0; begin < count; begin += atOnce) {
        const uint64_t rows = std::min(atOnce, count - begin);
        const uint64_t elements = rows * inputs_;
        float* const target = panel + begin * inputs_;
        float* const decoded = asStored ? target : memory.decoded.get<float>(elements);
        if (tensor_->dtype() == Dtype::F32) {
            tensor_->read((first + begin) * inputs_, elements, reinterpret_cast<std::byte*>(decoded));
        } else {
            std::byte* const stored = memory.stored.get<std::byte>(elements * tensor_->elementBytes());
            tensor_->read((first + begin) * inputs_, elements, stored);
            kernels_.decode(tensor_->dtype(), stored, decoded, elements);
        }
        if (!asStored) {
            parts_->transforms.apply(Transforms::Side::Weights, decoded, rows, target, memory.spare);
        }
    }
    if (parts_ != nullptr && parts_->factors != nullptr) {
        const LowRankFactors& factors = *parts_->factors;
        const uint64_t rank = factors.rank;
        multiplyTransposedAlike(count, inputs_, rank, -1.0f, factors.up.data() + first * rank, rank, factors.downTransposed.data(), rank, 1.0f,
                                panel, inputs_, kernels_);
    }
}

void WeightRows::read(uint64_t first, uint64_t count, float* panel, TileMemory& memory) const {
    const uint64_t tail = inputs_ - quantized_;
    if (coded_ != nullptr) {
        const size_t sides = coded_->codec.sides();
        for (uint64_t i = 0; i < count; ++i) {
            coded_->codec.decode(coded_->codes.data() + (first + i) * quantized_, coded_->sides.data() + (first + i) * sides, panel + i * inputs_);
        }
        readTail(first, count, panel + quantized_, inputs_);
        return;
    }
    readUnquantized(first, count, panel, memory);
    std::vector<float> sides(codec_ ? codec_->sides() : 0);
    auto* codes = memory.stored.get<uint8_t>(quantized_);
    for (uint64_t i = 0; i < count; ++i) {
        float* const row = panel + i * inputs_;
        if (cast_) {
            castRow(*cast_, row, quantized_);
        }
        if (codec_) {
            codec_->encode(row, codes, sides.data());
            codec_->decode(codes, sides.data(), row);
        }
        castRow(FloatType::Bf16, row + quantized_, tail);
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
        readUnquantized(first, count, rows.data(), memory[worker]);
        for (uint64_t i = 0; i < count; ++i) {
            const float* row = rows.data() + i * inputs_;
            if (kernels_.maxMagnitude(row, quantized_) < std::bit_cast<uint32_t>(std::numeric_limits<float>::infinity())) {
                observe(parts_->recipe.weights, row, quantized_, 0, kernels_, found[piece]);
            }
        }
    });
    TensorRange all;
    for (const TensorRange& range : found) {
        all.merge(range);
    }
    return all;
}

std::shared_ptr<const CodedWeight> WeightRows::encodeAll(Workers& workers, std::vector<TileMemory>& memory) const {
    const size_t sides = codec_->sides();
    const uint64_t tail = inputs_ - quantized_;
    auto result = std::make_shared<CodedWeight>(CodedWeight{*codec_, std::vector<uint8_t>(outputs_ * quantized_),
                                                            std::vector<float>(outputs_ * sides), std::vector<uint16_t>(outputs_ * tail)});
    const uint64_t each = rowsPerPiece(inputs_);
    workers.tiles((outputs_ + each - 1) / each, [&](size_t piece, unsigned worker) {
        const uint64_t first = piece * each;
        const uint64_t count = std::min(each, outputs_ - first);
        std::vector<float> rows(count * inputs_);
        readUnquantized(first, count, rows.data(), memory[worker]);
        for (uint64_t i = 0; i < count; ++i) {
            float* const row = rows.data() + i * inputs_;
            codec_->encode(row, result->codes.data() + (first + i) * quantized_, result->sides.data() + (first + i) * sides);
            castRow(FloatType::Bf16, row + quantized_, tail);
            for (uint64_t j = 0; j < tail; ++j) {
                result->tail[(first + i) * tail + j] = static_cast<uint16_t>(std::bit_cast<uint32_t>(row[quantized_ + j]) >> 16);
            }
        }
    });
    return result;
}

}  // namespace quantscope
