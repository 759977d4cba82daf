// What quantisation lost, measured: the distance of the two models' next-token distributions on chats, and the report of
// all figures as Markdown, JSON and SVG plots.
#pragma once
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/loaded_model.h"
#include "quant/quantizer.h"

namespace vl8 {

struct LogitLoss {
  int64_t tokens = 0;         // positions measured
  double kl = 0;              // mean of KL(source || quantised), nats
  double kl_p99 = 0;          // 99th percentile
  double top1_changed = 0;    // share of positions whose most likely token is another
  double cosine = 0;          // mean, of the logits
};

// Every position of every chat, teacher-forced: the source's logits are kept (4 bytes a vocabulary entry and position; at
// most `max_positions`, spread evenly), then the quantised model runs.
LogitLoss measure_loss(const std::filesystem::path& source, const std::filesystem::path& quantised, std::vector<Prompt> prompts,
                       const EngineOptions& engine, int64_t max_positions = 512);

// The source's side of it, for several candidates.
struct ReferenceLogits {
  std::vector<Prompt> prompts;
  std::vector<std::vector<int32_t>> rows;  // of each prompt
  std::vector<float> values;               // [sum of rows, vocab]
};
ReferenceLogits reference_logits(const std::filesystem::path& source, std::vector<Prompt> prompts, const EngineOptions& engine,
                                 int64_t max_positions = 512);
LogitLoss measure_loss(const ReferenceLogits& reference, LoadedModel& quantised);

struct TaskScore {
  std::string task, figure;
  double before = 0, after = 0;
  int64_t items = 0;
};

struct LossReport {
  std::string recipe;
  bool calibrated = false;
  const QuantizeReport* quantised = nullptr;
  std::vector<std::pair<std::string, LogitLoss>> sets;  // "calibration", "held out"
  std::vector<TaskScore> evaluation;
  double peak_rss_mb = 0;
};

nlohmann::ordered_json report_json(const QuantizeReport& report);
// Creates the folder where it is missing: report.md, report.json, sqnr.svg, bytes.svg.
void write_report(const std::filesystem::path& folder, const LossReport& report);

}  // namespace vl8
