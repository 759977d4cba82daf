// How much visual work is done and what is preferred: the switch of a request (`--sparsity`), and the table of policies.
// This room makes indices from plain numbers; who computes with them is the model (vision tower, language model).
#pragma once
#include <span>
#include <string>
#include <string_view>

namespace vl8 {

enum class GateMode : uint8_t { off, automatic, fixed };

// A row says what a group of patches (2x2, one visual token) is preferred for. Weights are of scores in 0..1.
struct GatePolicy {
  const char* name;
  float change;      // difference to the reference frame, or to the frame before in a clip
  float detail;      // contrast and fine structure of its pixels
  float saliency;    // distance of its feature from the picture's mean feature: needs the tower over all groups
  float agreement;   // likeness of its feature to the question's embeddings: likewise
  float background;  // this share of the budget is spread evenly over the rest, so that the layout stays known
  const char* help;
  bool before_tower() const { return saliency == 0 && agreement == 0; }  // dropped groups never reach the tower
};
std::span<const GatePolicy> gate_policies();
const GatePolicy& find_gate_policy(std::string_view name);  // Error(usage) lists the rows

struct Sparsity {
  GateMode mode = GateMode::off;
  double share = 1;                  // of groups that are kept, where fixed: (0, 1]
  double floor = 0.30, ceiling = 0.90;  // of the share, where automatic: 0 < floor <= ceiling <= 1
  const GatePolicy* policy = nullptr;  // null: the first row
  const GatePolicy& rules() const { return policy ? *policy : gate_policies().front(); }
};

// "off", "auto", a share as in "0.3", each with an optional policy behind a colon ("auto:saliency"), and for auto optional
// bounds ("auto:detail:0.2-0.8"). Error(usage) shows the form.
Sparsity parse_sparsity(const std::string& text);

}  // namespace vl8
