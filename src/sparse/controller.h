// Moves the budget of a stream between a floor and a ceiling: up at once when something is new or the model is unsure,
// down slowly when it is quiet, or by a signal from outside (line speed, vehicle speed).
#pragma once
#include <optional>

namespace vl8 {

struct ControllerSettings {
  double floor = 0.30, ceiling = 0.90;
  double full_novelty = 0.10;   // share of changed groups that asks for the ceiling by itself
  double unsure_below = 0.60;   // mean probability of the last answer's tokens below which it asks for the ceiling
  double fall_per_frame = 0.10; // of the way back to the floor, each quiet frame
  void validate() const;        // Error(usage) names the setting
};

class BudgetController {
 public:
  explicit BudgetController(const ControllerSettings& settings = {});
  void set(const ControllerSettings& settings);  // takes effect with the next frame; the budget moves into the new bounds
  const ControllerSettings& settings() const { return settings_; }

  // novelty: share of groups that changed. Returns the share of visual work that the next look may do.
  double next(double novelty);
  void answered(double mean_probability);               // of the last answer
  void outside(std::optional<double> demand);           // 0..1 of the range; nothing: no signal
  double budget() const { return budget_; }

 private:
  ControllerSettings settings_;
  double budget_ = 0, unsure_ = 0;
  std::optional<double> outside_;
};

}  // namespace vl8
