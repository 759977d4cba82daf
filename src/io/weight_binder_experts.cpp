// Experts of a MoE layer: fused in either orientation, or one tensor each (spec 2.3, 2.4).
#include <algorithm>

#include "core/error.h"
#include "core/progress.h"
#include "io/transpose.h"
#include "io/weight_binder.h"

namespace vl8 {

// A tensor of all experts, [E, rows, k] or, as published, [E, k, rows], and its scale.
struct WeightBinder::Fused {
  const StoredTensor* weight = nullptr;
  const StoredTensor* scale = nullptr;
  std::string name;
  int64_t experts = 0, rows = 0, k = 0;
  bool as_rows() const { return weight->shape == Shape{experts, rows, k}; }
  bool as_published() const { return weight->shape == Shape{experts, k, rows}; }
};

std::optional<WeightBinder::Fused> WeightBinder::find_fused(const std::string& name, int64_t experts,
                                                            int64_t rows, int64_t k) {
  const std::string with_suffix = name + ".weight";
  const bool suffixed = store_->checkpoint().find(with_suffix) != nullptr;
  Fused f{.name = name, .experts = experts, .rows = rows, .k = k};
  f.weight = take(suffixed ? with_suffix : name, {experts, k, rows});
  if (!f.weight) return std::nullopt;
  if (!f.as_rows() && !f.as_published()) {
    faults_.push_back(fmt::format("{} is {} (expected [{}, {}, {}] or [{}, {}, {}])", f.weight->name,
                                  f.weight->shape.str(), experts, k, rows, experts, rows, k));
    return std::nullopt;
  }
  const DType type = f.weight->dtype;
  const bool fp8 = type == DType::e4m3 || type == DType::e5m2;
  if (!fp8 && type != DType::bf16 && type != DType::f16 && type != DType::f32) {
    faults_.push_back(fmt::format("{} is {} (expected F32, F16, BF16, F8_E4M3 or F8_E5M2)", f.weight->name,
                                  dtype_name(type)));
    return std::nullopt;
  }
  note_quantisation(name, fp8);
  if (!fp8) return f;
  f.scale = take_one_of(name, {"_scale_inv", "_scale", ".weight_scale_inv", ".weight_scale"});
  if (!f.scale)
    faults_.push_back(
        fmt::format("{}_scale_inv is missing: {} is {}", name, f.weight->name, dtype_name(type)));
  return f.scale ? std::optional(f) : std::nullopt;
}

void WeightBinder::experts(Moe& out, std::string_view prefix, int64_t experts, int64_t hidden,
                           int64_t expert_intermediate) {
  const std::string base = std::string(prefix) + ".experts.";
  const Checkpoint& files = store_->checkpoint();
  const bool apart = files.find(base + "0.gate_proj.weight") || files.find(base + "0.gate_proj.weight_packed");
  if (apart && !files.find(base + "gate_up_proj"))
    return bind_expert_parts(out, base, experts, hidden, expert_intermediate);
  auto gate_up = find_fused(base + "gate_up_proj", experts, 2 * expert_intermediate, hidden);
  auto down = find_fused(base + "down_proj", experts, hidden, expert_intermediate);
  if (!gate_up || !down) return;
  out.gate_up.assign(size_t(experts), {});
  out.down.assign(size_t(experts), {});
  // A square matrix fits both ways: then it lies like its partner. Both square (H = M = 2M) cannot be.
  auto turned = [](const Fused& f, const Fused& partner) {
    return f.as_rows() && f.as_published() ? partner.as_published() : f.as_published();
  };
  bind_fused(out.gate_up, *gate_up, turned(*gate_up, *down));
  bind_fused(out.down, *down, turned(*down, *gate_up));
}

void WeightBinder::bind_expert_parts(Moe& out, const std::string& base, int64_t experts, int64_t hidden,
                                     int64_t intermediate) {
  out.gate_up.assign(size_t(experts), {});
  out.down.assign(size_t(experts), {});
  for (int64_t e = 0; e < experts; ++e) {
    const std::string p = base + std::to_string(e) + ".";
    linear(out.gate_up[size_t(e)], {{p + "gate_proj", intermediate}, {p + "up_proj", intermediate}}, hidden,
           false);
    linear(out.down[size_t(e)], {{p + "down_proj", hidden}}, intermediate, false);
  }
}

void WeightBinder::bind_fused(std::vector<Linear>& out, const Fused& f, bool turned) {
  const size_t element = dtype_bytes(f.weight->dtype), expert_bytes = size_t(f.rows * f.k) * element;
  std::byte* owned = turned ? store_->allocate(f.weight->bytes) : nullptr;
  const std::byte* data = turned ? owned : map(*f.weight, true);
  for (int64_t e = 0; e < f.experts; ++e) {
    const size_t at = size_t(e) * expert_bytes;
    Weight& w = out[size_t(e)].weight;
    w = {.name = fmt::format("{}.{}", f.name, e), .n = f.rows, .k = f.k};
    w.parts.push_back({.data = data + at, .dtype = f.weight->dtype, .rows = f.rows});
    if (turned) turns_.push_back({*f.weight, f.weight->offset + at, owned + at, f.rows, f.k});
  }
  if (!f.scale) return;
  bind_fused_scale(out, f, turned);
  report_.quantised_modules += f.experts;
}

// Scales are turned like the weight: the blocks are cut from the stored matrix, so both transposes agree
// (spec 8.2).
void WeightBinder::bind_fused_scale(std::vector<Linear>& out, const Fused& f, bool turned) {
  const Shape& stored = f.scale->shape;
  Shape each;  // of one expert, oriented as [rows, k]
  for (int i = 1; i < stored.rank; ++i) each.dims[size_t(each.rank++)] = stored[i];
  if (turned && each.rank == 2) std::swap(each.dims[0], each.dims[1]);
  // The config's block size is that of the stored matrix.
  const int64_t block_rows = turned ? quant_.block_cols : quant_.block_rows;
  const int64_t block_cols = turned ? quant_.block_rows : quant_.block_cols;
  auto layout = stored.rank > 0 && stored[0] == f.experts
                    ? scale_layout(each, f.rows, f.k, block_rows, block_cols)
                    : std::nullopt;
  const DType type = f.scale->dtype;
  if (!layout || (type != DType::f32 && type != DType::f16 && type != DType::bf16 && type != DType::e8m0)) {
    const int64_t a = turned ? f.k : f.rows, b = turned ? f.rows : f.k;
    const int64_t br = quant_.block_rows ? quant_.block_rows : 128,
                  bc = quant_.block_rows ? quant_.block_cols : 128;
    faults_.push_back(fmt::format(
        "{} is {} {} (expected a float type, and [{}, {}, {}] for {}x{} blocks or [{}])", f.scale->name,
        dtype_name(type), stored.str(), f.experts, (a + br - 1) / br, (b + bc - 1) / bc, br, bc, f.experts));
    return;
  }
  float* values = floats(stored.elements());
  if (turned && each.rank == 2)
    convert(*f.scale, values, stored[1], stored[2]);
  else
    convert(*f.scale, values);
  const int64_t count = each.elements();
  for (int64_t e = 0; e < f.experts; ++e) {
    WeightPart& part = out[size_t(e)].weight.parts[0];
    part.scale_kind = layout->kind;
    part.scale = values + e * count;
    part.block_rows = layout->block_rows, part.block_cols = layout->block_cols;
  }
}

int64_t WeightBinder::turned_bytes() const {
  int64_t total = 0;
  for (const Turn& t : turns_) total += t.rows * t.k * int64_t(dtype_bytes(t.source.dtype));
  return total;
}

// One expert at a time on each thread: read, turn, let go, so that source and result are never both resident.
void WeightBinder::turn_experts(ThreadPool& pool, bool show_progress) {
  if (turns_.empty()) return;
  Progress progress("loading experts", turned_bytes(), "B", show_progress);
  pool.parallel_for(int64_t(turns_.size()), 1, [&](int, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Turn& t = turns_[size_t(i)];
      const size_t element = dtype_bytes(t.source.dtype), bytes = size_t(t.rows * t.k) * element;
      const MappedFile& file = store_->checkpoint().files()[t.source.file].file();
      file.populate(t.offset, bytes);
      transpose(file.data() + t.offset, t.k, t.rows, element, t.out);
      file.drop(t.offset, bytes);
      progress.advance(int64_t(bytes));
    }
  });
  turns_.clear();
}

}  // namespace vl8
