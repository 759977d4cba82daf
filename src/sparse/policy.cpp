#include "sparse/policy.h"

#include <array>
#include <cstdlib>
#include <vector>

#include "core/error.h"

namespace vl8 {
namespace {

constexpr std::array kPolicies = {
    GatePolicy{"detail", 1.0f, 1.0f, 0, 0, 0.10f, "what changed and what has structure; the rest skips the tower too (fast)"},
    GatePolicy{"change", 1.0f, 0.1f, 0, 0, 0.05f, "what differs from the frame before; for fixed cameras"},
    GatePolicy{"saliency", 0.5f, 0.3f, 1.0f, 0, 0.10f, "features unlike the rest of the picture; the tower sees everything"},
    GatePolicy{"question", 0.5f, 0.3f, 0.5f, 1.0f, 0.10f, "features like the question's words, and salient ones; the tower sees everything"},
    GatePolicy{"uniform", 0, 0, 0, 0, 1.0f, "an even grid: the baseline that a policy must beat"},
};

double parse_number(const std::string& text, const std::string& whole) {
  char* end = nullptr;
  const double v = std::strtod(text.c_str(), &end);
  if (text.empty() || *end || !(v > 0 && v <= 1))
    fail_usage("sparsity '{}': '{}' is no share above 0 and at most 1. Write off, auto or a share as in 0.3, with a policy as in auto:saliency", whole, text);
  return v;
}

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> parts{""};
  for (char c : text)
    if (c == at) parts.emplace_back();
    else parts.back() += c;
  return parts;
}

}  // namespace

std::span<const GatePolicy> gate_policies() { return kPolicies; }

const GatePolicy& find_gate_policy(std::string_view name) {
  std::string names;
  for (const GatePolicy& p : kPolicies) {
    if (name == p.name) return p;
    names += (names.empty() ? "" : ", ") + std::string(p.name);
  }
  fail_usage("unknown sparsity policy '{}'; there are {}", name, names);
}

Sparsity parse_sparsity(const std::string& text) {
  const std::vector<std::string> parts = split(text, ':');
  Sparsity s;
  if (parts[0] == "auto") s.mode = GateMode::automatic;
  else if (parts[0] != "off") s.mode = GateMode::fixed, s.share = parse_number(parts[0], text);
  if (parts.size() > 1) s.policy = &find_gate_policy(parts[1]);
  if (parts.size() > 3 || (parts.size() == 3 && s.mode != GateMode::automatic)) fail_usage("sparsity '{}': bounds belong to auto alone, as in auto:detail:0.2-0.8", text);
  if (parts.size() == 3) {
    const std::vector<std::string> bounds = split(parts[2], '-');
    if (bounds.size() != 2) fail_usage("sparsity '{}': bounds are two shares, as in 0.2-0.8", text);
    s.floor = parse_number(bounds[0], text), s.ceiling = parse_number(bounds[1], text);
    if (s.floor > s.ceiling) fail_usage("sparsity '{}': the floor {} is above the ceiling {}", text, s.floor, s.ceiling);
  }
  return s;
}

}  // namespace vl8
