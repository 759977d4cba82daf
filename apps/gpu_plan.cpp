#include "gpu_plan.h"

#include <algorithm>

namespace vl8 {
namespace {

constexpr uint64_t kWorkspaceBytes = uint64_t(64) << 20;  // of matrix products, step arrays and small parameters
constexpr uint64_t kDriverBytes = uint64_t(500) << 20;    // context and code of the driver, seen on a Hopper card

// Two layers' worth of results of the wider tower (ops.h: a result lives until the end of the layer after it).
uint64_t activation_bytes(const ModelConfig& c, int64_t chunk) {
  const TextConfig& t = c.text;
  const int64_t inner = t.experts > 0 ? t.experts_per_token * (2 * t.hidden_size + t.expert_intermediate) : t.intermediate_size;
  const int64_t text = chunk * (6 * t.hidden_size + 3 * t.q_width() + 2 * t.kv_width() + inner);
  constexpr int64_t kPatches = 4096;  // a picture of 1024 x 1024
  const VisionConfig& v = c.vision;
  const int64_t vision = kPatches * (11 * v.hidden_size + v.intermediate_size);
  return uint64_t(2 * 2 * std::max(text, vision));
}

std::string gb(uint64_t bytes) { return fmt::format("{:.2f} GB", double(bytes) * 1e-9); }

}  // namespace

GpuPlan plan_gpu(const InspectReport& r, const CudaDeviceInfo* card, double utilization, int64_t chunk) {
  GpuPlan p;
  p.weights = r.needed_bytes;
  p.kv_bytes_per_token = uint64_t(r.config.kv_bytes_per_token(DType::bf16));
  p.kv = p.kv_bytes_per_token * uint64_t(r.context);
  p.activations = activation_bytes(r.config, std::min(chunk, r.context));
  p.workspace = kWorkspaceBytes + kDriverBytes;
  if (!card) return p;
  p.card = card->name;
  const uint64_t others = card->total_bytes - card->free_bytes, share = uint64_t(double(card->total_bytes) * utilization);
  p.budget = share > others ? share - others : 0;
  const uint64_t fixed = p.weights + p.activations + p.workspace;
  if (p.budget > fixed) p.most_context = std::min<int64_t>(int64_t((p.budget - fixed) / p.kv_bytes_per_token), r.config.text.context_limit());
  return p;
}

std::string gpu_plan_text(const GpuPlan& p, int64_t context) {
  std::string s = fmt::format("GPU memory for {} tokens: {}\n", context, gb(p.total()));
  s += fmt::format("  weights {}, keys and values {} ({} bytes a token), activations {}, workspace and driver {}\n", gb(p.weights), gb(p.kv),
                   p.kv_bytes_per_token, gb(p.activations), gb(p.workspace));
  if (p.card.empty()) return s;
  if (p.most_context == 0)
    return s + fmt::format("  {} gives {}: the weights do not fit; use --backend cpu or a smaller model\n", p.card, gb(p.budget));
  return s + fmt::format("  {} gives {}: {}, at most {} tokens\n", p.card, gb(p.budget), p.total() <= p.budget ? "fits" : "does not fit", p.most_context);
}

nlohmann::ordered_json gpu_plan_json(const GpuPlan& p) {
  return {{"card", p.card},
          {"weights_bytes", p.weights},
          {"kv_bytes", p.kv},
          {"kv_bytes_per_token", p.kv_bytes_per_token},
          {"activation_bytes", p.activations},
          {"workspace_bytes", p.workspace},
          {"total_bytes", p.total()},
          {"budget_bytes", p.budget},
          {"most_context_tokens", p.most_context}};
}

}  // namespace vl8
