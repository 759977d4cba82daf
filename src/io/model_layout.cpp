#include "io/model_layout.h"

#include "model/weights.h"

namespace vl8 {
namespace {

// Walks the one list of weights; what it would bind is thrown away.
class LayoutVisitor {
 public:
  explicit LayoutVisitor(std::vector<LayoutTensor>& out) : out_(out) {}

  void vector(Tensor&, std::string_view name, int64_t n) {
    out_.push_back({std::string(name), {n}, name.ends_with(".bias") ? TensorRole::bias : TensorRole::norm});
  }
  void table(Weight&, std::string_view name, int64_t rows, int64_t cols) {
    out_.push_back({weight_name(name), {rows, cols}, TensorRole::table});
  }
  void table_f32(Tensor&, std::string_view name, int64_t rows, int64_t cols) {
    out_.push_back({weight_name(name), {rows, cols}, TensorRole::table});
  }
  void linear(Linear&, std::initializer_list<LinearPart> parts, int64_t k, bool bias) {
    for (const LinearPart& p : parts) {
      out_.push_back({p.name + ".weight", {p.rows, k}, role(p.name)});
      if (bias) out_.push_back({p.name + ".bias", {p.rows}, TensorRole::bias});
    }
  }
  void experts(Moe&, std::string_view prefix, int64_t experts, int64_t hidden, int64_t intermediate) {
    const std::string base = std::string(prefix) + ".experts.";
    out_.push_back({base + "gate_up_proj", {experts, hidden, 2 * intermediate}, TensorRole::quantised});
    out_.push_back({base + "down_proj", {experts, intermediate, hidden}, TensorRole::quantised});
  }
  void head(Linear&, std::string_view name, const Weight&, int64_t rows, int64_t k, bool tied) {
    if (!tied) out_.push_back({weight_name(name), {rows, k}, TensorRole::table});
  }

 private:
  static std::string weight_name(std::string_view name) {
    return name.ends_with(".weight") ? std::string(name) : std::string(name) + ".weight";
  }
  static TensorRole role(const std::string& module) {
    return is_language_linear(module) ? TensorRole::quantised : TensorRole::linear;
  }
  std::vector<LayoutTensor>& out_;
};

}  // namespace

bool is_language_linear(std::string_view module) {
  return module.starts_with("language_model.layers.") && !module.ends_with(".mlp.gate");
}

std::vector<LayoutTensor> model_layout(const ModelConfig& config) {
  std::vector<LayoutTensor> tensors;
  ModelWeights unused;
  unused.each(config, LayoutVisitor(tensors));
  const VisionConfig& v = config.vision;
  for (LayoutTensor& t : tensors)  // stored as the convolution it was trained as
    if (t.name == "visual.patch_embed.proj.weight")
      t.shape = {v.hidden_size, v.channels, v.temporal_patch_size, v.patch_size, v.patch_size};
  return tensors;
}

}  // namespace vl8
