#include "solver/layer.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "linear/gemm.h"
#include "linear/low_rank.h"
#include "linear/weights.h"
#include "packed/packed_weight.h"
#include "packed/safetensors_writer.h"
#include "rotation/rpbh.h"
#include "solver/low_rank.h"

namespace quantscope {

namespace {

constexpr uint64_t kPiece = 64;  ///< rows

/// A weight, what its recipe brings, and the memory to read it with.
class Source {
public:
    Source(const TensorRef& weight, const LinearRecipe& recipe, const std::string& layer, Workers& workers, const Kernels& kernels)
        : layer_(layer), recipe_(recipe), workers_(workers), kernels_(kernels), tensor_(weight) {
        if (weight.shape.size() < 2 || weight.shape[0] == 0 || tensor_.elements() == 0 || !isWeightDtype(weight.dtype)) {
            failArgument(layer + ": expected a weight [outputs, inputs] of a float type in " + weight.file);
        }
        outputs_ = weight.shape[0];
        inputs_ = tensor_.elements() / outputs_;
        if (inputs_ > kMaxWidth) {
            failArgument(layer + ": takes " + std::to_string(inputs_) + " features; at most " + std::to_string(kMaxWidth));
        }
        validate(recipe, inputs_, layer);
        transforms_.emplace(recipe.transforms, inputs_, workers, kernels);
        memory_.resize(workers.threads());
        if (recipe.lowRank) {
            factors_ = load(*recipe.lowRank, outputs_, inputs_, layer, kernels);
        }
    }

    uint64_t outputs() const { return outputs_; }
    uint64_t inputs() const { return inputs_; }
    uint64_t quantized() const { return inputs_ - recipe_.tail; }
    const Transforms& transforms() const { return *transforms_; }
    const std::optional<LowRankFactors>& factors() const { return factors_; }
    void setFactors(LowRankFactors factors) { factors_ = std::move(factors); }
    TileMemory& memory(unsigned worker) { return memory_[worker]; }

    /// Rows as the recipe leaves them, by body(first, count, rows, worker).
    template <class Body>
    void eachPiece(const LinearRecipe& recipe, bool quantized, Body body) {
        WeightCache cache(outputs_ * (inputs_ + 64) * 2);
        const WeightRows::Parts parts{recipe, *transforms_, factors_ ? &*factors_ : nullptr};
        const WeightRows rows(layer_, &tensor_, outputs_, inputs_, &parts, cache, workers_, memory_, kernels_);
        workers_.tiles((outputs_ + kPiece - 1) / kPiece, [&](size_t piece, unsigned worker) {
            const uint64_t first = piece * kPiece;
            const uint64_t count = std::min(kPiece, outputs_ - first);
            float* const panel = memory_[worker].panel.get<float>(count * inputs_);
            quantized ? rows.read(first, count, panel, memory_[worker]) : rows.readUnquantized(first, count, panel, memory_[worker]);
            body(first, count, panel, worker);
        });
    }

    /// All rows behind the transforms, less the low-rank branch: the first quantized() columns, and the others in BF16.
    std::vector<float> readBehindTransforms(std::vector<uint16_t>* tail) {
        LinearRecipe plain = recipe_;
        plain.weights = KeepQuantizer{};
        const uint64_t n = quantized();
        std::vector<float> all(outputs_ * n);
        if (tail != nullptr) {
            tail->resize(outputs_ * recipe_.tail);
        }
        eachPiece(plain, false, [&](uint64_t first, uint64_t count, float* rows, unsigned) {
            for (uint64_t i = 0; i < count; ++i) {
                float* const row = rows + i * inputs_;
                if (kernels_.maxMagnitude(row, inputs_) >= std::bit_cast<uint32_t>(std::numeric_limits<float>::infinity())) {
                    failArgument(layer_ + ": row " + std::to_string(first + i) + " of the weight in " + tensor_.file() +
                                 " holds NaN or infinite values. Repair the checkpoint, or keep this layer.");
                }
                std::copy_n(row, n, all.data() + (first + i) * n);
                castRow(FloatType::Bf16, row + n, recipe_.tail);
                for (uint64_t j = 0; tail != nullptr && j < recipe_.tail; ++j) {
                    (*tail)[(first + i) * recipe_.tail + j] = static_cast<uint16_t>(std::bit_cast<uint32_t>(row[n + j]) >> 16);
                }
            }
        });
        return all;
    }

private:
    const std::string& layer_;
    const LinearRecipe& recipe_;
    Workers& workers_;
    const Kernels& kernels_;
    Tensor tensor_;
    uint64_t outputs_ = 0;
    uint64_t inputs_ = 0;
    std::optional<Transforms> transforms_;
    std::optional<LowRankFactors> factors_;
    std::vector<TileMemory> memory_;
};

/// T H Tᵀ [inputs, inputs]: the second moments of the transformed inputs.
std::vector<float> readMoments(const TensorRef& ref, Source& source, Workers& workers) {
    const uint64_t d = source.inputs();
    if (ref.dtype != Dtype::F32 || ref.shape != std::vector<uint64_t>{d, d}) {
        failArgument(ref.file + ": expected second moments F32 [" + std::to_string(d) + ", " + std::to_string(d) + "]. Collect the statistics again.");
    }
    const Tensor tensor(ref);
    std::vector<float> moments(d * d);
    workers.rows(d, d, [&](uint64_t begin, uint64_t end) {
        tensor.read(begin * d, (end - begin) * d, reinterpret_cast<std::byte*>(moments.data() + begin * d));
    });
    const uint64_t each = std::max<uint64_t>(1, source.transforms().rowsAtOnce());
    for (int side = source.transforms().empty() ? 2 : 0; side < 2; ++side) {
        workers.tiles((d + each - 1) / each, [&](size_t tile, unsigned worker) {
            TileMemory& memory = source.memory(worker);
            const uint64_t first = tile * each;
            const uint64_t count = std::min(each, d - first);
            float* const turned = memory.panel.get<float>(count * d);
            source.transforms().apply(Transforms::Side::Inputs, moments.data() + first * d, count, turned, memory.spare);
            std::copy_n(turned, count * d, moments.data() + first * d);
        });
        constexpr uint64_t kBlock = 64;
        const uint64_t blocks = (d + kBlock - 1) / kBlock;
        workers.tiles(blocks, [&](size_t block, unsigned) {
            for (uint64_t i = block * kBlock; i < std::min(d, (block + 1) * kBlock); ++i) {
                for (uint64_t j = 0; j < i; ++j) {
                    std::swap(moments[i * d + j], moments[j * d + i]);
                }
            }
        });
    }
    // A direction without any energy comes out of two float32 turns as a little more or less than nothing: as much as they can tell then.
    double largest = 0;
    for (uint64_t i = 0; i < d; ++i) {
        largest = std::max(largest, static_cast<double>(moments[i * d + i]));
    }
    for (uint64_t i = 0; i < d; ++i) {
        float& diagonal = moments[i * d + i];
        if (diagonal < 0 && diagonal > -1e-5 * largest) {
            diagonal = static_cast<float>(1e-7 * largest);
        }
    }
    return moments;
}

TensorRange rangeOf(const Quantizer& quantizer, const std::vector<float>& rows, uint64_t width, Workers& workers, const Kernels& kernels) {
    TensorRange all;
    if (!needsTensorRange(quantizer)) {
        return all;
    }
    std::vector<TensorRange> found((rows.size() / width + kPiece - 1) / kPiece);
    workers.tiles(found.size(), [&](size_t piece, unsigned) {
        for (uint64_t i = piece * kPiece; i < std::min<uint64_t>(rows.size() / width, (piece + 1) * kPiece); ++i) {
            observe(quantizer, rows.data() + i * width, width, 0, kernels, found[piece]);
        }
    });
    for (const TensorRange& range : found) {
        all.merge(range);
    }
    return all;
}

void decodeAll(const Rounding& rounding, const RowCodec& codec, std::vector<float>& rows, Workers& workers) {
    const uint64_t width = codec.width();
    workers.rows(rows.size() / width, width, [&](uint64_t begin, uint64_t end) {
        for (uint64_t i = begin; i < end; ++i) {
            codec.decode(rounding.codes.data() + i * width, rounding.sides.data() + i * codec.sides(), rows.data() + i * width);
        }
    });
}

/// Σ (a - b)², or with moments tr((A - B) H (A - B)ᵀ). In pieces of rows that are added in order.
double squaredDistance(const std::vector<float>& a, const std::vector<float>& b, uint64_t width, const float* moments, uint64_t stride,
                       Workers& workers) {
    const uint64_t rows = a.size() / width;
    std::vector<double> sums((rows + kPiece - 1) / kPiece);
    workers.tiles(sums.size(), [&](size_t piece, unsigned) {
        const uint64_t first = piece * kPiece;
        const uint64_t count = std::min(kPiece, rows - first);
        std::vector<float> difference(count * width);
        std::transform(a.begin() + static_cast<ptrdiff_t>(first * width), a.begin() + static_cast<ptrdiff_t>((first + count) * width),
                       b.begin() + static_cast<ptrdiff_t>(first * width), difference.begin(), std::minus<>());
        std::vector<float> weighted;
        if (moments != nullptr) {
            weighted.resize(difference.size());
            for (uint64_t column = 0; column < width; column += 256) {
                workers.checkCancelled();
                multiply(count, std::min<uint64_t>(256, width - column), width, difference.data(), width, moments + column, stride, 0.0f,
                         weighted.data() + column, width);
            }
        }
        const float* const other = moments != nullptr ? weighted.data() : difference.data();
        for (size_t i = 0; i < difference.size(); ++i) {
            sums[piece] += static_cast<double>(difference[i]) * other[i];
        }
    });
    double sum = 0;
    for (const double piece : sums) {
        sum += piece;
    }
    return sum;
}

LowRankFactors toFactors(const LowRankBranch& branch, uint64_t quantized, uint64_t inputs) {
    const uint64_t rank = branch.rank;
    LowRankFactors factors{rank, std::vector<float>(rank * inputs), std::vector<float>(inputs * rank), branch.up};
    for (uint64_t r = 0; r < rank; ++r) {
        for (uint64_t j = 0; j < quantized; ++j) {  // the tail needs none
            factors.down[r * inputs + j] = factors.downTransposed[j * rank + r] = branch.down[r * quantized + j];
        }
    }
    return factors;
}

double energyOf(const std::vector<float>& values) {
    double sum = 0;
    for (const float v : values) {
        sum += static_cast<double>(v) * v;
    }
    return sum;
}

/// Mean of the diagonal of the first n coordinates.
double meanDiagonal(const std::vector<float>& moments, uint64_t stride, uint64_t n) {
    double sum = 0;
    for (uint64_t i = 0; i < n; ++i) {
        sum += moments[i * stride + i];
    }
    return sum / static_cast<double>(n);
}

}  // namespace

LayerFit quantizeLayer(const QuantizeLayerRequest& request, ThreadPool& pool, const Cancellation& cancellation, const Progress& progress,
                       const Kernels& kernels, const SolveGptq& solve) {
    const LinearRecipe& recipe = request.recipe;
    const auto* solver = std::get_if<GptqSolver>(&request.solver);
    if (std::holds_alternative<KeepQuantizer>(recipe.weights)) {
        failArgument(request.layer + ": weights that are kept have no codes to find. Give it a quantizer.");
    }
    if (recipe.packed || recipe.lowRank) {
        failArgument(request.layer + ": the recipe holds what is to be found already. Leave `packed` and `lowRank` of the recipe empty.");
    }
    if (solver != nullptr && !request.secondMoments) {
        failArgument(request.layer + ": gptq needs the second moments of the layer's inputs. Collect statistics, or use solver rtn.");
    }
    const uint64_t rows = request.weight.shape.empty() ? 0 : request.weight.shape[0];
    const Tensor tensor(request.weight);
    const uint64_t width = rows == 0 ? 0 : tensor.elements() / rows;
    const auto elements = static_cast<double>(rows) * static_cast<double>(width);
    const double branchWork = request.lowRank ? 100 * elements * static_cast<double>(request.lowRank->rank) : 0;  // a guess that moves the bar
    Workers workers(pool, cancellation, progress, elements + branchWork + (solver != nullptr ? gptqWork(rows, width) : 0));

    Source source(request.weight, recipe, request.layer, workers, kernels);
    const uint64_t n = source.quantized();
    const uint64_t d = source.inputs();
    const std::vector<float> moments = request.secondMoments ? readMoments(*request.secondMoments, source, workers) : std::vector<float>();
    const float* const low = moments.empty() ? nullptr : moments.data();
    LayerFit fit;
    std::vector<uint16_t> tail;
    std::vector<float> weights = source.readBehindTransforms(&tail);
    const double energy = energyOf(weights);
    workers.advance(elements);

    std::vector<StoredTensor> tensors;
    if (request.lowRank) {
        const auto most = static_cast<double>(request.lowRank->iterations);
        const QuantizeResidual quantize = [&](const std::vector<float>& rest, std::vector<float>& quantized) {
            const RowCodec codec(recipe.weights, n, rangeOf(recipe.weights, rest, n, workers, kernels), kernels);
            decodeAll(roundToNearest(rest.data(), rows, codec, workers), codec, quantized, workers);
            workers.advance(branchWork / most);
            return squaredDistance(rest, quantized, n, low, d, workers);
        };
        const LowRankFit branch = fitLowRank(weights, rows, n, request.lowRank->rank, static_cast<unsigned>(request.lowRank->iterations), quantize, workers);
        fit.lowRankIterations = branch.iterations;
        source.setFactors(toFactors(branch.branch, n, d));
        weights = source.readBehindTransforms(nullptr);  // bit for bit what a model subtracts
        workers.advance(branchWork * (1 - branch.iterations / most));
    }
    const TensorRange range = rangeOf(recipe.weights, weights, n, workers, kernels);
    const RowCodec codec(recipe.weights, n, range, kernels);
    Rounding rounding;
    if (solver != nullptr) {
        GptqOptions options;
        options.damping = {solver->damping, std::max(1.0, meanDiagonal(moments, d, d) / std::max(meanDiagonal(moments, d, n), 1e-300))};
        options.actOrder = solver->actOrder;
        options.staticGroups = solver->staticGroups;
        Gptq solved = solve(weights, low, d, codec, options, workers);
        rounding = std::move(solved.rounding);
        fit.loss = solved.loss;
        fit.damping = solved.damping;
        fit.retries = solved.retries;
    } else {
        rounding = roundToNearest(weights.data(), rows, codec, workers);
    }
    std::vector<float> decoded(weights.size());
    decodeAll(rounding, codec, decoded, workers);
    fit.relativeMse = energy > 0 ? squaredDistance(weights, decoded, n, nullptr, 0, workers) / energy : 0;

    tensors.push_back(storeCodes(codec, rows, rounding.codes));
    for (StoredTensor& side : storeSides(recipe.weights, codec, range, rows, rounding.sides)) {
        tensors.push_back(std::move(side));
    }
    if (recipe.tail > 0) {
        tensors.push_back({"tail", Dtype::BF16, {rows, recipe.tail}, {}});
        tensors.back().bytes.resize(tail.size() * sizeof(uint16_t));
        std::memcpy(tensors.back().bytes.data(), tail.data(), tensors.back().bytes.size());
    }
    if (request.lowRank) {
        const LowRankFactors& factors = *source.factors();
        tensors.push_back(storeAs(FloatType::Bf16, "low_rank.down", {factors.rank, d}, factors.down.data()));
        tensors.push_back(storeAs(FloatType::Bf16, "low_rank.up", {rows, factors.rank}, factors.up.data()));
    }
    workers.checkCancelled();
    writeLayer(request.out, tensors);
    return fit;
}

DequantizedLayer dequantizeLayer(const DequantizeLayerRequest& request, ThreadPool& pool, const Cancellation& cancellation,
                                 const Progress& progress, const Kernels& kernels) {
    const uint64_t rows = request.weight.shape.empty() ? 0 : request.weight.shape[0];
    Workers workers(pool, cancellation, progress, static_cast<double>(rows));
    Source source(request.weight, request.recipe, request.layer, workers, kernels);
    const Tensor tensor(request.weight);
    const uint64_t d = source.inputs();
    std::vector<uint16_t> weights(rows * d);
    std::vector<double> errors((rows + kPiece - 1) / kPiece);
    std::vector<double> energies(errors.size());
    source.eachPiece(request.recipe, true, [&](uint64_t first, uint64_t count, float* panel, unsigned worker) {
        TileMemory& memory = source.memory(worker);
        if (source.factors()) {
            const LowRankFactors& factors = *source.factors();
            multiply(count, d, factors.rank, factors.up.data() + first * factors.rank, factors.rank, factors.down.data(), d, 1.0f, panel, d);
        }
        std::vector<float> row(d);
        std::vector<float> restored(count * d);
        source.transforms().restoreWeights(panel, count, restored.data(), memory.spare);
        std::vector<std::byte> stored(d * tensor.elementBytes());
        for (uint64_t i = 0; i < count; ++i) {
            float* const values = restored.data() + i * d;
            castRow(FloatType::Bf16, values, d);
            tensor.read((first + i) * d, d, stored.data());
            kernels.decode(tensor.dtype(), stored.data(), row.data(), d);
            for (uint64_t j = 0; j < d; ++j) {
                weights[(first + i) * d + j] = static_cast<uint16_t>(std::bit_cast<uint32_t>(values[j]) >> 16);
                errors[first / kPiece] += (static_cast<double>(row[j]) - values[j]) * (static_cast<double>(row[j]) - values[j]);
                energies[first / kPiece] += static_cast<double>(row[j]) * row[j];
            }
        }
        workers.advance(static_cast<double>(count));
    });
    DequantizedLayer result;
    double energy = 0;
    for (size_t piece = 0; piece < errors.size(); ++piece) {
        result.relativeMse += errors[piece];
        energy += energies[piece];
    }
    result.relativeMse = energy > 0 ? result.relativeMse / energy : 0;
    if (!std::isfinite(result.relativeMse)) {
        failArgument(request.layer + ": the weight in " + tensor.file() + " or what the recipe makes of it holds NaN or infinite values. "
                     "Repair the checkpoint, or keep this layer.");
    }
    SafetensorsWriter writer(request.out, "quantscope-dequantized-1", {{"weight", Dtype::BF16, request.weight.shape}});
    writer.write(weights);
    writer.finish();
    return result;
}

}  // namespace quantscope
