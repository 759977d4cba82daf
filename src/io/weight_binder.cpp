// Finding, checking and pointing. Experts are in weight_binder_experts.cpp. Contents are converted in
// finish(), by the jobs that the visits leave behind.
#include "io/weight_binder.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>

#include "core/error.h"
#include "io/model_layout.h"

namespace vl8 {
namespace {

std::string with_weight(std::string_view name) {
  return name.ends_with(".weight") ? std::string(name) : std::string(name) + ".weight";
}
std::string module_of(const std::string& tensor) {
  return tensor.substr(0, tensor.size() - std::strlen(".weight"));
}

bool is_weight_type(DType t) {
  return t == DType::f32 || t == DType::f16 || t == DType::bf16 || t == DType::e4m3 || t == DType::e5m2 ||
         t == DType::i8;
}
bool is_scale_type(DType t) {
  return t == DType::f32 || t == DType::f16 || t == DType::bf16 || t == DType::e8m0;
}
bool needs_scale(DType t) {
  return t == DType::e4m3 || t == DType::e5m2 || t == DType::i8;
}

// [rows, k], or [rows, a, b, ..] with a * b * .. = k (the patch embedding is a convolution in the files).
bool is_matrix(const Shape& shape, int64_t rows, int64_t k) {
  if (shape.rank < 2 || shape[0] != rows) return false;
  int64_t product = 1;
  for (int i = 1; i < shape.rank; ++i)
    if (__builtin_mul_overflow(product, shape[i], &product)) return false;
  return product == k;
}

}  // namespace

std::optional<ScaleLayout> scale_layout(const Shape& scale, int64_t rows, int64_t k, int64_t block_rows,
                                        int64_t block_cols) {
  auto is_block = [&](int64_t br, int64_t bc) {
    return scale.rank == 2 && scale[0] == (rows + br - 1) / br && scale[1] == (k + bc - 1) / bc;
  };
  if (block_rows > 0 && is_block(block_rows, block_cols))
    return ScaleLayout{ScaleKind::block, block_rows, block_cols};
  if (scale.elements() == 1) return ScaleLayout{ScaleKind::tensor};
  const bool column = scale.rank == 2 && scale[1] == 1;
  if ((scale.rank == 1 || column) && scale[0] == rows) return ScaleLayout{ScaleKind::channel};
  if (block_rows == 0 && is_block(128, 128)) return ScaleLayout{ScaleKind::block, 128, 128};
  return std::nullopt;
}

WeightBinder::WeightBinder(std::shared_ptr<WeightStore> store, const QuantConfig& quant)
    : store_(std::move(store)), quant_(quant), skip_(quant) {}

const StoredTensor* WeightBinder::take(const std::string& name, const Shape& expected) {
  const StoredTensor* tensor = store_->checkpoint().find(name);
  if (tensor)
    used_.insert(tensor);
  else
    faults_.push_back(fmt::format("{} is missing (expected {})", name, expected.str()));
  return tensor;
}

// The companion base + one of the suffixes; nothing when there is none.
const StoredTensor* WeightBinder::take_one_of(const std::string& base,
                                              std::initializer_list<const char*> suffixes) {
  const StoredTensor* found = nullptr;
  for (const char* suffix : suffixes) {
    const StoredTensor* tensor = store_->checkpoint().find(base + suffix);
    if (!tensor) continue;
    used_.insert(tensor);
    if (found)
      faults_.push_back(fmt::format("{} and {} are both there; one must go", found->name, tensor->name));
    found = tensor;
  }
  return found;
}

// The stored bytes in place; a copy where the file does not align them to their type.
const std::byte* WeightBinder::map(const StoredTensor& tensor, bool read_ahead) {
  std::span<const std::byte> bytes = store_->checkpoint().bytes(tensor);
  if (reinterpret_cast<uintptr_t>(bytes.data()) % dtype_bytes(tensor.dtype) == 0) {
    report_.mapped_bytes += bytes.size();
    if (read_ahead) read_.push_back({tensor.file, tensor.offset, tensor.bytes});
    return bytes.data();
  }
  std::byte* copy = store_->allocate(bytes.size());
  conversions_.push_back([bytes, copy] { std::memcpy(copy, bytes.data(), bytes.size()); });
  return copy;
}

float* WeightBinder::floats(int64_t count) {
  return reinterpret_cast<float*>(store_->allocate(size_t(count) * sizeof(float)));
}

// Leaves a job that writes the tensor as F32, turned when turn_rows > 0: out[c][r] = in[r][c] of [turn_rows,
// turn_cols] matrices that follow one another.
void WeightBinder::convert(const StoredTensor& tensor, float* out, int64_t turn_rows, int64_t turn_cols) {
  conversions_.push_back([this, &tensor, out, turn_rows, turn_cols] {
    std::span<const std::byte> bytes = store_->checkpoint().bytes(tensor);
    std::vector<std::byte> aligned;  // the file need not align
    const void* data = bytes.data();
    if (reinterpret_cast<uintptr_t>(data) % dtype_bytes(tensor.dtype) != 0)
      aligned.assign(bytes.begin(), bytes.end()), data = aligned.data();
    const int64_t n = tensor.shape.elements(), matrix = turn_rows * turn_cols;
    for (int64_t i = 0; i < n; ++i) {
      float v = load_f32(data, tensor.dtype, size_t(i));
      if (!std::isfinite(v))
        fail_input("{}: tensor {} holds {} at element {}: the file is damaged",
                   store_->checkpoint().files()[tensor.file].path().string(), tensor.stored, v, i);
      int64_t to = i;
      if (turn_rows > 0) to = i / matrix * matrix + (i % turn_cols) * turn_rows + i % matrix / turn_cols;
      out[to] = v;
    }
  });
}

void WeightBinder::vector(Tensor& out, std::string_view name, int64_t n) {
  const StoredTensor* tensor = take(std::string(name), {n});
  if (!tensor) return;
  if (tensor->shape != Shape{n} || !is_weight_type(tensor->dtype) || needs_scale(tensor->dtype)) {
    faults_.push_back(fmt::format("{} is {} {} (expected [{}], F32, F16 or BF16)", name,
                                  dtype_name(tensor->dtype), tensor->shape.str(), n));
    return;
  }
  out = {floats(n), DType::f32, {n}};
  convert(*tensor, out.f32());
}

void WeightBinder::table_f32(Tensor& out, std::string_view name, int64_t rows, int64_t cols) {
  const StoredTensor* tensor = take(with_weight(name), {rows, cols});
  if (!tensor) return;
  if (tensor->shape != Shape{rows, cols} || !is_weight_type(tensor->dtype) || needs_scale(tensor->dtype)) {
    faults_.push_back(fmt::format("{} is {} {} (expected [{}, {}], F32, F16 or BF16)", tensor->name,
                                  dtype_name(tensor->dtype), tensor->shape.str(), rows, cols));
    return;
  }
  out = {floats(rows * cols), DType::f32, {rows, cols}};
  convert(*tensor, out.f32());
}

void WeightBinder::table(Weight& out, std::string_view name, int64_t rows, int64_t cols) {
  std::string module = module_of(with_weight(name));
  out = {.name = module, .n = rows, .k = cols};
  if (const StoredTensor* t = bind_part(out, module, rows, cols, false))
    by_rows_.push_back({t->file, t->offset, t->bytes});
}

void WeightBinder::linear(Linear& out, std::initializer_list<LinearPart> parts, int64_t k, bool bias) {
  check(parts.size() > 0, "a linear has at least one part");
  Weight& w = out.weight;
  w = {.name = parts.begin()->name, .k = k};
  for (const LinearPart& p : parts) {
    w.n += p.rows;
    bind_part(w, p.name, p.rows, k, true);
  }
  if (!bias) return;
  out.bias = {floats(w.n), DType::f32, {w.n}};
  int64_t row = 0;
  for (const LinearPart& p : parts) {
    if (const StoredTensor* tensor = take(p.name + ".bias", {p.rows})) {
      if (tensor->shape == Shape{p.rows} && is_weight_type(tensor->dtype) && !needs_scale(tensor->dtype))
        convert(*tensor, out.bias.f32() + row);
      else
        faults_.push_back(fmt::format("{} is {} {} (expected [{}], F32, F16 or BF16)", tensor->name,
                                      dtype_name(tensor->dtype), tensor->shape.str(), p.rows));
    }
    row += p.rows;
  }
}

void WeightBinder::head(Linear& out, std::string_view name, const Weight& embeddings, int64_t rows, int64_t k,
                        bool tied) {
  std::string module = module_of(with_weight(name));
  if (!tied) return linear(out, {{module, rows}}, k, false);
  check(embeddings.n == rows && embeddings.k == k, "tied head [{}, {}], embeddings [{}, {}]", rows, k,
        embeddings.n, embeddings.k);
  out.weight = embeddings;
  // As a head, the whole table is read at every step.
  read_.insert(read_.end(), by_rows_.begin(), by_rows_.end());
  by_rows_.clear();
  for (const StoredTensor& t : store_->checkpoint().tensors()) {
    if (!t.name.starts_with(module + ".")) continue;
    used_.insert(&t);
    report_.ignored_bytes += t.bytes;
  }
}

const StoredTensor* WeightBinder::bind_part(Weight& out, const std::string& module, int64_t rows, int64_t k,
                                            bool read_ahead) {
  if (store_->checkpoint().find(module + ".weight_packed")) return bind_packed(out, module, rows, k, read_ahead);
  const StoredTensor* tensor = take(module + ".weight", {rows, k});
  if (!tensor) return nullptr;
  if (!is_matrix(tensor->shape, rows, k)) {
    faults_.push_back(
        fmt::format("{} is {} (expected [{}, {}])", tensor->name, tensor->shape.str(), rows, k));
    return nullptr;
  }
  if (!is_weight_type(tensor->dtype)) {
    faults_.push_back(fmt::format("{} is {} (expected F32, F16, BF16, F8_E4M3, F8_E5M2 or I8)", tensor->name,
                                  dtype_name(tensor->dtype)));
    return nullptr;
  }
  WeightPart part{.dtype = tensor->dtype, .rows = rows};
  if (needs_scale(tensor->dtype)) {
    if (!bind_scale(part, *tensor, module, k)) return nullptr;
    if (tensor->dtype != DType::i8) bind_input_scale(out, module);
    ++report_.quantised_modules;
  }
  note_quantisation(module, needs_scale(tensor->dtype));
  part.data = map(*tensor, read_ahead);
  out.parts.push_back(part);
  return tensor;
}

// Four bits: the type of the packed tensor says which numbers they are.
const StoredTensor* WeightBinder::bind_packed(Weight& out, const std::string& module, int64_t rows, int64_t k,
                                              bool read_ahead) {
  const bool integers = store_->checkpoint().at(module + ".weight_packed").dtype == DType::i32;
  const Shape expected{rows, integers ? k / 8 : k / 2};
  const StoredTensor* packed = take(module + ".weight_packed", expected);
  if (store_->checkpoint().find(module + ".weight"))
    faults_.push_back(fmt::format("{0}.weight and {0}.weight_packed are both there; one must go", module));
  if (const StoredTensor* shape = store_->checkpoint().find(module + ".weight_shape")) used_.insert(shape);
  if (packed->shape != expected || k % 8 != 0 || (!integers && packed->dtype != DType::u8)) {
    faults_.push_back(fmt::format("{} is {} {} (expected I32 [{}, {}] or U8 [{}, {}])", packed->name,
                                  dtype_name(packed->dtype), packed->shape.str(), rows, k / 8, rows, k / 2));
    return nullptr;
  }
  WeightPart part{.dtype = integers ? DType::i4 : DType::e2m1, .rows = rows, .scale_kind = ScaleKind::group};
  if (!bind_group_scale(part, *packed, module, k)) return nullptr;
  ++report_.quantised_modules;
  note_quantisation(module, true);
  part.data = map(*packed, read_ahead);
  out.parts.push_back(part);
  return packed;
}

// BF16 scales stay as they are; others become F32, divided by the global scale where there is one.
bool WeightBinder::bind_group_scale(WeightPart& part, const StoredTensor& packed, const std::string& module,
                                    int64_t k) {
  const StoredTensor* scale = take(module + ".weight_scale", {part.rows, k / 128});
  const StoredTensor* global = store_->checkpoint().find(module + ".weight_global_scale");
  if (global) used_.insert(global);
  if (!scale) return false;
  const Shape& s = scale->shape;
  const bool fits = s.rank == 2 && s[0] == part.rows && s[1] > 0 && k % s[1] == 0 && k / s[1] % 16 == 0;
  const bool number = is_scale_type(scale->dtype) || scale->dtype == DType::e4m3;
  if (!fits || !number || (global && (global->shape.elements() != 1 || global->dtype != DType::f32))) {
    faults_.push_back(fmt::format("{} is {} {} (expected a float type and [{}, {} / group], groups a multiple of 16 that "
                                  "divides {}; weight_global_scale, where there is one, F32 [1])",
                                  scale->name, dtype_name(scale->dtype), s.str(), part.rows, k, k));
    return false;
  }
  part.block_rows = 1, part.block_cols = k / s[1];
  if (scale->dtype == DType::bf16 && !global) {
    part.scale_bf16 = reinterpret_cast<const uint16_t*>(map(*scale, true));
    return true;
  }
  float* values = floats(s.elements());
  convert(*scale, values);
  part.scale = values;
  if (!global) return true;
  float* divisor = floats(1);
  convert(*global, divisor);
  conversions_.push_back([this, values, divisor, n = s.elements(), name = packed.stored] {
    if (!(*divisor > 0)) fail_input("{}: the global scale of {} is {}", store_->checkpoint().folder().string(), name, *divisor);
    for (int64_t i = 0; i < n; ++i) values[i] /= *divisor;
  });
  return true;
}

bool WeightBinder::bind_scale(WeightPart& part, const StoredTensor& weight, const std::string& module,
                              int64_t k) {
  const StoredTensor* scale = take_one_of(module, {".weight_scale_inv", ".weight_scale"});
  if (!scale) {
    faults_.push_back(fmt::format("{}.weight_scale_inv (or .weight_scale) is missing: {} is {}", module,
                                  weight.name, dtype_name(weight.dtype)));
    return false;
  }
  auto layout = scale_layout(scale->shape, part.rows, k, quant_.block_rows, quant_.block_cols);
  if (!layout || !is_scale_type(scale->dtype)) {
    int64_t br = quant_.block_rows ? quant_.block_rows : 128,
            bc = quant_.block_rows ? quant_.block_cols : 128;
    faults_.push_back(fmt::format(
        "{} is {} {} (expected a float type, and [{}, {}] for {}x{} blocks, [{}, 1] per channel or [1])",
        scale->name, dtype_name(scale->dtype), scale->shape.str(), (part.rows + br - 1) / br,
        (k + bc - 1) / bc, br, bc, part.rows));
    return false;
  }
  float* values = floats(scale->shape.elements());
  convert(*scale, values);
  part.scale_kind = layout->kind;
  part.scale = values;
  part.block_rows = layout->block_rows, part.block_cols = layout->block_cols;
  return true;
}

void WeightBinder::bind_input_scale(Weight& out, const std::string& module) {
  const StoredTensor* scale = take_one_of(module, {".input_scale", ".activation_scale"});
  if (!scale) {
    if (quant_.static_activations && !quant_.dynamic_activations)
      note("are static in config.json but have no input_scale; their activations are scaled dynamically",
           module);
    return;
  }
  if (!quant_.static_activations && quant_.method != QuantMethod::none)
    return note("have an input_scale, but config.json says dynamic activations; it is not used", module);
  if (scale->shape.elements() != 1 || !is_scale_type(scale->dtype)) {
    faults_.push_back(fmt::format("{} is {} {} (expected one float)", scale->name, dtype_name(scale->dtype),
                                  scale->shape.str()));
    return;
  }
  float* value = floats(1);
  convert(*scale, value);
  conversions_.push_back([&out, value] { out.input_scale = std::max(out.input_scale, *value); });
}

void WeightBinder::note(const std::string& kind, std::string_view module) {
  auto [it, added] = notes_.try_emplace(kind, 0, std::string(module));
  ++it->second.first;
}

void WeightBinder::note_quantisation(std::string_view module, bool quantised) {
  if (quantised && quant_.method == QuantMethod::none)
    return note("are quantised though config.json has no quantization_config; the tensors are believed", module);
  if (quant_.method == QuantMethod::none || (!quantised && !is_language_linear(module))) return;
  const bool skipped = skip_.contains(module);
  if (quantised && skipped)
    note("are quantised though config.json lists them as not quantised; the tensors are believed", module);
  if (!quantised && !skipped) note("are not quantised though config.json says so; the tensors are believed", module);
}

// What no visit took. Scales of a quantised KV cache and stored rotary frequencies are known and not used.
void WeightBinder::find_left_over() {
  constexpr std::string_view kUnused[] = {".k_scale", ".v_scale", ".q_scale", ".prob_scale", ".inv_freq"};
  for (const StoredTensor& t : store_->checkpoint().tensors()) {
    if (used_.contains(&t)) continue;
    bool unused =
        std::any_of(std::begin(kUnused), std::end(kUnused), [&](auto s) { return t.name.ends_with(s); });
    if (unused)
      note("(scales of a quantised KV cache, rotary frequencies) are not used", t.name),
          report_.ignored_bytes += t.bytes;
    else
      faults_.push_back(
          fmt::format("{} {} {} has no place in this model", t.stored, dtype_name(t.dtype), t.shape.str()));
  }
}

void WeightBinder::check_fit() {
  find_left_over();
  if (faults_.empty()) return;
  constexpr size_t kShown = 10;
  std::string text =
      fmt::format("{}: the weights do not fit config.json:", store_->checkpoint().folder().string());
  for (size_t i = 0; i < std::min(kShown, faults_.size()); ++i) text += "\n  " + faults_[i];
  if (faults_.size() > kShown) text += fmt::format("\n  and {} more", faults_.size() - kShown);
  throw Error(ErrorKind::input, text);
}

// Weights that do not fit are left to be read on demand: reading ahead would only push the first ones out
// again.
void WeightBinder::start_reading(const LoadOptions& options) {
  for (const WeightStore::Range& r : by_rows_) store_->expect_random(r);
  if (options.read == ReadMode::on_demand) return;
  uint64_t bytes = 0, available = available_memory_bytes();
  for (const WeightStore::Range& r : read_) bytes += r.bytes;
  if (bytes <= available)
    return store_->start_read_ahead(std::move(read_), options.show_progress && turns_.empty());
  report_.warnings.push_back(
      fmt::format("the weights take {:.1f} GB and {:.1f} GB of memory is available: they are read from disk "
                  "at every step",
                  double(bytes) * 1e-9, double(available) * 1e-9));
}

LoadReport WeightBinder::finish(ThreadPool& pool, const LoadOptions& options) {
  auto start = std::chrono::steady_clock::now();
  check_fit();
  require_memory(uint64_t(turned_bytes()), store_->checkpoint().folder().string() + ": the experts");
  start_reading(options);
  for (auto& job : conversions_) job();
  turn_experts(pool, options.show_progress);
  if (options.read == ReadMode::wait) store_->wait();

  report_.tensors = int64_t(used_.size());
  report_.file_bytes = store_->checkpoint().file_bytes();
  report_.converted_bytes = store_->allocated_bytes();
  for (const auto& [kind, where] : notes_)
    report_.warnings.push_back(where.first == 1
                                   ? fmt::format("{} {}", where.second, kind)
                                   : fmt::format("{} and {} more {}", where.second, where.first - 1, kind));
  conversions_.clear();
  report_.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return report_;
}

}  // namespace vl8
