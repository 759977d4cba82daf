#include "core/dtype.h"

#include "core/error.h"

namespace vl8 {
namespace {
struct Row {
  DType type;
  const char* name;
  size_t bytes;
};
constexpr Row kTypes[] = {
    {DType::f32, "F32", 4},      {DType::f16, "F16", 2},      {DType::bf16, "BF16", 2}, {DType::e4m3, "F8_E4M3", 1},
    {DType::e5m2, "F8_E5M2", 1}, {DType::e8m0, "F8_E8M0", 1}, {DType::f64, "F64", 8},   {DType::i8, "I8", 1},
    {DType::u8, "U8", 1},        {DType::i16, "I16", 2},      {DType::u16, "U16", 2},   {DType::i32, "I32", 4},
    {DType::u32, "U32", 4},      {DType::i64, "I64", 8},      {DType::u64, "U64", 8},   {DType::boolean, "BOOL", 1},
    {DType::i4, "I4", 0},        {DType::e2m1, "F4_E2M1", 0},
};
const Row& row(DType type) {
  const Row& r = kTypes[size_t(type)];
  check(r.type == type, "dtype table out of order at {}", int(type));
  return r;
}
}  // namespace

size_t dtype_bytes(DType type) {
  const Row& r = row(type);
  check(r.bytes > 0, "{} has no whole bytes", r.name);
  return r.bytes;
}
int64_t dtype_bits(DType type) { return row(type).bytes ? int64_t(row(type).bytes) * 8 : 4; }
std::string_view dtype_name(DType type) { return row(type).name; }
std::optional<DType> dtype_from_name(std::string_view name) {
  for (const Row& r : kTypes)
    if (r.bytes && name == r.name) return r.type;
  return std::nullopt;
}

float load_f32(const void* data, DType type, size_t i) {
  switch (type) {
    case DType::f32: return static_cast<const float*>(data)[i];
    case DType::f64: return float(static_cast<const double*>(data)[i]);
    case DType::f16: return f16_to_f32(static_cast<const uint16_t*>(data)[i]);
    case DType::bf16: return bf16_to_f32(static_cast<const uint16_t*>(data)[i]);
    case DType::e4m3: return e4m3_to_f32(static_cast<const uint8_t*>(data)[i]);
    case DType::e5m2: return e5m2_to_f32(static_cast<const uint8_t*>(data)[i]);
    case DType::e8m0: return e8m0_to_f32(static_cast<const uint8_t*>(data)[i]);
    case DType::i8: return float(static_cast<const int8_t*>(data)[i]);
    case DType::i4:
    case DType::e2m1: {
      const uint8_t code = (static_cast<const uint8_t*>(data)[i / 2] >> (i % 2 * 4)) & 15;
      return type == DType::i4 ? float(code) - 8 : e2m1_to_f32(code);
    }
    default: break;
  }
  fail(ErrorKind::internal, "load_f32: {} is not a floating type", dtype_name(type));
}

}  // namespace vl8
