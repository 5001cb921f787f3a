// Compiled once per processor level, see simd.cpp.
#if defined(QUANTSCOPE_DECODE_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef QUANTSCOPE_DECODE_INL_H
#undef QUANTSCOPE_DECODE_INL_H
#else
#define QUANTSCOPE_DECODE_INL_H
#endif

#include <hwy/highway.h>

#include "cpu/kernels.h"

HWY_BEFORE_NAMESPACE();
namespace quantscope {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// Runs `load(i)` -> vector of floats for every full vector; the scalar twin finishes the tail.
template <class T, class Load>
HWY_INLINE void DecodeVectors(Dtype dtype, const std::byte* source, float* target, size_t n, Load load) {
    const hn::ScalableTag<float> d;
    const size_t lanes = hn::Lanes(d);
    const T* values = reinterpret_cast<const T*>(source);
    size_t i = 0;
    for (; i + lanes <= n; i += lanes) {
        hn::StoreU(load(values + i), d, target + i);
    }
    scalarKernels().decode(dtype, source + i * sizeof(T), target + i, n - i);
}

/// Magnitude bits already in a float32's exponent and mantissa fields -> value: multiply by the difference of the exponent biases,
/// set the exponent of infinities and NaN (magnitude >= special), then the sign. See tensor/decode.h.
template <class V>
HWY_INLINE hn::VFromD<hn::ScalableTag<float>> Rebias(V magnitude, V sign, float bias, uint32_t special) {
    const hn::ScalableTag<float> d;
    const hn::RebindToUnsigned<decltype(d)> du;
    const hn::RebindToSigned<decltype(d)> di;
    const auto scaled = hn::BitCast(du, hn::Mul(hn::BitCast(d, magnitude), hn::Set(d, bias)));
    const auto isSpecial = hn::Gt(hn::BitCast(di, magnitude), hn::Set(di, static_cast<int32_t>(special) - 1));
    const auto exponent = hn::IfThenElseZero(isSpecial, hn::Set(di, 0x7F800000));
    return hn::BitCast(d, hn::Or(hn::Or(scaled, hn::BitCast(du, exponent)), sign));
}

inline void Decode(Dtype dtype, const std::byte* source, float* target, size_t n) {
    const hn::ScalableTag<float> d;
    const hn::RebindToUnsigned<decltype(d)> du;
    const hn::RebindToSigned<decltype(d)> di;
    const hn::Rebind<uint16_t, decltype(d)> d16;
    const hn::Rebind<uint8_t, decltype(d)> d8;
    const hn::Rebind<int8_t, decltype(d)> di8;
    const auto half = [&](auto bits) {  // bits: F16 in the low 16 bits of every lane
        const auto magnitude = hn::ShiftLeft<13>(hn::And(bits, hn::Set(du, 0x7FFF)));
        return Rebias(magnitude, hn::ShiftLeft<16>(hn::And(bits, hn::Set(du, 0x8000))), 0x1p112f, 0x7C00u << 13);
    };
    switch (dtype) {
        case Dtype::F32: return DecodeVectors<float>(dtype, source, target, n, [&](const float* p) { return hn::LoadU(d, p); });
        case Dtype::BF16:
            return DecodeVectors<uint16_t>(dtype, source, target, n, [&](const uint16_t* p) {
                return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(du, hn::LoadU(d16, p))));
            });
        case Dtype::F16:
            return DecodeVectors<uint16_t>(dtype, source, target, n,
                                           [&](const uint16_t* p) { return half(hn::PromoteTo(du, hn::LoadU(d16, p))); });
        case Dtype::F8E5M2:
            return DecodeVectors<uint8_t>(dtype, source, target, n, [&](const uint8_t* p) {
                return half(hn::ShiftLeft<8>(hn::PromoteTo(du, hn::LoadU(d8, p))));
            });
        case Dtype::F8E4M3:
            return DecodeVectors<uint8_t>(dtype, source, target, n, [&](const uint8_t* p) {
                const auto bits = hn::PromoteTo(du, hn::LoadU(d8, p));
                const auto magnitude = hn::ShiftLeft<20>(hn::And(bits, hn::Set(du, 0x7F)));
                return Rebias(magnitude, hn::ShiftLeft<24>(hn::And(bits, hn::Set(du, 0x80))), 0x1p120f, 0x7Fu << 20);
            });
        case Dtype::U8:
            return DecodeVectors<uint8_t>(dtype, source, target, n,
                                          [&](const uint8_t* p) { return hn::ConvertTo(d, hn::PromoteTo(di, hn::LoadU(d8, p))); });
        case Dtype::I8:
            return DecodeVectors<int8_t>(dtype, source, target, n,
                                         [&](const int8_t* p) { return hn::ConvertTo(d, hn::PromoteTo(di, hn::LoadU(di8, p))); });
        default: return scalarKernels().decode(dtype, source, target, n);  // F64: rare, and bound by memory
    }
}

}  // namespace HWY_NAMESPACE
}  // namespace quantscope
HWY_AFTER_NAMESPACE();

#endif
