#include "quant/format.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "core/error.h"
#include "quant/fp8_block.h"

namespace vl8 {
namespace {

constexpr CodingRow kCodings[] = {
    {Coding::keep, "kept", DType::bf16, ScaleKind::none, 0},
    {Coding::e4m3_block, "E4M3 128x128", DType::e4m3, ScaleKind::block, 448},
    {Coding::e4m3_channel, "E4M3 channel", DType::e4m3, ScaleKind::channel, 448},
    {Coding::e4m3_tensor, "E4M3 tensor", DType::e4m3, ScaleKind::tensor, 448},
    {Coding::e5m2_channel, "E5M2 channel", DType::e5m2, ScaleKind::channel, 57344},
    {Coding::i8_channel, "INT8 channel", DType::i8, ScaleKind::channel, 127},
    {Coding::i4_group, "INT4 group", DType::i4, ScaleKind::group, 7.5f},
    {Coding::fp4_group, "E2M1 group", DType::e2m1, ScaleKind::group, 6},
};

// To nearest, ties to even, for |x| < 2^22, without a call.
inline float nearest(float x) {
  constexpr float kBig = 0x1.8p23f;
  return (x + kBig) - kBig;
}

// What a four-bit or eight-bit code means in units of the scale.
inline float rounded_i4(float y) { return std::clamp(nearest(std::clamp(y, -9.0f, 9.0f)), -8.0f, 7.0f); }
inline float rounded_i8(float y) { return std::clamp(nearest(std::clamp(y, -128.0f, 128.0f)), -127.0f, 127.0f); }
inline float rounded_e2m1(float y) {
  const float a = std::min(std::fabs(y), 6.0f);
  // Steps of 0.5 below 2, of 1 below 4, of 2 above: to nearest in units of the step, which is a power of two.
  const float step = a < 2 ? 0.5f : a < 4 ? 1.0f : 2.0f, inverse = a < 2 ? 2.0f : a < 4 ? 1.0f : 0.5f;
  return std::copysign(nearest(a * inverse) * step, y);
}
// The value of the FP8 code of y, without a branch: normal numbers lose mantissa bits, smaller ones go to the subnormal step.
template <int kDroppedBits>
inline float rounded_fp8(float y, float largest, float least_normal, float steps) {
  const float a = std::min(std::fabs(y), largest), small = nearest(std::min(a, least_normal) * steps) / steps;
  const uint32_t u = std::bit_cast<uint32_t>(a), half = (1u << (kDroppedBits - 1)) - 1;
  const float normal = std::bit_cast<float>((u + half + ((u >> kDroppedBits) & 1)) & ~((1u << kDroppedBits) - 1));
  return std::copysign(a < least_normal ? small : normal, y);
}
inline float rounded_e4m3(float y) { return rounded_fp8<20>(y, 448, 0x1p-6f, 0x1p9f); }
inline float rounded_e5m2(float y) { return rounded_fp8<21>(y, 57344, 0x1p-14f, 0x1p16f); }

template <typename Round>
double squared_error(const float* w, int64_t n, float scale, const float* importance, Round round) {
  constexpr int64_t kLanes = 16;
  float lanes[kLanes] = {};
  const float inverse = 1 / scale;  // a search may be a rounding off: only the choice of the scale depends on it
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int64_t j = 0; j < kLanes; ++j) {
      const float e = round(w[i + j] * inverse) * scale - w[i + j];
      lanes[j] += e * e * (importance ? importance[i + j] : 1.0f);
    }
  double sum = 0;
  for (; i < n; ++i) {
    const float e = round(w[i] * inverse) * scale - w[i];
    sum += double(e * e * (importance ? importance[i] : 1.0f));
  }
  for (float l : lanes) sum += double(l);
  return sum;
}

// Lambdas, so that each loop has its rounding inside and vectorises.
double squared_error(Coding coding, const float* w, int64_t n, float scale, const float* importance) {
  switch (coding) {
    case Coding::i4_group: return squared_error(w, n, scale, importance, [](float y) { return rounded_i4(y); });
    case Coding::fp4_group: return squared_error(w, n, scale, importance, [](float y) { return rounded_e2m1(y); });
    case Coding::i8_channel: return squared_error(w, n, scale, importance, [](float y) { return rounded_i8(y); });
    case Coding::e5m2_channel: return squared_error(w, n, scale, importance, [](float y) { return rounded_e5m2(y); });
    default: return squared_error(w, n, scale, importance, [](float y) { return rounded_e4m3(y); });
  }
}

float largest_magnitude(const float* w, int64_t n) {
  uint32_t most = 0;  // magnitudes order like their bits, NaN above all
  for (int64_t i = 0; i < n; ++i) most = std::max(most, std::bit_cast<uint32_t>(w[i]) & 0x7fffffffu);
  return std::bit_cast<float>(most);
}

float percentile_magnitude(const float* w, int64_t n) {
  constexpr double kShare = 0.999;
  std::vector<float> a(w, w + n);
  for (float& x : a) x = std::fabs(x);
  const auto at = a.begin() + std::min<int64_t>(n - 1, int64_t(std::ceil(kShare * double(n))));
  std::nth_element(a.begin(), at, a.end());
  return *at;
}

// As the file holds it, and never 0.
float stored_scale(Coding coding, float scale) {
  if (coding == Coding::i4_group || coding == Coding::fp4_group) scale = bf16_to_f32(f32_to_bf16(scale));
  return scale == 0 || !std::isfinite(scale) ? 1.0f : scale;
}

void add_errors(CodeError& sum, const float* w, const float* q, int64_t n) {
  float e = 0, s = 0, c = 0, p = 0;
  for (int64_t i = 0; i < n; ++i) {
    const float d = w[i] - q[i];
    e += d * d, s += w[i] * w[i], c += q[i] * q[i], p += w[i] * q[i];
  }
  sum.error += double(e), sum.square += double(s), sum.coded += double(c), sum.product += double(p);
}

}  // namespace

const CodingRow& coding_row(Coding coding) {
  const CodingRow& r = kCodings[size_t(coding)];
  check(r.coding == coding, "coding table out of order at {}", int(coding));
  return r;
}

std::string format_name(const Format& f) {
  return f.group ? fmt::format("{} {}", coding_row(f.coding).name, f.group) : coding_row(f.coding).name;
}

int64_t row_code_bytes(const Format& f, int64_t k) { return k * dtype_bits(coding_row(f.coding).dtype) / 8; }

int64_t scales_per_row(const Format& f, int64_t k) {
  switch (coding_row(f.coding).scaling) {
    case ScaleKind::channel: return 1;
    case ScaleKind::group: return k / f.group;
    default: return 0;
  }
}

uint64_t stored_bytes(const Format& f, int64_t rows, int64_t k) {
  const uint64_t codes = uint64_t(rows) * uint64_t(row_code_bytes(f, k));
  switch (coding_row(f.coding).scaling) {
    case ScaleKind::none: return codes;
    case ScaleKind::tensor: return codes + 4;
    case ScaleKind::channel: return codes + 4 * uint64_t(rows);
    case ScaleKind::block: return codes + 4 * uint64_t((rows + 127) / 128) * uint64_t((k + 127) / 128);
    case ScaleKind::group: return codes + 2 * uint64_t(rows) * uint64_t(k / f.group) + (f.coding == Coding::i4_group ? 16 : 0);  // weight_shape
  }
  return codes;
}

std::optional<ScaleRule> scale_rule(std::string_view name) {
  if (name == "max") return ScaleRule::max;
  if (name == "percentile") return ScaleRule::percentile;
  if (name == "mse") return ScaleRule::mse;
  return std::nullopt;
}

double CodeError::relative() const { return square > 0 ? std::sqrt(error / square) : 0; }
double CodeError::sqnr_db() const { return error > 0 && square > 0 ? 10 * std::log10(square / error) : 200; }
double CodeError::cosine() const {
  return square > 0 && coded > 0 ? product / std::sqrt(square * coded) : square == coded ? 1 : 0;
}

float round_to_code(Coding coding, float w, float scale) {
  const float y = w / scale;
  switch (coding) {
    case Coding::i4_group: return rounded_i4(y) * scale;
    case Coding::fp4_group: return rounded_e2m1(y) * scale;
    case Coding::i8_channel: return rounded_i8(y) * scale;
    case Coding::e5m2_channel: return rounded_e5m2(y) * scale;
    default: return rounded_e4m3(y) * scale;
  }
}

uint8_t code_of(Coding coding, float w, float scale) {
  const float y = w / scale;
  switch (coding) {
    case Coding::i4_group: return uint8_t(int(rounded_i4(y)) + 8);
    case Coding::fp4_group: return f32_to_e2m1(y);
    case Coding::i8_channel: return uint8_t(int8_t(rounded_i8(y)));
    case Coding::e5m2_channel: return f32_to_e5m2(y);
    default: return f32_to_e4m3(y);
  }
}

void put_four_bits(uint8_t* row, int64_t column, uint8_t code) {
  uint8_t& byte = row[column / 2];
  byte = column % 2 ? uint8_t((byte & 15) | code << 4) : uint8_t((byte & 0xf0) | code);
}

float choose_group_scale(Coding coding, const float* w, int64_t n, ScaleRule rule, const float* importance) {
  const float top = rule == ScaleRule::percentile ? percentile_magnitude(w, n) : largest_magnitude(w, n);
  const float full = stored_scale(coding, top / coding_row(coding).largest);
  if (rule != ScaleRule::mse || top == 0) return full;
  // From a little above the scale that fits the largest weight down to half of it.
  constexpr float kFirst = 1.10f, kStep = 0.05f;
  constexpr int kSteps = 13;
  float best = full;
  double least = squared_error(coding, w, n, full, importance);
  for (int i = 0; i < kSteps; ++i) {
    const float scale = stored_scale(coding, top / coding_row(coding).largest * (kFirst - float(i) * kStep));
    const double e = squared_error(coding, w, n, scale, importance);
    if (e < least) least = e, best = scale;
  }
  return best;
}

namespace {
// values = what the codes of y mean, in units of the scale.
void round_run(Coding coding, const float* y, int64_t n, float* values) {
  auto each = [&](auto round) {
    for (int64_t i = 0; i < n; ++i) values[i] = round(y[i]);
  };
  switch (coding) {
    case Coding::i4_group: return each([](float x) { return rounded_i4(x); });
    case Coding::fp4_group: return each([](float x) { return rounded_e2m1(x); });
    case Coding::i8_channel: return each([](float x) { return rounded_i8(x); });
    case Coding::e5m2_channel: return each([](float x) { return rounded_e5m2(x); });
    default: return each([](float x) { return rounded_e4m3(x); });
  }
}

void store_codes(Coding coding, const float* values, int64_t n, uint8_t* to) {
  switch (coding) {
    case Coding::i4_group:
      for (int64_t i = 0; i < n; i += 2) to[i / 2] = uint8_t((int(values[i]) + 8) | (int(values[i + 1]) + 8) << 4);
      return;
    case Coding::fp4_group:
      for (int64_t i = 0; i < n; i += 2) to[i / 2] = uint8_t(f32_to_e2m1(values[i]) | f32_to_e2m1(values[i + 1]) << 4);
      return;
    case Coding::i8_channel:
      for (int64_t i = 0; i < n; ++i) to[i] = uint8_t(int8_t(values[i]));
      return;
    case Coding::e5m2_channel:
      for (int64_t i = 0; i < n; ++i) to[i] = f32_to_e5m2(values[i]);
      return;
    default:
      return encode_e4m3(values, n, to);
  }
}
}  // namespace

std::optional<CodeError> encode_strip(const EncodeStrip& t) {
  check(t.format.coding > Coding::e4m3_block, "encode_strip of {}", format_name(t.format));
  const Coding coding = t.format.coding;
  const int64_t per_row = scales_per_row(t.format, t.k), run = per_row ? t.k / per_row : t.k;
  const int64_t bytes = row_code_bytes(t.format, t.k);
  CodeError sum;
  std::vector<float> y(static_cast<size_t>(run)), values(static_cast<size_t>(run));
  for (int64_t r = 0; r < t.rows; ++r) {
    const float* row = t.w + r * t.k;
    if (!(largest_magnitude(row, t.k) < INFINITY)) return std::nullopt;
    for (int64_t at = 0; at < t.k; at += run) {
      const float* w = row + at;
      const float scale = per_row ? choose_group_scale(coding, w, run, t.rule, t.importance ? t.importance + at : nullptr) : t.tensor_scale;
      if (per_row) t.scales[r * per_row + at / run] = scale;
      for (int64_t i = 0; i < run; ++i) y[size_t(i)] = w[i] / scale;
      round_run(coding, y.data(), run, values.data());
      store_codes(coding, values.data(), run, t.codes + r * bytes + row_code_bytes(t.format, at));
      for (float& v : values) v *= scale;
      add_errors(sum, w, values.data(), run);
    }
  }
  return sum;
}

void decode_rows(const Format& f, const uint8_t* codes, const float* scales, float tensor_scale, int64_t rows, int64_t k,
                 float* out) {
  const DType dtype = coding_row(f.coding).dtype;
  const int64_t per_row = scales_per_row(f, k), run = per_row ? k / per_row : k, bytes = row_code_bytes(f, k);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < k; ++c)
      out[r * k + c] = load_f32(codes + r * bytes, dtype, size_t(c)) * (per_row ? scales[r * per_row + c / run] : tensor_scale);
}

}  // namespace vl8
