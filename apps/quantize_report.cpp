#include "quantize_report.h"

#include "eval_suite.h"

namespace vl8 {

std::vector<TaskScore> evaluate_both(const std::filesystem::path& source, const std::filesystem::path& quantised, int64_t limit, int threads) {
  auto run = [&](const std::filesystem::path& folder) {
    EvalOptions o;
    o.model.model = folder.string(), o.model.threads = threads;
    o.limit = limit, o.json = true;
    return evaluate(o);
  };
  const nlohmann::ordered_json before = run(source), after = run(quantised);
  std::vector<TaskScore> scores;
  for (size_t i = 0; i < before.size(); ++i)
    scores.push_back({before[i].at("task").get<std::string>() + " " + before[i].at("score").get<std::string>(), before[i].at("figure").get<std::string>(),
                      before[i].at("value").get<double>(), after.at(i).at("value").get<double>(), before[i].at("items").get<int64_t>()});
  return scores;
}

}  // namespace vl8
