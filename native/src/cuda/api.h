// The interface of the CUDA library: a table of function pointers in groups, nothing but plain data across it. The core library opens it at run time
// (device/library.h), so that the addon needs no CUDA. The same sources built for the processor (emulator) have the same interface, for tests.
//
// Every function returns a Status; with anything but Ok, message() says why, for the calling thread. A Context belongs to one device and has one
// stream: kernels and copies that are queued on it run in order, and nothing is promised of what they write before synchronise() returned Ok.
// One thread at a time may use a context. Adding a group: a struct of pointers here, a function that fills it in its own .cu, one line in api.cu.
#pragma once

#include <cstdint>

namespace quantscope::cuda {

/// Goes up with every change of what stands below: the core library refuses another one.
inline constexpr uint32_t kApiVersion = 12;

enum class Status : int32_t {
    Ok,
    Unavailable,  ///< no driver, no device, or one that cannot run these kernels
    OldDriver,    ///< the driver is older than the runtime that was linked in needs
    OutOfMemory,  ///< of the device; what was allocated before stays
    Argument,     ///< the call makes no sense; nothing was done
    Failed,       ///< the device or the driver failed; the context cannot be used further
};

/// How values stand in memory.
enum class Element : int32_t { F32, BF16 };

/// How norms and scales are rounded before use, as base/rounding.h does it.
enum class Stored : int32_t { Fp16, Bf16, Fp32 };

struct Context;

struct DeviceDescription {
    char name[128];
    int32_t major;  ///< compute capability
    int32_t minor;
    int32_t multiprocessors;
    int32_t sharedBytes;  ///< of one block, at most
    uint64_t memoryBytes;
    int32_t usable;       ///< 0 or 1
    char reason[256];     ///< why it is not usable; empty when it is
};

struct DeviceCalls {
    Status (*count)(int32_t* devices);
    Status (*describe)(int32_t device, DeviceDescription* description);
    Status (*open)(int32_t device, Context** context);
    void (*close)(Context* context);  ///< frees what the context still owns; null is allowed
    /// Aligned to 256 bytes. 0 bytes give a valid address.
    Status (*allocate)(Context* context, uint64_t bytes, void** address);
    void (*free)(Context* context, void* address);  ///< after what is queued; null is allowed
    Status (*memory)(Context* context, uint64_t* freeBytes, uint64_t* totalBytes);
    /// Copies are queued; `host` must stay as it is until synchronise().
    Status (*upload)(Context* context, void* device, const void* host, uint64_t bytes);
    Status (*download)(Context* context, void* host, const void* device, uint64_t bytes);
    Status (*copy)(Context* context, void* to, const void* from, uint64_t bytes);
    Status (*clear)(Context* context, void* device, uint64_t bytes);
    /// Waits for everything queued and reports what went wrong in it.
    Status (*synchronise)(Context* context);
    /// Milliseconds of device time between the two, everything queued in between included. stop() waits.
    Status (*startTimer)(Context* context);
    Status (*stopTimer)(Context* context, float* milliseconds);
    /// Copies beside the kernels, for weights that do not stay on the device. fetch() copies host memory from allocateHost() as soon as all that was
    /// queued on the stream before the last release() of this slot is done; acquire() makes the stream wait for the slot's copy. slot < kSlots.
    Status (*allocateHost)(Context* context, uint64_t bytes, void** address);
    void (*freeHost)(Context* context, void* address);
    Status (*fetch)(Context* context, int32_t slot, void* device, const void* host, uint64_t bytes);
    Status (*acquire)(Context* context, int32_t slot);
    Status (*release)(Context* context, int32_t slot);
    /// Waits on the calling thread until the slot's copy has read its host memory.
    Status (*copied)(Context* context, int32_t slot);
    /// The stream as a CUstream, for programs with kernels of their own: the benchmark measures cuBLAS on it.
    Status (*stream)(Context* context, void** stream);
};

inline constexpr int32_t kSlots = 4;

/// What rotate() makes of the rotated values.
enum class Code : int32_t {
    None,        ///< nothing: only y is written
    Codebook,    ///< quantizer/codebook.h, one norm per row
    MidRise,     ///< quantizer/midrise.h, one norm per row
    Symmetric,   ///< quantizer/integer.h, scale and lowest step of each group
    Asymmetric,
};

/// What codes of 4 bits stand for, one byte each: as linears multiply them, so that rotate() may write these in their place.
struct CodeBytes {
    uint32_t levels[4];  ///< of 16 codes, four in each word
    int32_t inHalves;    ///< of 32 neighbours the first four of every eight come first, then the last four of each; 0: in order
    bool operator==(const CodeBytes&) const = default;
};

/// Rows through the RPBH rotation (rotation/rpbh.h) to codes, in one reading of x and one writing of the codes. Addresses are the device's.
/// Codes and sides are those of RowCodec (quantizer/row_codec.h), up to the rounding of float32 sums: a value within about 1e-6 of a threshold may fall
/// to the other side of it. The norm is that of x, which the rotation keeps.
struct RotateRequest {
    const void* x;            ///< [rows, width]
    uint64_t rows;
    uint64_t width;           ///< 1..maxWidth()
    uint64_t xStride;         ///< elements between rows
    Element element;          ///< of x
    const uint32_t* sources;  ///< [width] input of each position, its sign in the top bit; null keeps the order
    uint32_t block;           ///< Hadamard block: a power of two up to 4096 that divides the width; 1 leaves it out

    void* y;                  ///< [rows, width] rotated values, or null
    uint64_t yStride;
    Element yElement;

    Code code;
    int32_t bits;             ///< 1..8 (Symmetric 2..8)
    uint64_t group;           ///< integers: values that share a scale; divides the width
    Stored stored;            ///< how norms and scales are rounded
    /// Codebook: [2^(bits - 1) - 1] between positive levels, in standard deviations, ascending. Of up to 4 bits neighbours, and 0 and the first, are at least
    /// a 14th of the last one apart.
    const float* thresholds;
    float step;               ///< mid-rise: in standard deviations
    double clip;              ///< integers: share of the range that is kept, in (0, 1]
    const float* shift;       ///< integers: [width] added to what is coded, behind the rotation, or null; the lowest step is 0 then, whatever the values
    /// Integers that share one scale over all rows, the group being the row: how far finite rows reach below and above 0, two floats >= 0 by their bits. Null:
    /// each group has its own scale.
    uint32_t* range;
    int32_t observes;         ///< 1: `range` grows to hold these rows, and nothing else is written
    uint8_t* codes;           ///< [rows, packedBytes(width, bits)] as packed/codes.h
    const CodeBytes* bytes;   ///< on the host, where writesBytes() allows it: `codes` are [rows, width] of these, aligned to 32; or null
    float* sides;             ///< [rows, 1], or [rows, 2 width / group] of scale and lowest step
};

struct RotateCalls {
    Status (*rotate)(Context* context, const RotateRequest* request);
    /// Whether rotate() takes this request with `bytes`.
    int32_t (*writesBytes)(Context* context, const RotateRequest* request);
    /// Widest rows that fit the device.
    uint64_t (*maxWidth)(Context* context);
};

// ---- small floats: rows rounded to FP4 or FP8 (quantizer/small_float.h), as bfloat16 ----

/// How scales are stored: FP16; E4M3 times one number for all rows; powers of two.
enum class FloatScale : int32_t { Fp16, Nvfp4, PowerOfTwo };

struct SmallFloatRequest {
    const void* x;       ///< [rows, width]
    Element element;
    uint64_t rows;
    uint64_t width;
    uint64_t stride;     ///< elements between rows
    int32_t mantissa;    ///< bits of it: 1 (E2M1) or 3 (E4M3)
    FloatScale scale;
    uint64_t group;      ///< values that share a scale; divides the width
    /// The largest magnitude of finite rows, a float by its bits: for Nvfp4, and for Fp16 with one scale for all rows, the group being the row. Else null.
    uint32_t* largest;
    int32_t observes;    ///< 1: `largest` grows to hold these rows, and nothing else is written
    void* y;             ///< [rows, width] of bfloat16: element times scale, rounded. A row with a NaN or an infinity is NaNs
};

struct SmallFloatCalls {
    Status (*round)(Context* context, const SmallFloatRequest* request);
};

// ---- linears: y = x Wᵀ + b from codes or floats, with the high-precision tail and the low-rank branch of a recipe (linear/recipe.h) ----

/// What stands on one side of a product. Codes and their sides are those of RowCodec (quantizer/row_codec.h), packed as packed/codes.h has it, each row
/// behind the other without gaps: what rotate() writes, and what packed checkpoints hold.
struct LinearSide {
    Code code;             ///< None: floats
    int32_t bits;          ///< 2..8, codebooks and mid-rise 1..8
    uint64_t group;        ///< Symmetric and Asymmetric: values that share a scale; divides the width
    /// Codebook and MidRise, on the host: the integer that each of the 2^bits codes stands for in units of unit times the norm (integer/plan.h; of a
    /// codebook a surrogate), and the level itself in units of the norm, which counts where the other side is floats.
    const int8_t* integers;
    const float* levels;
    float unit;
};

/// The weights decide the arithmetic:
///   codes x codes    sums of integers, exact; groups are added in order in float32 (cuda/linear/product.cuh says how)
///   codes x floats   weights are decoded to bfloat16, as W4A16 deployments do, activations rounded to it; sums in float32 on tensor cores
///   decoded          codes on one side or both are what they decode to, rounded to bfloat16; likewise
///   BF16  x floats   likewise
///   F32   x floats   float32 throughout, inputs in ascending order, each by a fused multiply-add
struct LinearShape {
    uint64_t outputs;
    uint64_t width;        ///< inputs without the tail; at most 2^20
    LinearSide weights;
    LinearSide activations;
    Element element;       ///< of weights that are floats
    uint64_t tail;         ///< inputs behind these, bfloat16 on both sides; not with F32 weights
    uint64_t rank;         ///< of the low-rank branch, bfloat16 on both sides; likewise
    int32_t bias;          ///< 0 or 1
    int32_t decoded;       ///< 1: codes are multiplied as the floats that they decode to, the true levels of codebooks among them
};

/// One layer's weights as a checkpoint has them, on the host.
struct LinearWeights {
    const uint8_t* codes;  ///< [outputs][packedBytes(width, bits)], or null
    const float* sides;    ///< [outputs][1], or [outputs][2 width / group] of scale and lowest step
    const float* values;   ///< [outputs][width] of weights that are floats; rounded to BF16 where the shape says so
    const float* tail;     ///< [outputs][tail]
    const float* up;       ///< [outputs][rank]
    const float* bias;     ///< [outputs]
};

struct LinearRequest {
    const void* weights;   ///< what pack() made, on the device
    uint64_t rows;
    const void* x;         ///< codes, or floats
    int32_t xBytes;        ///< 1: codes are what activationBytes() says, [rows][width]
    const float* xSides;   ///< of codes
    Element xElement;      ///< of floats
    uint64_t xStride;      ///< of floats, in elements
    const void* xTail;     ///< [rows][tail] floats
    Element tailElement;
    uint64_t tailStride;
    const float* branch;   ///< [rows][rank]: x behind the transforms times the branch's down matrix, which a linear with F32 or BF16 weights makes
    void* y;               ///< [rows][outputs]
    Element yElement;
    uint64_t yStride;
    uint32_t* nonFinite;   ///< becomes 1 where y has a NaN or an infinity, and stays as it is otherwise; or null
    void* scratch;         ///< scratchBytes(), aligned to 256; free for others as soon as what was queued before is done
    uint64_t scratchBytes;
};

struct LinearCalls {
    /// Whether there is a product for the shape: Ok, or Argument with the reason.
    Status (*check)(const LinearShape* shape);
    /// Packed weights are one piece of memory that may lie in files, in host memory or on the device; the same for all devices.
    Status (*weightBytes)(const LinearShape* shape, uint64_t* bytes);
    Status (*pack)(const LinearShape* shape, const LinearWeights* weights, void* packed);
    /// Beside weights and activations. It grows with both: codes that tensor cores cannot multiply as they are become bytes first.
    Status (*scratchBytes)(Context* context, const LinearShape* shape, uint64_t rows, uint64_t* bytes);
    /// `taken` becomes 1 where activations may come as bytes, which `bytes` then describes.
    Status (*activationBytes)(Context* context, const LinearShape* shape, CodeBytes* bytes, int32_t* taken);
    Status (*run)(Context* context, const LinearShape* shape, const LinearRequest* request);
};

// ---- solvers: second moments, their factor, GPTQ (solver/feedback.h says what is computed) ----

struct MomentsRequest {
    const void* x;      ///< [rows, width]
    Element element;
    uint64_t rows;
    uint64_t width;
    uint64_t stride;    ///< elements between rows
    double* sums;       ///< [width, width], of which the lower triangle is added to; products of 1024 rows at a time add up in float32
    uint64_t* counted;  ///< one number that the rows are added to; rows with a NaN or an infinity are left out
    uint8_t* usable;    ///< [rows], scratch
};

/// FactorRequest::state.
inline constexpr int32_t kFactored = 0, kNotFinite = 1, kNotPositive = 2;

struct FactorRequest {
    const float* moments;    ///< [size, stride]; the mean of both triangles counts
    uint64_t size;
    uint64_t stride;
    const uint32_t* order;   ///< [size] coordinate by row of the factor
    const uint8_t* dead;     ///< [size] by coordinate
    double meanDiagonal;     ///< of dead coordinates
    double damping;          ///< added to the diagonal
    double* lower;           ///< [size, size]; nothing is promised of what lies above the diagonal
    int32_t* state;          ///< one number: how it went
};

struct SweepRequest {
    const double* lower;     ///< as factor() made it, with its order and dead coordinates
    uint64_t size;
    const uint32_t* order;
    const uint8_t* dead;
    double damping;
    const float* weights;    ///< [rows, size]
    uint64_t rows;
    const float* given;      ///< [rows, size] values that the weights are given, or null to choose the nearest levels:
    int32_t bits;
    int32_t hasOffsets;      ///< 1: sides are (scale, lowest step) of each group; 0: one for the row
    const float* levels;     ///< [2^bits] ascending; value = (levels[code] + lowest step) * (scale * unit)
    float unit;
    uint64_t group;
    const float* sides;      ///< [rows, sidesOfRow]
    uint64_t sidesOfRow;
    uint8_t* codes;          ///< [rows, size], one each
    double* losses;          ///< [rows] tr(D H Dᵀ) of each, without damping and dead coordinates
    double* errors;          ///< [rows, size], scratch
    double* sums;            ///< [rows, 64], scratch
};

struct SolverCalls {
    Status (*addMoments)(Context* context, const MomentsRequest* request);
    /// Rows [first, first + rows) of the mean of what addMoments() added up, [rows, width].
    Status (*meanMoments)(Context* context, const double* sums, uint64_t width, const uint64_t* counted, uint64_t first, uint64_t rows, float* mean);
    Status (*factor)(Context* context, const FactorRequest* request);
    Status (*sweep)(Context* context, const SweepRequest* request);
};

// ---- statistics: what measure/measure.h asks of a weight ----

/// One row, in the units of x times 2^-exponent; `squares` and `errors` are of that, too.
struct RowStatistics {
    double squares;        ///< sum of x^2
    double errors;         ///< codebook: sum of (u - quantized u)^2, u in standard deviations: errors squares / width is that of the row
    double before[4];      ///< sums of u, u^2, u^3, u^4
    double after[4];       ///< the same behind the rotation
    double excess[4];      ///< sums of (-limit - u) below -limit and (u - limit) above limit, before; the same after
    float largest[2];      ///< max |u|, before and after
    float peak;            ///< max |x|
    int32_t exponent;      ///< 0 unless squares would leave the range of floats
    uint32_t nonFinite;    ///< NaN and infinite values. A row with one, or of zeros, has zeros everywhere else and is in no histogram
};

struct StatisticsRequest {
    const void* x;         ///< as in RotateRequest
    uint64_t rows;         ///< rows * width below 2^32, so that counts do not overflow
    uint64_t width;
    uint64_t xStride;
    Element element;
    const uint32_t* sources;
    uint32_t block;
    float perUnit;         ///< BinGrid of cpu/kernels.h: u belongs to cell trunc(clamp(u perUnit + shift, 0, last))
    float shift;
    uint32_t last;
    float limit;
    uint32_t* before;      ///< [last + 1] counts that are added to
    uint32_t* after;
    int32_t errorAfter;    ///< 1: the codebook is that of the rotated row, 0: of x itself
    uint32_t levels;       ///< positive ones, a power of two; 0: no codebook
    const float* level;    ///< [levels] in standard deviations
    const float* thresholds;  ///< [levels - 1]
    Stored stored;         ///< how the norm is rounded
    RowStatistics* statistics;  ///< [rows]
};

/// Rows are taken in so many parts, so that sums do not depend on the device.
inline constexpr uint64_t kColumnParts = 64;

struct ColumnsRequest {
    const void* x;         ///< as in RotateRequest
    uint64_t rows;
    uint64_t width;
    uint64_t xStride;
    Element element;
    const RowStatistics* statistics;  ///< [rows] of measure(): rows with nonFinite values are left out
    float* largest;        ///< [width] max |x| of each column
    double* squares;       ///< [width] sum of x^2
    float* largestParts;   ///< [kColumnParts, width], scratch
    double* squareParts;   ///< likewise
};

struct StatisticsCalls {
    Status (*measure)(Context* context, const StatisticsRequest* request);
    Status (*columns)(Context* context, const ColumnsRequest* request);
};

// ---- attention: softmax(q kᵀ / √width + bias) v of each head, exact, as the graph's op (graph/attention.cpp) ----

/// F32 is float32 throughout. BF16 goes to tensor cores: products of bfloat16 with sums in float32, the softmax in float32, its exponentials rounded to
/// bfloat16 before they meet v.
struct AttentionShape {
    Element element;      ///< of q, k, v, bias and out
    uint64_t heads;
    uint64_t width;       ///< of one head: 1..4096 of F32; of BF16 1..256, where multiples of 8 are the fast ones
    uint64_t queries;     ///< may be 0
    uint64_t keys;
};

/// Rows may lie anywhere, strides are elements between them. BF16: rows whose addresses and strides are multiples of 16 bytes are the fast ones.
struct AttentionRequest {
    const void* q;        ///< [queries, heads * width]
    uint64_t qStride;
    const void* k;        ///< [keys, heads * width]
    uint64_t kStride;
    const void* v;        ///< likewise
    uint64_t vStride;
    const void* bias;     ///< [keys] for all heads and queries, or null
    void* out;            ///< [queries, heads * width]; must not overlap the others
    uint64_t outStride;
};

struct AttentionCalls {
    /// Whether there is a kernel for the shape: Ok, or Argument with the reason.
    Status (*check)(const AttentionShape* shape);
    /// A NaN, or nothing but negative infinities, in a query's scores makes its row of that head NaN.
    Status (*run)(Context* context, const AttentionShape* shape, const AttentionRequest* request);
};

// ---- ops: what a model computes beside linears (graph/program.h and graph/ops.h say what each op means) ----

/// Activations are float32 or bfloat16, the same on all sides of an op; arithmetic is in float32, as on the processor, and rounded once at the end. Outputs
/// lie row by row without gaps, and overlap no input. NaN goes through as it does there.

inline constexpr int32_t kMaxAxes = 8;

enum class Combination : int32_t {
    Add,       ///< a + b
    Sub,       ///< a - b
    Mul,       ///< a b
    Modulate,  ///< a (1 + b) + c
    GateAdd,   ///< a + b c
};

struct CombineRequest {
    Combination kind;
    Element element;
    int32_t axes;                  ///< 1..kMaxAxes
    uint64_t sizes[kMaxAxes];      ///< of out, outermost first; all but the last multiply to less than 2^32
    uint64_t steps[3][kMaxAxes];   ///< elements between neighbours of each operand; 0 repeats them
    const void* operands[3];       ///< a, b, c; c null where the kind has none
    void* out;
};

enum class Map : int32_t { Silu, GeluTanh, Tanh, Relu, Affine };

struct MapRequest {
    Map kind;
    Element element;
    const void* x;
    uint64_t count;
    float mul;             ///< Affine: clamp(mul x + add, low, high)
    float add;
    float low;
    float high;
    void* out;
};

/// Each row by itself: (x - mean) / sqrt(variance + eps), or x / sqrt(mean of squares + eps), times weight plus bias.
struct RowNormRequest {
    const void* x;         ///< [rows, width]
    Element element;
    int32_t centred;       ///< 1: layernorm, 0: rmsnorm
    uint64_t rows;
    uint64_t width;
    double eps;
    const float* weight;   ///< [width] or null
    const float* bias;     ///< [width] or null
    void* out;
    const void* scale;     ///< [width] of the element, or null: what is normalised is multiplied by 1 + scale, and shift is added
    const void* shift;
};

/// Pieces of a group whose moments are taken at once.
inline constexpr uint64_t kNormParts = 64;

struct GroupNormRequest {
    const void* x;         ///< [channels, size]
    Element element;
    uint64_t groups;       ///< of consecutive channels; divides them
    uint64_t channels;
    uint64_t size;
    double eps;
    const float* weight;   ///< [channels]
    const float* bias;     ///< [channels]
    double* moments;       ///< [groups, 2 kNormParts], scratch
    void* out;
};

struct ChannelNormRequest {
    const void* x;         ///< [channels, size]
    Element element;
    uint64_t channels;
    uint64_t size;
    const float* weight;   ///< [channels], times the root of their number
    void* out;
};

struct RopeRequest {
    const void* x;         ///< [tokens, heads, 2 pairs]
    Element element;
    uint64_t tokens;
    uint64_t heads;
    uint64_t pairs;
    const void* cos;       ///< [tokens, pairs]
    const void* sin;
    Element angles;        ///< of both
    void* out;
};

struct TimestepRequest {
    const void* t;             ///< one number
    Element tElement;
    float scale;
    const float* frequencies;  ///< [half]
    uint64_t half;
    Element element;
    void* out;                 ///< [2 half]: cosines, sines
};

/// out[i] = x[i] with steps of their own on both sides: permutes, slices and concatenations. Nothing is computed.
struct MoveRequest {
    int32_t elementBytes;      ///< 2 or 4
    int32_t axes;              ///< 1..kMaxAxes
    uint64_t sizes[kMaxAxes];  ///< as in CombineRequest
    uint64_t xSteps[kMaxAxes];
    uint64_t outSteps[kMaxAxes];
    const void* x;
    void* out;
};

/// Nearest neighbour along every axis: source index = floor(i from / to).
struct ResizeRequest {
    int32_t elementBytes;     ///< 2 or 4
    int32_t axes;             ///< 1..kMaxAxes
    uint64_t from[kMaxAxes];  ///< shape of x
    uint64_t to[kMaxAxes];    ///< of out; all but the last multiply to less than 2^32
    const void* x;
    void* out;
};

/// Stride 1, zeros around height and width, none around frames. Bfloat16 runs on tensor cores, float32 as F32 linears do.
struct ConvRequest {
    const void* x;         ///< [channels, frames, height, width]
    Element element;       ///< of x, weights and out
    uint64_t channels, frames, height, width;
    uint64_t outputs, kernelT, kernelH, kernelW;
    /// [outputs, convPitch(patch)]: channel, kernelT, kernelH, kernelW in that order, then three numbers whose sum is the bias, then zeros.
    const void* weight;
    void* out;             ///< [outputs, frames - kernelT + 1, height, width]
    void* scratch;         ///< aligned to 256. The more, the fewer products
    uint64_t scratchBytes; ///< at least convPitch(patch) elements
};
/// Elements of a row of a convolution's weights: patch = channels kernelT kernelH kernelW.
inline constexpr uint64_t convPitch(uint64_t patch) { return (patch + 3 + 7) / 8 * 8; }

struct NonFiniteRequest {
    const void* x;
    Element element;
    uint64_t count;
    uint32_t* found;  ///< becomes 1 where there is a NaN or an infinity, and stays as it is otherwise
};

struct OpCalls {
    Status (*combine)(Context* context, const CombineRequest* request);
    Status (*map)(Context* context, const MapRequest* request);
    Status (*rowNorm)(Context* context, const RowNormRequest* request);
    Status (*groupNorm)(Context* context, const GroupNormRequest* request);
    Status (*channelNorm)(Context* context, const ChannelNormRequest* request);
    Status (*rope)(Context* context, const RopeRequest* request);
    Status (*timestep)(Context* context, const TimestepRequest* request);
    Status (*move)(Context* context, const MoveRequest* request);
    Status (*resize)(Context* context, const ResizeRequest* request);
    Status (*conv)(Context* context, const ConvRequest* request);
    Status (*findNonFinite)(Context* context, const NonFiniteRequest* request);
};

struct Api {
    uint32_t version;
    int32_t emulated;           ///< 1 when the "device" is the processor
    const char* (*message)();   ///< of the last call on this thread that was not Ok; valid until the next
    const DeviceCalls* device;
    const RotateCalls* rotate;
    const LinearCalls* linear;
    const SolverCalls* solver;
    const StatisticsCalls* statistics;
    const AttentionCalls* attention;
    const OpCalls* ops;
    const SmallFloatCalls* smallFloats;
};

/// The one exported symbol. Null when the library does not speak that version.
using ApiFunction = const Api* (*)(uint32_t version);
inline constexpr const char* kApiFunction = "quantscope_cuda_api";

}  // namespace quantscope::cuda
