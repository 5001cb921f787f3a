#include "reconstruct/reconstruct.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "base/random.h"
#include "graph/checks.h"
#include "reconstruct/tape.h"

namespace quantscope {

namespace {

constexpr double kWarmUp = 0.2;  ///< share of the iterations without the regulariser
constexpr double kFirstBeta = 20;
constexpr double kLastBeta = 2;
constexpr double kLossShare = 4;  ///< the loss of rounding to nearest counts as much
constexpr double kPublishedRate = 1e-3;
constexpr double kPublishedIterations = 20000;
constexpr double kLargestRate = 0.1;

/// Calibration values of some buffers of a program.
class Samples {
public:
    Samples(const std::map<std::string, Buffer>& buffers, const std::map<std::string, TensorRef>& tensors, const Program& program,
            const std::string& what) {
        for (const auto& [name, buffer] : buffers) {
            const Shape& shape = program.buffers[buffer];
            const auto found = tensors.find(name);
            const bool fits = found != tensors.end() && found->second.dtype == Dtype::F32 && found->second.shape.size() == shape.size() + 1 &&
                              std::equal(shape.begin(), shape.end(), found->second.shape.begin() + 1);
            if (!fits || found->second.shape[0] == 0 || (count_ != 0 && found->second.shape[0] != count_)) {
                failArgument(what + "." + name + ": expected F32 [samples, " + describe(shape).substr(1) + " with as many samples as the others, 1 at least");
            }
            count_ = found->second.shape[0];
            entries_.push_back({name, buffer, elementsOf(shape), Tensor(found->second)});
        }
        for (const auto& [name, tensor] : tensors) {
            if (!buffers.contains(name)) {
                failArgument(what + ": the block has none called \"" + name + "\"");
            }
        }
    }

    struct Entry {
        std::string name;
        Buffer buffer;
        uint64_t elements;
        Tensor tensor;

        void read(uint64_t sample, float* target) const { tensor.read(sample * elements, elements, reinterpret_cast<std::byte*>(target)); }
    };
    const std::vector<Entry>& entries() const { return entries_; }
    uint64_t count() const { return count_; }

private:
    std::vector<Entry> entries_;
    uint64_t count_ = 0;
};

class Reconstruction {
public:
    Reconstruction(const ReconstructBlockRequest& request, const Samples& inputs, const Samples& targets, Tape& tape, const Bench& bench)
        : request_(request), inputs_(inputs), targets_(targets), tape_(tape), bench_(bench) {
        for (const auto& [name, layer] : tape.linears()) {
            if (layer->rounding() != nullptr) {
                learning_[name] = layer.get();
            }
        }
    }

    ReconstructedBlock run() {
        ReconstructedBlock result;
        std::map<std::string, Rounding> roundings;
        for (auto& [name, layer] : learning_) {
            layer->use(layer->rounding()->nearest(), bench_.workers);
        }
        result.lossBefore = meanSquaredError();
        if (result.lossBefore > 0) {
            learn(result.lossBefore);
        }
        for (auto& [name, layer] : learning_) {
            layer->use(roundings.emplace(name, layer->rounding()->learned(bench_.workers)).first->second, bench_.workers);
        }
        result.lossAfter = meanSquaredError();
        result.learned = result.lossAfter < result.lossBefore;
        result.lossAfter = std::min(result.lossAfter, result.lossBefore);
        for (auto& [name, layer] : learning_) {
            const Rounding& nearest = layer->rounding()->nearest();
            const Rounding& rounding = result.learned ? roundings.at(name) : nearest;
            result.flipped[name] = rounding.codes.size() - std::inner_product(rounding.codes.begin(), rounding.codes.end(), nearest.codes.begin(), uint64_t{0},
                                                                             std::plus<>(), std::equal_to<>());
            stored_[name] = layer->store(rounding);
        }
        return result;
    }

    /// What run() found, by layer.
    const std::map<std::string, std::vector<StoredTensor>>& stored() const { return stored_; }

private:
    void forward(uint64_t sample) {
        for (const Samples::Entry& input : inputs_.entries()) {
            input.read(sample, tape_.values(input.buffer));
        }
        tape_.forward(bench_);
    }

    /// Over all values of all outputs of all samples.
    double meanSquaredError() {
        double sum = 0;
        double values = 0;
        for (uint64_t sample = 0; sample < inputs_.count(); ++sample) {
            forward(sample);
            for (const Samples::Entry& output : targets_.entries()) {
                target_.resize(output.elements);
                output.read(sample, target_.data());
                const float* const found = tape_.values(output.buffer);
                double squares = 0;
                for (uint64_t i = 0; i < output.elements; ++i) {
                    const double difference = static_cast<double>(found[i]) - target_[i];
                    squares += difference * difference;
                }
                if (!std::isfinite(squares)) {
                    failArgument("outputs." + output.name + ": sample " + std::to_string(sample) + " is NaN or infinite, in full precision or with "
                                 "rounded weights. Look for the first layer that overflows with a capture, and keep it.");
                }
                sum += squares;
                values += static_cast<double>(output.elements);
            }
        }
        return sum / values;
    }

    void learn(double lossOfNearest) {
        const uint64_t batch = std::min(request_.batch, inputs_.count());
        const auto iterations = static_cast<double>(request_.iterations);
        const double rate = std::min(kLargestRate, kPublishedRate * std::max(1.0, kPublishedIterations / iterations));
        double values = 0;
        for (const Samples::Entry& output : targets_.entries()) {
            values += static_cast<double>(output.elements);
        }
        const auto slope = static_cast<float>(2.0 * kLossShare / (lossOfNearest * values * static_cast<double>(batch)));
        std::vector<uint64_t> order(inputs_.count());
        std::iota(order.begin(), order.end(), uint64_t{0});
        SplitMix64 random(request_.seed);
        for (uint64_t iteration = 1; iteration <= request_.iterations; ++iteration) {
            for (auto& [name, layer] : learning_) {
                layer->useSoft(bench_.workers);
                std::fill(layer->gradient.begin(), layer->gradient.end(), 0.0f);
            }
            for (uint64_t i = 0; i < batch; ++i) {
                std::swap(order[i], order[i + random.below(order.size() - i)]);
                forward(order[i]);
                addOutputGradients(order[i], slope);
                tape_.backward(bench_);
            }
            const double done = static_cast<double>(iteration - 1) / iterations;
            const double beta = done < kWarmUp ? 0 : kLastBeta + (kFirstBeta - kLastBeta) * (1 - (done - kWarmUp) / (1 - kWarmUp));
            for (auto& [name, layer] : learning_) {
                layer->rounding()->learn(layer->gradient.data(), {iteration, rate, beta}, bench_.workers);
            }
        }
    }

    /// slope · (y - target).
    void addOutputGradients(uint64_t sample, float slope) {
        tape_.clearGradients();
        for (const Samples::Entry& output : targets_.entries()) {
            float* const gradient = tape_.gradient(output.buffer);
            if (gradient == nullptr) {
                continue;
            }
            target_.resize(output.elements);
            output.read(sample, target_.data());
            const float* const found = tape_.values(output.buffer);
            for (uint64_t i = 0; i < output.elements; ++i) {
                gradient[i] += slope * (found[i] - target_[i]);
            }
        }
    }

    const ReconstructBlockRequest& request_;
    const Samples& inputs_;
    const Samples& targets_;
    Tape& tape_;
    const Bench& bench_;
    std::map<std::string, BlockLinear*> learning_;
    std::map<std::string, std::vector<StoredTensor>> stored_;
    std::vector<float> target_;
};

}  // namespace

ReconstructedBlock reconstructBlock(const ReconstructBlockRequest& request, ThreadPool& pool, const Cancellation& cancellation,
                                    const Progress& progress, const Kernels& kernels) {
    if (request.iterations == 0 || request.batch == 0) {
        failArgument("iterations and batch: expected 1 at least");
    }
    Recipes recipes;
    for (const auto& [name, layer] : request.layers) {
        if (layer.recipe.packed) {
            failArgument(name + ": has codes already. Leave `packed` of the recipe empty.");
        }
        recipes[name] = layer.recipe;
    }
    std::vector<TileMemory> memory(pool.threads());
    const Progress silent = [](double) {};
    Workers reading(pool, cancellation, silent, 0);
    Tape tape(request.program, recipes, {reading, memory, kernels});
    const Samples inputs(tape.program().inputs, request.inputs, tape.program(), "inputs");
    const Samples targets(tape.program().outputs, request.outputs, tape.program(), "outputs");
    if (inputs.count() != targets.count()) {
        failArgument("outputs: " + std::to_string(targets.count()) + " samples, but " + std::to_string(inputs.count()) + " of the inputs");
    }
    const auto& outputs = tape.program().outputs;
    if (std::none_of(outputs.begin(), outputs.end(), [&](const auto& output) { return tape.gradient(output.second) != nullptr; })) {
        failArgument("outputs: none depends on a layer that learns. Take the outputs of the block that holds the layers.");
    }
    const double passes = 3.0 * static_cast<double>(request.iterations) * static_cast<double>(std::min(request.batch, inputs.count())) +
                          2.0 * static_cast<double>(inputs.count());
    Workers workers(pool, cancellation, progress, passes * tape.flops());
    const Bench bench{workers, memory, kernels};
    Reconstruction reconstruction(request, inputs, targets, tape, bench);
    const ReconstructedBlock result = reconstruction.run();
    workers.checkCancelled();
    for (const auto& [name, tensors] : reconstruction.stored()) {
        writeLayer(request.layers.at(name).out, tensors);
    }
    return result;
}

}  // namespace quantscope
