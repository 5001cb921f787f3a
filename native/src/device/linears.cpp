#include "device/linears.h"

#include <algorithm>

#include "linear/activations.h"
#include "rotation/rpbh.h"

namespace quantscope {

namespace {

/// Host memory for streamed weights that need not be coded again.
constexpr uint64_t kMostKept = uint64_t{2} << 30;
/// What reading a weight and coding it takes, in multiply-adds of one value.
constexpr double kWorkOfReading = 256;

uint64_t rowBytes(const DeviceCoder& coder, uint64_t rows) { return rows * coder.rowBytes(); }

/// As the product takes them: shifted codes are asymmetric ones whose lowest step is 0. What they stand for lies above the inputs by the shift.
Quantizer shiftedCodes(const Quantizer& quantizer) {
    Quantizer result = quantizer;
    if (auto* const integer = std::get_if<IntQuantizer>(&result); integer != nullptr && integer->shift) {
        integer->symmetric = false;
        integer->shift.reset();
    }
    return result;
}

}  // namespace

DeviceLinears::DeviceLinears(std::shared_ptr<Device> device, const Program& program, cuda::Element element, uint64_t otherScratch, uint64_t reserve)
    : device_(std::move(device)), program_(program), element_(element), layers_(program.ops.size()), otherScratch_(otherScratch), reserve_(reserve) {
    for (size_t i = 0; i < program.ops.size(); ++i) {
        if (const auto* op = std::get_if<LinearOp>(&program.ops[i])) {
            layers_[i] = std::make_unique<Layer>(*op);
            layers_[i]->inputs = lastOf(program.buffers[op->x]);
            layers_[i]->outputs = lastOf(program.buffers[op->out]);
            layers_[i]->rows = elementsOf(program.buffers[op->x]) / layers_[i]->inputs;
        }
    }
}

double DeviceLinears::workFor(const Recipes& recipes) const {
    double work = 0;
    for (const auto& layer : layers_) {
        work += layer != nullptr && recipes_ != recipes ? static_cast<double>(layer->inputs * layer->outputs) * kWorkOfReading : 0;
    }
    return work;
}

void DeviceLinears::dropWeights() {
    weights_.reset();
    pieces_.clear();
    kept_.clear();
    keptBytes_ = 0;
    recipes_.reset();
}

void DeviceLinears::prepare(const Recipes& recipes, const DeviceBench& bench) {
    if (recipes_ == recipes) {
        return;
    }
    dropWeights();
    loaded_.clear();
    bench_ = &bench;
    Recipes own = recipes;  // layers point into it; moved below without moving its entries
    for (size_t i = 0; i < layers_.size(); ++i) {
        if (layers_[i] == nullptr) {
            continue;
        }
        Layer& layer = *layers_[i];
        decide(layer, own);
        if (layer.reason) {
            bench.workers.advance(static_cast<double>(layer.inputs * layer.outputs) * kWorkOfReading);
            continue;
        }
        // A layer that stands in the program more than once has its weights once.
        const auto same = std::find_if(pieces_.begin(), pieces_.end(), [&](const Weight& weight) {
            const LinearOp& other = weight.layer->op;
            const auto refOf = [](const std::optional<Stored>& stored) { return stored ? std::optional(stored->ref) : std::nullopt; };
            return other.name == layer.op.name && weight.layer->outputs == layer.outputs && refOf(other.weight) == refOf(layer.op.weight) &&
                   refOf(other.bias) == refOf(layer.op.bias);
        });
        if (same != pieces_.end()) {
            layer.weights = same->layer->weights;
            bench.workers.advance(static_cast<double>(layer.inputs * layer.outputs) * kWorkOfReading);
            continue;
        }
        layer.weights = pieces_.size();
        if (layer.branch) {
            pieces_.push_back({&layer, true});
        }
        pieces_.push_back({&layer, false});
    }
    std::vector<uint64_t> bytes;
    for (const Weight& piece : pieces_) {
        bytes.push_back(piece.bytes());
    }
    makeRoom();
    kept_.resize(pieces_.size());
    loading_ = true;
    weights_ = std::make_unique<DeviceWeights>(device_, bytes, [this](size_t index, std::byte* target) { readWeight(index, target); }, reserve_);
    loading_ = false;
    recipes_ = std::move(own);
}

std::shared_ptr<const DeviceTransforms> DeviceLinears::transformsFor(const std::vector<Transform>& list, uint64_t width) {
    const auto found = std::ranges::find_if(loaded_, [&](const Loaded& each) { return each.width == width && each.list == list; });
    if (found != loaded_.end()) {
        return found->transforms;
    }
    return loaded_.emplace_back(Loaded{list, width, std::make_shared<const DeviceTransforms>(device_, list, width, bench_->workers, bench_->kernels)}).transforms;
}

void DeviceLinears::decide(Layer& layer, const Recipes& recipes) {
    const auto found = recipes.find(layer.op.name);
    layer.recipe = found == recipes.end() ? nullptr : &found->second;
    layer.shift.clear();
    layer.reason.reset();
    layer.integers.reset();
    layer.transforms.reset();
    layer.coder.reset();
    layer.floats.reset();
    layer.product.reset();
    layer.bytes.reset();
    layer.branch.reset();
    layer.reason = decideProduct(layer);
}

std::optional<std::string> DeviceLinears::decideProduct(Layer& layer) {
    static const LinearRecipe kNone{{}, KeepQuantizer{}, KeepQuantizer{}};
    const LinearRecipe& recipe = layer.recipe == nullptr ? kNone : *layer.recipe;
    const bool wide = element_ == cuda::Element::F32;
    const auto* keep = std::get_if<KeepQuantizer>(&recipe.activations);
    const auto* floats = std::get_if<FloatQuantizer>(&recipe.activations);
    const bool codes = keep == nullptr && floats == nullptr;
    if (const auto reason = DeviceTransforms::unsupported(recipe.transforms, layer.inputs, *device_)) {
        return "has inputs that are prepared on the processor: " + *reason;
    }
    if (wide && keep != nullptr && keep->type && *keep->type != FloatType::Fp32) {
        return "rounds activations to another type of floats";
    }
    const uint64_t quantized = layer.inputs - recipe.tail;
    const uint64_t rank = recipe.lowRank ? recipe.lowRank->down.shape[0] : 0;
    // An RPBH rotation is part of coding unless something else needs what is rotated.
    std::shared_ptr<const Rpbh> rotation;
    if (codes && recipe.tail == 0 && rank == 0 && recipe.transforms.size() == 1 && std::holds_alternative<RpbhTransform>(recipe.transforms[0])) {
        rotation = rotationFor(layer.inputs, std::get<RpbhTransform>(recipe.transforms[0]).seed);
    } else if (!recipe.transforms.empty()) {
        layer.transforms = transformsFor(recipe.transforms, layer.inputs);
    }
    if (floats != nullptr) {
        layer.floats.emplace(device_, *floats, quantized);
    } else if (codes) {
        const auto* integer = std::get_if<IntQuantizer>(&recipe.activations);
        if (integer != nullptr && integer->shift) {
            const Transforms transforms(recipe.transforms, layer.inputs, bench_->workers, bench_->kernels);
            layer.shift = shiftBehind(recipe.activations, transforms, layer.inputs, bench_->memory[0].spare);
            layer.shift.resize(quantized);
        }
        const ActivationCoding given{calibratedRange(recipe), layer.shift};
        if (const auto reason = DeviceCoder::unsupported(recipe.activations, quantized, rotation.get(), *device_, given)) {
            return "has inputs that are prepared on the processor: " + *reason;
        }
        layer.coder.emplace(device_, recipe.activations, quantized, rotation.get(), given);
    }
    const bool bias = layer.op.bias.has_value() || !layer.shift.empty();
    DeviceLinearShape shape{layer.outputs, quantized, recipe.weights, shiftedCodes(recipe.activations), recipe.tail, rank, bias, true};
    if (!codes) {
        shape.activations = KeepQuantizer{};
    }
    layer.coded = !std::holds_alternative<KeepQuantizer>(recipe.weights) && !DeviceLinear::unsupported(shape, *device_);
    if (!layer.coded) {  // what they decode to
        shape.weights = KeepQuantizer{wide && keep != nullptr && rank == 0 ? FloatType::Fp32 : FloatType::Bf16};
        if (keep != nullptr) {
            shape.width = layer.inputs;
            shape.tail = 0;
        }
    }
    if (const auto reason = DeviceLinear::unsupported(shape, *device_)) {
        return *reason;
    }
    layer.product.emplace(device_, shape);
    if (layer.coded && codes) {
        shape.decoded = false;
        const auto reason = DeviceLinear::unsupported(shape, *device_);
        if (!reason) {
            DeviceLinear integers(device_, shape);
            const bool exact = integers.weightSurrogate() == 0 && integers.activationSurrogate() == 0;
            if (recipe.execution == Execution::Integer) {
                layer.integers = {layer.op.name, std::nullopt, integers.weightSurrogate(), integers.activationSurrogate()};
            }
            if (exact || recipe.execution == Execution::Integer) {
                layer.product.emplace(std::move(integers));
            }
        } else if (recipe.execution == Execution::Integer) {
            layer.integers = {layer.op.name, *reason};
        }
    } else if (recipe.execution == Execution::Integer) {
        layer.integers = {layer.op.name, "has weights or activations that are no codes here"};
    }
    if (layer.coder) {
        layer.bytes = layer.product->activationBytes();
    }
    if (rank > 0) {
        const KeepQuantizer as{wide ? FloatType::Fp32 : FloatType::Bf16};
        layer.branch.emplace(device_, DeviceLinearShape{rank, layer.inputs, as, KeepQuantizer{}});
    }
    return std::nullopt;
}

void DeviceLinears::makeRoom() {
    uint64_t scratch = otherScratch_, transformed = 0, spare = 0, codes = 0, sides = 0, rounded = 0, branch = 0;
    prepared_.reset();
    for (const auto& layer : layers_) {
        if (layer == nullptr || layer->reason) {
            continue;
        }
        scratch = std::max(scratch, layer->product->scratchBytes(layer->rows));
        if (layer->transforms) {
            transformed = std::max(transformed, layer->rows * layer->inputs);
            spare = std::max(spare, layer->transforms->spareRows(layer->rows) * layer->inputs);
        }
        if (layer->coder) {
            codes = std::max(codes, layer->bytes ? layer->rows * layer->product->shape().width : rowBytes(*layer->coder, layer->rows));
            sides = std::max(sides, layer->rows * layer->coder->sides());
        }
        if (layer->floats) {
            rounded = std::max(rounded, layer->rows * layer->product->shape().width);
        }
        if (layer->branch) {
            scratch = std::max(scratch, layer->branch->scratchBytes(layer->rows));
            branch = std::max(branch, layer->rows * layer->branch->shape().outputs);
        }
    }
    growTo(*device_, scratch_, scratch);
    growTo(*device_, transformed_, transformed);
    growTo(*device_, spare_, spare);
    growTo(*device_, codes_, codes);
    growTo(*device_, sides_, sides);
    growTo(*device_, rounded_, rounded);
    growTo(*device_, branch_, branch);
}

void DeviceLinears::readWeight(size_t index, std::byte* target) {
    std::vector<std::byte>& kept = kept_[index];
    if (!kept.empty()) {
        std::copy(kept.begin(), kept.end(), target);
        return;
    }
    const Weight& piece = pieces_[index];
    const Layer& layer = *piece.layer;
    if (piece.down) {
        packDown(layer, *layer.branch, *bench_, target);
    } else {
        packProduct(layer, *layer.product, *bench_, target);
    }
    if (loading_) {
        bench_->workers.advance(piece.down ? 0 : static_cast<double>(layer.inputs * layer.outputs) * kWorkOfReading);
        return;
    }
    const uint64_t bytes = piece.bytes();
    if (layer.recipe != nullptr && keptBytes_ + bytes <= kMostKept) {
        kept.assign(target, target + bytes);
        keptBytes_ += bytes;
    }
}

DeviceRows DeviceLinears::prepareInput(const Layer& layer, const DeviceBuffers& buffers) {
    const DeviceRows x{buffers.at(layer.op.x), buffers.element(layer.op.x), layer.rows, layer.inputs};
    DeviceRows floats = x;
    if (layer.transforms) {
        floats.data = transformed_.data();
        floats.element = cuda::Element::F32;
    }
    if (!layer.transforms && !layer.coder && !layer.floats) {
        return floats;
    }
    const LinearRecipe& recipe = *layer.recipe;
    Prepared wanted{layer.op.x, recipe.transforms, recipe.activations, recipe.activationRange, recipe.tail, layer.transforms != nullptr, {}};
    if (layer.bytes && layer.coder->writesBytes(floats)) {
        wanted.bytes = layer.bytes;
    }
    if (prepared_ != wanted) {
        prepared_.reset();
        if (layer.transforms) {
            layer.transforms->apply(x, transformed_.data(), spare_.data());
        }
        if (layer.coder) {
            layer.coder->encode(floats, codes_.data(), sides_.data(), wanted.bytes ? &*wanted.bytes : nullptr);
        } else if (layer.floats) {
            layer.floats->round(floats, rounded_.data());
        }
        prepared_ = std::move(wanted);
    }
    return floats;
}

void DeviceLinears::run(size_t op, const DeviceBuffers& buffers, const DeviceBench& bench, uint32_t* nonFinite) {
    const Layer& layer = *layers_[op];
    bench_ = &bench;
    const DeviceRows floats = prepareInput(layer, buffers);
    cuda::LinearRequest request{};
    request.rows = layer.rows;
    request.scratch = scratch_.data();
    request.scratchBytes = scratch_.bytes();
    size_t weight = layer.weights;
    if (layer.branch) {
        request.weights = weights_->acquire(weight);
        request.x = floats.data;
        request.xElement = floats.element;
        request.xStride = floats.stride;
        request.y = branch_.data();
        request.yElement = cuda::Element::F32;
        request.yStride = layer.branch->shape().outputs;
        layer.branch->run(request);
        weights_->release(weight++);
        request.branch = branch_.data();
    }
    request.weights = weights_->acquire(weight);
    if (layer.coder) {
        request.x = codes_.data();
        request.xBytes = prepared_->bytes ? 1 : 0;
        request.xSides = sides_.data();
    } else if (layer.floats) {
        request.x = rounded_.data();
        request.xElement = cuda::Element::BF16;
        request.xStride = layer.product->shape().width;
    } else {
        request.x = floats.data;
        request.xElement = floats.element;
        request.xStride = floats.stride;
    }
    const uint64_t before = layer.inputs - layer.product->shape().tail;
    request.xTail = static_cast<const std::byte*>(floats.data) + before * bytesOf(floats.element);
    request.tailElement = floats.element;
    request.tailStride = floats.stride;
    request.y = buffers.at(layer.op.out);
    request.yElement = buffers.element(layer.op.out);
    request.yStride = layer.outputs;
    request.nonFinite = nonFinite;
    layer.product->run(request);
    weights_->release(weight);
    weights_->prefetch(weight + 1);
}

uint64_t DeviceLinears::weightBytes() const {
    uint64_t bytes = 0;
    for (const Weight& piece : pieces_) {
        bytes += piece.bytes();
    }
    return bytes;
}

uint64_t DeviceLinears::residentBytes() const {
    uint64_t bytes = 0;
    for (size_t i = 0; weights_ != nullptr && i < weights_->resident(); ++i) {
        bytes += pieces_[i].bytes();
    }
    return bytes;
}

}  // namespace quantscope
