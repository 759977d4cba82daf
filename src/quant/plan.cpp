#include "quant/plan.h"

#include <algorithm>

#include "core/error.h"
#include "io/checkpoint_writer.h"
#include "io/model_layout.h"

namespace vl8 {
namespace {

std::string module_of_tensor(const std::string& name) {  // "X.weight" and fused experts "X"
  return name.ends_with(".weight") ? name.substr(0, name.size() - 7) : name;
}

// A matrix of the model, with or without `.weight`: norms and biases are not.
bool is_matrix_name(const std::string& name) {
  return name.ends_with(".weight") || name.ends_with(".experts.gate_up_proj") || name.ends_with(".experts.down_proj");
}

class Planner {
 public:
  Planner(const ModelConfig& config, const Checkpoint& checkpoint, const Recipe& recipe, const PlanOptions& options,
          const std::function<Coding(const MatrixJob&)>& choose)
      : config_(config), checkpoint_(checkpoint), recipe_(recipe), options_(options), choose_(choose) {}

  QuantPlan plan() {
    for (const StoredTensor& t : checkpoint_.tensors()) {
      plan_.source_bytes += t.bytes;
      if (is_matrix_name(t.name)) {
        const std::string module = module_of_tensor(t.name);
        if (format_for(module, module_name(module)).coding != Coding::keep && add_matrices(t, module)) continue;
      }
      plan_.copies.push_back({&t, plan_.specs.size()});
      plan_.specs.push_back({t.stored, t.dtype, t.shape});
    }
    if (plan_.matrices.empty())
      fail_input("{} has none of the linears that its config.json describes", checkpoint_.folder().string());
    return std::move(plan_);
  }

 private:
  Format format_for(const std::string& module, ModuleName name) const {
    if (auto it = options_.overrides.find(module); it != options_.overrides.end()) return it->second;
    Format f = recipe_.formats[size_t(name.kind)];
    if (is_four_bits(f) && options_.group) f.group = options_.group;
    if (name.kind != ModuleKind::embed && name.kind != ModuleKind::head) return f;
    if (options_.head_bits == 16) return {};
    if (options_.head_bits == 8 && f.coding == Coding::keep)
      return {recipe_.formats[size_t(ModuleKind::mlp_in)].coding == Coding::i8_channel ? Coding::i8_channel : Coding::e4m3_channel};
    return f;
  }

  // False where the tensor is kept after all.
  bool add_matrices(const StoredTensor& t, const std::string& module) {
    const bool experts = t.shape.rank == 3;
    if (t.shape.rank != 2 && !experts)
      fail_input("{}: {} is {}, expected a matrix", checkpoint_.folder().string(), t.stored, t.shape.str());
    if (t.dtype != DType::bf16 && t.dtype != DType::f16 && t.dtype != DType::f32)
      fail_input("{}: {} is {}; only BF16, F16 and F32 can be quantised", checkpoint_.folder().string(), t.stored,
                 dtype_name(t.dtype));
    if (config_.tied && module == "lm_head") return false;  // not used; the table's format is the head's
    if (!experts) {
      MatrixJob job{.source = &t, .row_step = t.shape[1], .rows = t.shape[0], .k = t.shape[1], .module = module, .name = module_name(module)};
      add(job, t.stored.substr(0, t.stored.size() - 7), format_for(module, job.name));
      return true;
    }
    if (recipe_.official) add_fused(t, module); else add_experts(t, module);
    return true;
  }

  // The official layout keeps experts fused and as they lie: square blocks are the same cut in both orientations.
  void add_fused(const StoredTensor& t, const std::string& module) {
    const size_t weight = plan_.specs.size(), scale = weight + 1;
    const int64_t rows = t.shape[1], k = t.shape[2], br = (rows + 127) / 128, bc = (k + 127) / 128;
    plan_.specs.push_back({t.stored, DType::e4m3, t.shape});
    plan_.specs.push_back({t.stored + "_scale_inv", DType::f32, {t.shape[0], br, bc}});
    for (int64_t e = 0; e < t.shape[0]; ++e)
      plan_.matrices.push_back({.source = &t, .first = e * rows * k, .row_step = k, .rows = rows, .k = k,
                                .module = fmt::format("{}.{}", module, e), .name = module_name(module), .format = {Coding::e4m3_block},
                                .weight = weight, .scale = scale, .weight_at = uint64_t(e * rows * k), .scale_at = uint64_t(e * br * bc) * 4});
  }

  // Other formats name each expert's linears, rows are outputs.
  void add_experts(const StoredTensor& t, const std::string& module) {
    const TextConfig& c = config_.text;
    const bool gate_up = module.ends_with("gate_up_proj");
    const int64_t inner = c.expert_intermediate, rows = gate_up ? 2 * inner : c.hidden_size, k = gate_up ? c.hidden_size : inner;
    const bool turned = lies_turned(t, module, rows, k);
    const std::string base = module.substr(0, module.rfind('.') + 1), stored = t.stored.substr(0, t.stored.find(".experts.") + 9);
    for (int64_t e = 0; e < t.shape[0]; ++e)
      for (int64_t part = 0; part < (gate_up ? 2 : 1); ++part) {
        const std::string leaf = fmt::format("{}.{}", e, gate_up ? (part ? "up_proj" : "gate_proj") : "down_proj");
        const int64_t part_rows = gate_up ? inner : rows, row0 = part * part_rows;
        MatrixJob job{.source = &t, .first = e * rows * k + (turned ? row0 : row0 * k), .row_step = turned ? 1 : k,
                      .column_step = turned ? rows : 1, .rows = part_rows, .k = k, .module = base + leaf, .name = module_name(base + leaf)};
        add(job, stored + leaf, format_for(job.module, job.name));
      }
  }

  // As published [E, k, rows]; a square matrix lies like its partner (weight_binder_experts.cpp).
  bool lies_turned(const StoredTensor& t, const std::string& module, int64_t rows, int64_t k) const {
    if (rows != k) return t.shape[1] == k;
    const bool gate_up = module.ends_with("gate_up_proj");
    const std::string base = module.substr(0, module.rfind('.') + 1);
    const StoredTensor* partner = checkpoint_.find(base + (gate_up ? "down_proj" : "gate_up_proj"));
    const int64_t partner_k = gate_up ? config_.text.expert_intermediate : config_.text.hidden_size;
    return partner && partner->shape.rank == 3 && partner->shape[1] == partner_k;
  }

  // A format that does not fit the matrix, or that measurement has to choose.
  Format settle(const MatrixJob& job, Format f) {
    if (is_four_bits(f) && job.k % f.group != 0) {
      plan_.notes.push_back(fmt::format("{}: {} columns do not divide into groups of {}; written as {}", job.module, job.k, f.group,
                                        coding_row(Coding::e4m3_channel).name));
      return {Coding::e4m3_channel};
    }
    const bool open = job.name.kind == ModuleKind::attn_in || job.name.kind == ModuleKind::mlp_in || job.name.kind == ModuleKind::mlp_out;
    const bool pictures_enter = job.name.layer < int64_t(config_.vision.deepstack.size());
    if (recipe_.choose_fp8 && open && !pictures_enter) f.coding = choose_(job);
    return f;
  }

  void add(MatrixJob job, const std::string& stored, Format format) {
    job.format = settle(job, format);
    auto spec = [&](const std::string& suffix, DType dtype, Shape shape) {
      plan_.specs.push_back({stored + suffix, dtype, shape});
      return plan_.specs.size() - 1;
    };
    const CodingRow& row = coding_row(job.format.coding);
    if (row.dtype == DType::i4) {
      job.weight = spec(".weight_packed", DType::i32, {job.rows, job.k / 8});
      job.shape = spec(".weight_shape", DType::i64, {2});
    } else if (row.dtype == DType::e2m1) {
      job.weight = spec(".weight_packed", DType::u8, {job.rows, job.k / 2});
    } else {
      job.weight = spec(".weight", row.dtype, {job.rows, job.k});
    }
    switch (row.scaling) {
      case ScaleKind::block: job.scale = spec(".weight_scale_inv", DType::f32, {(job.rows + 127) / 128, (job.k + 127) / 128}); break;
      case ScaleKind::tensor: job.scale = spec(".weight_scale", DType::f32, {1}); break;
      case ScaleKind::channel: job.scale = spec(".weight_scale", DType::f32, {job.rows, 1}); break;
      case ScaleKind::group: job.scale = spec(".weight_scale", DType::bf16, {job.rows, job.k / job.format.group}); break;
      case ScaleKind::none: break;
    }
    if (recipe_.static_inputs && job.format.coding == Coding::e4m3_tensor) job.input_scale = spec(".input_scale", DType::f32, {1});
    plan_.matrices.push_back(std::move(job));
  }

  const ModelConfig& config_;
  const Checkpoint& checkpoint_;
  const Recipe& recipe_;
  const PlanOptions& options_;
  const std::function<Coding(const MatrixJob&)>& choose_;
  QuantPlan plan_;
};

}  // namespace

QuantPlan make_plan(const ModelConfig& config, const Checkpoint& checkpoint, const Recipe& recipe, const PlanOptions& options,
                    std::string_view config_text, const std::function<Coding(const MatrixJob&)>& choose) {
  QuantPlan plan = Planner(config, checkpoint, recipe, options, choose).plan();
  plan.config_json = recipe.official ? with_fp8_config(config_text, config) : with_compressed_tensors_config(config_text, plan, recipe);
  return plan;
}

}  // namespace vl8
