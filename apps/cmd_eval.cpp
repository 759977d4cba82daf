// vl8 eval: a suite of questions, scored by task.
#include <fstream>

#include "core/env.h"
#include "core/file.h"
#include "core/interrupt.h"
#include "core/progress.h"
#include "eval_score.h"
#include "eval_suite.h"
#include "options.h"

namespace vl8 {
namespace {
namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// One file of items and the folder its pictures are relative to.
struct Suite {
  fs::path items, root;
};

// "nano" is the bundled suite; its files on real photos need the data folder and are left out, with a word, without it.
std::vector<Suite> find_suites(const EvalOptions& o) {
  if (o.suite != "nano") return {{o.suite, o.data.empty() ? fs::path(o.suite).parent_path() : fs::path(o.data)}};
  const fs::path folder = bundled_folder("nano-eval");
  std::vector<Suite> list{{folder / "items.jsonl", folder}};
  fs::path data = o.data;
  if (data.empty())
    if (auto shared = env("VL8_SHARED")) data = fs::path(*shared) / "data";
  for (const char* name : {"items-screws.jsonl", "items-deeppcb.jsonl"}) {
    if (data.empty()) fmt::print(stderr, "{} is left out: its photos are not bundled; name their folder with --data\n", name);
    else list.push_back({folder / name, data});
  }
  return list;
}

ChatRequest make_request(const EvalItem& item, const fs::path& root, const Sparsity& sparsity) {
  ChatRequest r;
  r.sparsity = sparsity;
  for (const std::string& f : item.images) r.images.push_back({read_image_file(root / f), f});
  if (!item.frames.empty()) {
    std::vector<Image> frames;
    for (const std::string& f : item.frames) frames.push_back(load_image(root / f));
    const int64_t n = int64_t(frames.size());
    r.videos.push_back(std::make_shared<MemoryFrames>(std::move(frames), item.fps));
    r.video_overrides.num_frames = n;
  }
  r.messages = Json::array({user_message(r.images.size(), r.videos.size(), item.question)});
  if (item.thinking) r.template_options.extra = {{"enable_thinking", true}};
  r.max_tokens = item.score == "box_f1" ? 512 : 192;
  return r;
}

using Tallies = std::map<std::pair<std::string, std::string>, EvalTally>;  // (task, score kind)

struct ActivationTally {
  double sum = 0;
  int64_t items = 0;  // with pictures
  double mean() const { return items ? sum / double(items) : 0; }
};

void run_suite(Engine& engine, const Suite& suite, const EvalOptions& o, Tallies& tallies, ActivationTally& activation, std::ostream* answers) {
  std::vector<EvalItem> items = load_eval_items(suite.items.string());
  std::erase_if(items, [&](const EvalItem& i) { return !o.task.empty() && i.task != o.task; });
  if (o.limit > 0 && items.size() > size_t(o.limit)) items.resize(size_t(o.limit));
  const Sparsity sparsity = parse_sparsity(o.sparsity);
  Progress progress(suite.items.filename().string(), int64_t(items.size()), "items", !o.json || answers);
  for (const EvalItem& item : items) {
    throw_if_interrupted();
    Answer a = engine.chat(make_request(item, suite.root, sparsity), [](const AnswerDelta&) { return !interrupted(); });
    throw_if_interrupted();
    if (a.visual_tokens > 0) activation.sum += a.activation, ++activation.items;
    tallies[{item.task, item.score}].add(score_kind(item.score).judge(item, a.text));
    if (answers) *answers << Json{{"id", item.id}, {"got", a.text}, {"want", item.answer}}.dump() << '\n';
    progress.advance(1);
  }
}

Json report(const Tallies& tallies) {
  Json tasks = Json::array();
  for (const auto& [key, t] : tallies) {
    const ScoreKind& kind = score_kind(key.second);
    Json row{{"task", key.first}, {"score", key.second}, {"figure", kind.figure}, {"value", std::round(kind.value(t) * 1e4) / 1e4}, {"items", t.items}};
    if (std::string_view(kind.figure) == "f1") row.update({{"right", t.right}, {"wrong", t.wrong}, {"missed", t.missed}});
    tasks.push_back(row);
  }
  return tasks;
}

}  // namespace

Json evaluate(const EvalOptions& o, double* mean_activation) {
  std::vector<Suite> suites = find_suites(o);
  auto engine = Engine::load(o.model.folder(), o.model.engine());
  std::ofstream answers;
  if (!o.answers.empty()) {
    answers.open(o.answers);
    if (!answers) fail(ErrorKind::resource, "cannot write {}", o.answers);
  }
  Tallies tallies;
  ActivationTally activation;
  for (const Suite& s : suites) run_suite(*engine, s, o, tallies, activation, o.answers.empty() ? nullptr : &answers);
  if (mean_activation) *mean_activation = activation.mean();
  return report(tallies);
}

namespace {

int eval(const EvalOptions& o) {
  double activation = 0;
  const Json tasks = evaluate(o, &activation);
  if (o.json) {
    fmt::print("{}\n", Json{{"model", o.model.folder().string()}, {"suite", o.suite}, {"precision", o.model.precision}, {"sparsity", o.sparsity}, {"activation", activation}, {"tasks", tasks}}.dump());
    return 0;
  }
  if (o.sparsity != "off") fmt::print("activation {:.1f} % of the visual work ({})\n", activation * 100, o.sparsity);
  fmt::print("{:<14} {:<8} {:<9} {:>7} {:>6}\n", "task", "score", "figure", "value", "items");
  for (const Json& t : tasks)
    fmt::print("{:<14} {:<8} {:<9} {:>7.4f} {:>6}\n", t["task"].get<std::string>(), t["score"].get<std::string>(), t["figure"].get<std::string>(),
               t["value"].get<double>(), t["items"].get<int64_t>());
  return 0;
}

}  // namespace

CommandBody setup_eval(CLI::App& app) {
  auto o = std::make_shared<EvalOptions>();
  o->model.add_to(app);
  app.add_option("--suite", o->suite, "nano (bundled), or a file of items (JSON lines)")->capture_default_str();
  app.add_option("--data", o->data, "folder that picture paths of the items are relative to; for nano: where screws/ and deeppcb/ lie");
  app.add_option("--task", o->task, "only items of this task");
  app.add_option("--sparsity", o->sparsity, "visual work: off, auto, or a share as in 0.3; with a policy as in 0.3:question")->capture_default_str();
  app.add_option("--limit", o->limit, "at most this many items of each file")->check(CLI::PositiveNumber);
  app.add_option("--answers", o->answers, "write every answer to this file, JSON lines");
  app.add_flag("--json", o->json, "one JSON object");
  app.footer("Answers are greedy. Examples:\n  vl8 eval --suite nano\n  vl8 eval -m my-model --suite items.jsonl --data photos --json");
  return [o] { return eval(*o); };
}

}  // namespace vl8
