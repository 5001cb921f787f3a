#include "device/buffers.h"

#include <bit>
#include <cstring>

namespace quantscope {

namespace {

uint16_t toBf16(float value) {
    const auto bits = std::bit_cast<uint32_t>(value);
    return value != value ? 0x7FFF : static_cast<uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

/// How often `buffer` stands where an op takes positions, angles or times.
size_t positionsIn(const Op& op, Buffer buffer) {
    if (const auto* rope = std::get_if<RopeOp>(&op)) {
        return size_t{rope->cos == buffer} + size_t{rope->sin == buffer};
    }
    if (const auto* timestep = std::get_if<TimestepOp>(&op)) {
        return timestep->t == buffer;
    }
    const auto* row = std::get_if<RowOp>(&op);
    return row != nullptr && row->index == buffer;
}

}  // namespace

std::vector<std::byte> toElements(const float* values, size_t count, cuda::Element element) {
    std::vector<std::byte> result(count * bytesOf(element));
    if (element == cuda::Element::F32) {
        std::memcpy(result.data(), values, result.size());
    } else {
        for (size_t i = 0; i < count; ++i) {
            const uint16_t bits = toBf16(values[i]);
            std::memcpy(result.data() + 2 * i, &bits, 2);
        }
    }
    return result;
}

DeviceBuffers::DeviceBuffers(std::shared_ptr<Device> device, const Graph& graph, cuda::Element element)
    : device_(std::move(device)), shapes_(graph.program().buffers), places_(graph.places()), element_(element),
      arena_(device_->allocate<std::byte>(graph.arenaElements() * bytesOf(element))), own_(shapes_.size()) {
    for (Own& own : own_) {
        own.element = element;
    }
    findAngles(graph.program());
    for (const Op& op : graph.program().ops) {
        if (const auto* constant = std::get_if<ConstantOp>(&op)) {
            keep(constant->out, constant->data.data());
        }
    }
}

void DeviceBuffers::findAngles(const Program& program) {
    const auto decide = [&](Buffer buffer) {
        size_t all = 0;
        size_t positions = 0;
        for (const Op& op : program.ops) {
            for (const Buffer read : inputsOf(op)) {
                all += places_[read].root == buffer;
            }
            positions += positionsIn(op, buffer);
        }
        if (positions > 0 && positions == all) {
            own_[buffer].element = cuda::Element::F32;
        }
    };
    for (const auto& [name, buffer] : program.inputs) {
        decide(buffer);
        if (element(buffer) != element_) {
            own_[buffer].memory = device_->allocate<std::byte>(elementsOf(shapes_[buffer]) * sizeof(float));
        }
    }
    for (const Op& op : program.ops) {
        if (const auto* constant = std::get_if<ConstantOp>(&op)) {
            decide(constant->out);
        }
    }
}

std::byte* DeviceBuffers::at(Buffer buffer) const {
    const MemoryPlan::Place& place = places_[buffer];
    const Own& own = own_[place.root];
    const size_t each = bytesOf(own.element);
    if (own.memory.data() == nullptr) {
        return arena_.data() + place.offset * each;
    }
    return own.memory.data() + (place.offset - places_[place.root].offset) * each;
}

void DeviceBuffers::keep(Buffer buffer, const float* values) {
    own_[buffer].memory = device_->upload(toElements(values, elementsOf(shapes_[buffer]), element(buffer)));
}

void DeviceBuffers::write(Buffer buffer, const float* values) {
    const std::vector<std::byte> elements = toElements(values, elementsOf(shapes_[buffer]), element(buffer));
    device_->check(device_->calls().upload(device_->context(), at(buffer), elements.data(), elements.size()), "copying to the device");
    device_->synchronise();
}

void DeviceBuffers::read(Buffer buffer, float* values) const {
    const size_t count = elementsOf(shapes_[buffer]);
    if (element(buffer) == cuda::Element::F32) {
        device_->check(device_->calls().download(device_->context(), values, at(buffer), count * sizeof(float)), "copying from the device");
        device_->synchronise();
        return;
    }
    std::vector<uint16_t> bits(count);
    device_->check(device_->calls().download(device_->context(), bits.data(), at(buffer), count * sizeof(uint16_t)), "copying from the device");
    device_->synchronise();
    for (size_t i = 0; i < count; ++i) {
        values[i] = std::bit_cast<float>(static_cast<uint32_t>(bits[i]) << 16);
    }
}

}  // namespace quantscope
