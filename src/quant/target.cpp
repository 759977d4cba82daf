#include "quant/target.h"

#include <algorithm>

#include "core/error.h"
#include "core/file.h"
#include "quant/plan.h"

namespace vl8 {
namespace {

constexpr uint64_t GB = 1'000'000'000, GiB = uint64_t(1) << 30;
// Memory: data sheets. Taken: a Jetson or a PC runs its system from the same memory; a card keeps about a gigabyte for
// contexts and a display. Bandwidths: data sheets; for PCs two channels of DDR4-3200.
constexpr Target kTargets[] = {
    {"rtx4090", "NVIDIA RTX 4090, 24 GB", 24 * GiB, 1 * GiB + GiB / 4, 1008, true},
    {"rtx3080", "NVIDIA RTX 3080, 10 GB", 10 * GiB, 1 * GiB, 760, false},
    {"orin64", "Jetson AGX Orin, 64 GB", 64 * GiB, 4 * GiB, 204.8, false},
    {"orin32", "Jetson AGX Orin, 32 GB", 32 * GiB, 4 * GiB, 204.8, false},
    {"orin16", "Jetson Orin NX, 16 GB", 16 * GiB, 3 * GiB, 102.4, false},
    {"orin-nano8", "Jetson Orin Nano, 8 GB", 8 * GiB, 2 * GiB, 68, false},
    {"x86-8", "PC with 8 GB", 8 * GiB, 2 * GiB, 51.2, false},
    {"x86-16", "PC with 16 GB", 16 * GiB, 3 * GiB, 51.2, false},
    {"x86-32", "PC with 32 GB", 32 * GiB, 4 * GiB, 51.2, false},
};

// From the least loss to the smallest. BF16 means: no quantisation.
constexpr const char* kWithFp8[] = {"bf16", "fp8-block128", "fp8-layered", "int4-fp8"};
constexpr const char* kWithoutFp8[] = {"bf16", "int8", "int4-fp8"};

uint64_t plan_bytes(const QuantPlan& plan) {
  uint64_t bytes = 0;
  for (const TensorSpec& s : plan.specs) bytes += spec_bytes(s);
  return bytes;
}

// Read once for a token: everything but the vision tower, the rows of the table that are not looked up, and idle experts.
uint64_t step_bytes(const QuantPlan& plan, const ModelConfig& config) {
  uint64_t bytes = 0;
  for (const TensorSpec& s : plan.specs) {
    const std::string name = canonical_name(s.name);
    if (name.starts_with("visual.") || (!config.tied && name.find("embed_tokens") != std::string::npos)) continue;
    const bool expert = name.find(".mlp.experts.") != std::string::npos;
    bytes += expert ? spec_bytes(s) * uint64_t(config.text.experts_per_token) / uint64_t(std::max<int64_t>(1, config.text.experts)) : spec_bytes(s);
  }
  return bytes;
}

QuantPlan plan_of(const char* recipe, const ModelConfig& config, const Checkpoint& checkpoint) {
  if (std::string_view(recipe) != "bf16")
    return make_plan(config, checkpoint, find_recipe(recipe), {}, read_file(checkpoint.folder() / "config.json"),
                     [](const MatrixJob&) { return Coding::e4m3_channel; });
  QuantPlan plan;
  for (const StoredTensor& t : checkpoint.tensors()) plan.specs.push_back({t.stored, t.dtype, t.shape});
  return plan;
}

}  // namespace

std::span<const Target> targets() { return kTargets; }

const Target& find_target(std::string_view name) {
  std::string known;
  for (const Target& t : kTargets) {
    if (name == t.name) return t;
    known += fmt::format("\n  {}: {}", t.name, t.help);
  }
  fail_usage("unknown target '{}'; there are{}", name, known);
}

TargetPlan plan_for_target(const Target& target, const ModelConfig& config, const Checkpoint& checkpoint, int64_t wanted_context,
                           uint64_t activation_bytes) {
  TargetPlan p{.target = &target};
  p.wanted_context = std::min(wanted_context, config.text.context_limit());
  for (const char* recipe : target.fp8 ? std::span<const char* const>(kWithFp8) : std::span<const char* const>(kWithoutFp8)) {
    const QuantPlan plan = plan_of(recipe, config, checkpoint);
    TargetChoice c{.recipe = recipe, .weight_bytes = plan_bytes(plan), .kv_bytes_per_token = uint64_t(config.kv_bytes_per_token()),
                   .activation_bytes = activation_bytes};
    const uint64_t fixed = c.weight_bytes + c.activation_bytes + target.taken_bytes;
    if (fixed < target.memory_bytes)
      c.context = std::min<int64_t>(config.text.context_limit(), int64_t((target.memory_bytes - fixed) / c.kv_bytes_per_token));
    c.fits = c.context >= p.wanted_context;
    const double bytes = double(step_bytes(plan, config)) + double(p.wanted_context) * double(c.kv_bytes_per_token);
    c.tokens_per_s = target.gb_per_s * 1e9 / bytes;
    p.choices.push_back(c);
  }
  for (const TargetChoice& c : p.choices)
    if (!p.chosen && c.fits) p.chosen = &c;
  return p;
}

std::string target_text(const TargetPlan& p) {
  const Target& t = *p.target;
  std::string s = fmt::format("{}: {:.1f} GB, of which {:.1f} GB are left to the system; wanted: a context of {} tokens\n", t.help,
                              double(t.memory_bytes) / GB, double(t.taken_bytes) / GB, p.wanted_context);
  s += fmt::format("{:<14} {:>11} {:>12} {:>13} {:>14}  {}\n", "recipe", "weights GB", "KV kB/token", "activations GB", "context fits", "decode at most");
  for (const TargetChoice& c : p.choices)
    s += fmt::format("{:<14} {:>11.2f} {:>12.1f} {:>13.2f} {:>14}  {:.1f} tokens/s{}\n", c.recipe, double(c.weight_bytes) / GB,
                     double(c.kv_bytes_per_token) / 1e3, double(c.activation_bytes) / GB, c.context, c.tokens_per_s, &c == p.chosen ? "  <- chosen" : "");
  if (!p.chosen) return s + "nothing fits: take a smaller model or a shorter context (--context)\n";
  s += fmt::format("{} is the first from the top, which is the order of least loss, that leaves room for the context", p.chosen->recipe);
  if (!t.fp8) s += "; this machine has no FP8 matrix units, so INT8 stands where FP8 would";
  return s + ".\n";
}

}  // namespace vl8
