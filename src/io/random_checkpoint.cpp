#include "io/random_checkpoint.h"

#include <algorithm>

#include "core/error.h"
#include "core/file.h"
#include "core/progress.h"
#include "io/checkpoint_writer.h"
#include "io/first_error.h"
#include "io/model_layout.h"
#include "io/random_values.h"

namespace vl8 {
namespace {

constexpr float kDeviation = 0.02f;  // of matrices, as the family is initialised
constexpr float kNormDeviation = 0.1f;
constexpr int64_t kPiece = 1 << 22;  // elements made at a time
constexpr int64_t kBlock = 128;

int64_t blocks(int64_t n) {
  return (n + kBlock - 1) / kBlock;
}
float mean_of(TensorRole role) {
  return role == TensorRole::norm ? 1.0f : 0.0f;
}
float deviation_of(TensorRole role) {
  return role == TensorRole::norm ? kNormDeviation : kDeviation;
}

// Multipliers of FP8 codes: blocks differ by up to 10 %, so that a kernel which mixes them up is wrong.
float random_scale(const RandomValues& values, int64_t i) {
  return kDeviation / RandomValues::kE4m3Deviation * (0.9f + 0.2f * values.uniform(i));
}

TensorSpec scale_spec(const LayoutTensor& t) {
  if (t.shape.rank == 3)
    return {t.name + "_scale_inv", DType::f32, {t.shape[0], blocks(t.shape[1]), blocks(t.shape[2])}};
  return {t.name + "_scale_inv", DType::f32, {blocks(t.shape[0]), blocks(t.shape[1])}};
}

struct FileTensor {
  TensorSpec spec;
  TensorRole role;
  bool is_scale = false;
};

std::vector<FileTensor> file_tensors(const ModelConfig& config, RandomFormat format) {
  std::vector<FileTensor> out;
  for (const LayoutTensor& t : model_layout(config)) {
    const bool fp8 = format == RandomFormat::fp8 && t.role == TensorRole::quantised;
    std::vector<FileTensor> made{{{t.name, fp8 ? DType::e4m3 : DType::bf16, t.shape}, t.role}};
    if (fp8) made.push_back({scale_spec(t), t.role, true});
    for (FileTensor& f : made) {
      if (!f.spec.name.starts_with("lm_head.")) f.spec.name = "model." + f.spec.name;
      out.push_back(std::move(f));
    }
  }
  return out;
}

void write_piece(CheckpointWriter& writer, size_t index, const FileTensor& t, uint64_t seed, int64_t begin,
                 int64_t count) {
  const RandomValues values(seed, canonical_name(t.spec.name));
  std::vector<std::byte> buffer(size_t(count) * dtype_bytes(t.spec.dtype));
  if (t.spec.dtype == DType::e4m3)
    values.e4m3(reinterpret_cast<uint8_t*>(buffer.data()), begin, count);
  else if (t.is_scale)
    for (int64_t i = 0; i < count; ++i)
      reinterpret_cast<float*>(buffer.data())[i] = random_scale(values, begin + i);
  else
    values.bf16(reinterpret_cast<uint16_t*>(buffer.data()), begin, count, mean_of(t.role),
                deviation_of(t.role));
  writer.write(index, size_t(begin) * dtype_bytes(t.spec.dtype), buffer);
}

}  // namespace

void write_random_checkpoint(const std::filesystem::path& folder, std::string_view config_json,
                             const RandomOptions& options, ThreadPool& pool) {
  const ModelConfig config = parse_model_config(config_json, "the given config.json");
  if (options.format > RandomFormat::fp8)
    fail_usage("random checkpoints are written in bf16 or fp8; quantise a bf16 one for the other formats");
  if (config.quant.method != QuantMethod::none && options.format == RandomFormat::bf16)
    fail_usage("the config describes a quantised model; give that of the BF16 model for random BF16 weights");
  const std::vector<FileTensor> tensors = file_tensors(config, options.format);
  std::vector<TensorSpec> specs;
  for (const FileTensor& t : tensors) specs.push_back(t.spec);

  NewFolder target(folder, false);
  require_disk_space(target.path(), safetensors_bytes(specs));
  write_file(target.path() / "config.json", options.format == RandomFormat::fp8
                                                ? with_fp8_config(config_json, config)
                                                : std::string(config_json));
  CheckpointWriter writer(target.path(), specs, options.shard_bytes);

  struct Piece {
    size_t tensor;
    int64_t begin, count;
  };
  std::vector<Piece> pieces;
  for (size_t i = 0; i < specs.size(); ++i)
    for (int64_t at = 0, n = specs[i].shape.elements(); at < n; at += kPiece)
      pieces.push_back({i, at, std::min(kPiece, n - at)});
  Progress progress("writing random weights", int64_t(writer.tensor_bytes()), "B", options.show_progress);
  FirstError error;
  pool.parallel_for(int64_t(pieces.size()), 1, [&](int, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      error.run([&] {
        const Piece& p = pieces[size_t(i)];
        write_piece(writer, p.tensor, tensors[p.tensor], options.seed, p.begin, p.count);
        progress.advance(p.count * int64_t(dtype_bytes(specs[p.tensor].dtype)));
      });
  });
  error.rethrow();
  writer.commit();
  target.commit();
}

RandomBinder::RandomBinder(std::shared_ptr<WeightStore> store, ThreadPool& pool, const RandomOptions& options)
    : store_(std::move(store)), pool_(pool), options_(options) {}

void RandomBinder::vector(Tensor& out, std::string_view name, int64_t n) {
  table_f32(out, name, n, 0);
}

// F32 values that are exact in BF16, as they would be after loading a file. cols 0: a vector.
void RandomBinder::table_f32(Tensor& out, std::string_view name, int64_t rows, int64_t cols) {
  const RandomValues values(options_.seed, name);
  const bool norm = cols == 0 && !name.ends_with(".bias");
  const int64_t n = cols ? rows * cols : rows;
  out = {store_->allocate(size_t(n) * sizeof(float)), DType::f32, cols ? Shape{rows, cols} : Shape{rows}};
  std::vector<uint16_t> stored(static_cast<size_t>(n));
  values.bf16(stored.data(), 0, n, norm ? 1.0f : 0.0f, norm ? kNormDeviation : kDeviation);
  for (int64_t i = 0; i < n; ++i) out.f32()[i] = bf16_to_f32(stored[size_t(i)]);
}

// Asks for memory before it is touched, but not for every small matrix: the question costs tens of
// microseconds.
void RandomBinder::reserve(uint64_t bytes) {
  constexpr uint64_t kStep = uint64_t(256) << 20;
  if (bytes > reserved_) {
    reserved_ = std::max(bytes, kStep);
    require_memory(reserved_, "the next random weights");
  }
  reserved_ -= bytes;
}

namespace {
// Weights of one code each, and the deviation of the codes as numbers.
struct CodingRow {
  DType dtype;
  float deviation;
  int64_t group;
};
constexpr CodingRow kCodings[] = {{DType::bf16, 0, 0},
                                  {DType::e4m3, RandomValues::kE4m3Deviation, 0},
                                  {DType::e4m3, RandomValues::kE4m3Deviation, 0},
                                  {DType::i8, 73.9f, 0},
                                  {DType::i4, 4.61f, 128},
                                  {DType::e2m1, 2.93f, 64}};
}  // namespace

std::optional<RandomFormat> random_format(std::string_view name) {
  constexpr std::string_view kNames[] = {"bf16", "fp8", "int8", "int4", "fp4"};
  for (size_t i = 0; i < std::size(kNames); ++i)
    if (name == kNames[i]) return RandomFormat(i);
  return std::nullopt;
}

RandomBinder::Coding RandomBinder::coding_of(std::string_view module, int64_t k) const {
  const bool language = is_language_linear(module), mlp = language && module.find(".mlp.") != std::string_view::npos;
  const bool table = module == "lm_head" || module.ends_with("embed_tokens");
  const bool linear = language || (module.starts_with("visual.") && module.find("patch_embed") == std::string_view::npos);
  switch (options_.format) {
    case RandomFormat::bf16:
      return Coding::bf16;
    case RandomFormat::fp8:
      return language ? Coding::e4m3_block : Coding::bf16;
    case RandomFormat::int8:
      return linear ? Coding::i8 : Coding::bf16;
    case RandomFormat::int4:
    case RandomFormat::fp4: {
      const Coding narrow = options_.format == RandomFormat::int4 ? Coding::i4 : Coding::e2m1;
      if (mlp && k % kCodings[size_t(narrow)].group == 0) return narrow;
      return linear || table ? Coding::e4m3_channel : Coding::bf16;
    }
  }
  return Coding::bf16;
}

void RandomBinder::add_scales(WeightPart& part, std::string_view name, int64_t k, Coding coding) {
  const CodingRow& row = kCodings[size_t(coding)];
  const RandomValues scales(options_.seed, std::string(name) + "_scale_inv");
  const int64_t count = row.group                       ? part.rows * (k / row.group)
                        : coding == Coding::e4m3_block ? blocks(part.rows) * blocks(k)
                                                       : part.rows;
  auto value = [&](int64_t i) { return kDeviation / row.deviation * (0.9f + 0.2f * scales.uniform(i)); };
  if (row.group) {
    auto halves = reinterpret_cast<uint16_t*>(store_->allocate(size_t(count) * 2));
    for (int64_t i = 0; i < count; ++i) halves[i] = f32_to_bf16(value(i));
    part.scale_kind = ScaleKind::group, part.scale_bf16 = halves;
    part.block_rows = 1, part.block_cols = row.group;
    return;
  }
  float* floats = reinterpret_cast<float*>(store_->allocate(size_t(count) * sizeof(float)));
  for (int64_t i = 0; i < count; ++i) floats[i] = coding == Coding::e4m3_block ? random_scale(scales, i) : value(i);
  part.scale_kind = coding == Coding::e4m3_block ? ScaleKind::block : ScaleKind::channel;
  part.scale = floats;
}

WeightPart RandomBinder::random_part(std::string_view name, int64_t rows, int64_t k, Coding coding) {
  const RandomValues values(options_.seed, name);
  WeightPart part{.dtype = kCodings[size_t(coding)].dtype, .rows = rows};
  const int64_t n = rows * k;
  const uint64_t bytes = uint64_t(rows) * uint64_t(part.row_bytes(k));
  reserve(bytes);
  std::byte* data = store_->allocate(bytes);
  part.data = data;
  pool_.parallel_for((n + kPiece - 1) / kPiece, 1, [&](int, int64_t first, int64_t last) {
    for (int64_t at = first * kPiece; at < std::min(last * kPiece, n); at += kPiece) {
      const int64_t count = std::min(kPiece, n - at);
      if (part.dtype == DType::bf16)
        values.bf16(reinterpret_cast<uint16_t*>(data) + at, at, count, 0, kDeviation);
      else if (part.dtype == DType::e4m3)
        values.e4m3(reinterpret_cast<uint8_t*>(data) + at, at, count);
      else if (part.dtype == DType::i8)
        values.bytes(reinterpret_cast<uint8_t*>(data) + at, at, count);
      else
        values.bytes(reinterpret_cast<uint8_t*>(data) + at / 2, at / 2, count / 2);
    }
  });
  if (coding != Coding::bf16) add_scales(part, name, k, coding);
  return part;
}

void RandomBinder::table(Weight& out, std::string_view name, int64_t rows, int64_t cols) {
  const std::string module(name.substr(0, name.size() - (name.ends_with(".weight") ? 7 : 0)));
  out = {.name = module, .n = rows, .k = cols};
  out.parts.push_back(random_part(module + ".weight", rows, cols, coding_of(module, cols)));
}

void RandomBinder::linear(Linear& out, std::initializer_list<LinearPart> parts, int64_t k, bool bias) {
  out.weight = {.name = parts.begin()->name, .k = k};
  for (const LinearPart& p : parts) {
    out.weight.parts.push_back(random_part(p.name + ".weight", p.rows, k, coding_of(p.name, k)));
    out.weight.n += p.rows;
  }
  if (bias) vector(out.bias, parts.begin()->name + ".bias", out.weight.n);
}

void RandomBinder::experts(Moe& out, std::string_view prefix, int64_t experts, int64_t hidden,
                           int64_t intermediate) {
  auto make = [&](std::vector<Linear>& list, const char* name, int64_t e, int64_t rows, int64_t k) {
    const std::string full = fmt::format("{}.experts.{}.{}", prefix, e, name);
    list[size_t(e)].weight = {.name = full, .n = rows, .k = k};
    list[size_t(e)].weight.parts.push_back(random_part(full, rows, k, coding_of(full, k)));
  };
  out.gate_up.assign(size_t(experts), {});
  out.down.assign(size_t(experts), {});
  for (int64_t e = 0; e < experts; ++e) {
    make(out.gate_up, "gate_up_proj", e, 2 * intermediate, hidden);
    make(out.down, "down_proj", e, hidden, intermediate);
  }
}

void RandomBinder::head(Linear& out, std::string_view name, const Weight& embeddings, int64_t rows, int64_t k,
                        bool tied) {
  if (tied)
    out.weight = embeddings;
  else
    table(out.weight, name, rows, k);
}

}  // namespace vl8
