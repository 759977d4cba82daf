#include "sparse/controller.h"

#include <algorithm>

#include "core/error.h"

namespace vl8 {

void ControllerSettings::validate() const {
  if (!(floor > 0 && floor <= ceiling && ceiling <= 1)) fail_usage("budget from {} to {}: 0 < floor <= ceiling <= 1", floor, ceiling);
  if (!(full_novelty > 0 && full_novelty <= 1)) fail_usage("full_novelty {}: above 0 and at most 1", full_novelty);
  if (!(unsure_below >= 0 && unsure_below <= 1)) fail_usage("unsure_below {}: from 0 to 1", unsure_below);
  if (!(fall_per_frame > 0 && fall_per_frame <= 1)) fail_usage("fall_per_frame {}: above 0 and at most 1", fall_per_frame);
}

BudgetController::BudgetController(const ControllerSettings& settings) {
  settings.validate();
  settings_ = settings, budget_ = settings.ceiling;  // nothing is known yet: the first look is a full one
}

void BudgetController::set(const ControllerSettings& settings) {
  settings.validate();
  settings_ = settings;
  budget_ = std::clamp(budget_, settings.floor, settings.ceiling);
}

double BudgetController::next(double novelty) {
  const double range = settings_.ceiling - settings_.floor;
  const double demand = std::max({std::min(1.0, novelty / settings_.full_novelty), unsure_, outside_.value_or(0)});
  const double wanted = settings_.floor + range * demand;
  budget_ = wanted >= budget_ ? wanted : std::max(wanted, budget_ - range * settings_.fall_per_frame);
  unsure_ = 0;
  return budget_;
}

void BudgetController::answered(double mean_probability) {
  // Half of unsure_below asks for everything, unsure_below for nothing.
  const double limit = settings_.unsure_below;
  unsure_ = limit > 0 ? std::clamp((limit - mean_probability) / (limit / 2), 0.0, 1.0) : 0;
}

void BudgetController::outside(std::optional<double> demand) {
  if (demand && !(*demand >= 0 && *demand <= 1)) fail_usage("an outside demand of {}: from 0 to 1", *demand);
  outside_ = demand;
}

}  // namespace vl8
