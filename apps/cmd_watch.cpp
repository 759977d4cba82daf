// vl8 watch: cameras, files and folders under the eyes of one model.
#include <signal.h>

#include <thread>

#include "core/interrupt.h"
#include "core/log.h"
#include "options.h"
#include "watch/watcher.h"

namespace vl8 {
namespace {
using namespace watch;
namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

struct WatchOptions {
  std::string config, export_jsonl, export_coco;
  double seconds = 0;
  int threads = 0;
  bool check = false, json = false;
};

Json counters_json(const SourceState& s) {
  const SourceCounters& n = s.counters;
  Json bad = Json::object();
  for (size_t i = 1; i < n.bad.size(); ++i)
    if (n.bad[i]) bad[std::string(fault_name(FrameFault(i)))] = n.bad[i];
  const double looks = double(std::max<int64_t>(1, n.looks));
  return {{"source", s.name}, {"frames", n.frames}, {"looks", n.looks}, {"reused", n.reused}, {"dropped", n.dropped}, {"failed", n.failed}, {"bad", bad},
          {"events", n.events}, {"rate", n.rate}, {"rate_lowered", n.rate_lowered}, {"budget_lowered", n.budget_lowered}, {"activation", n.activation()},
          {"latency_ms", n.latency_ms_sum / looks}, {"worst_latency_ms", n.worst_latency_ms},
          {"ms", {{"judge", n.judge_ms}, {"pixels", n.pixels_ms}, {"model", n.ask_ms}, {"store", n.store_ms}}}};
}

void report(const Watcher& watcher, Store& store) {
  for (const SourceState& s : watcher.states()) {
    const SourceCounters& n = s.counters;
    fmt::print(stderr, "{:<16} {} frames: {} looked at, {} reused, {} bad, {} dropped, {} failed; {} events; activation {:.0f} %; latency {:.0f} ms{}\n", s.name,
               n.frames, n.looks, n.reused, n.bad_frames(), n.dropped, n.failed, n.events, n.activation() * 100,
               n.latency_ms_sum / double(std::max<int64_t>(1, n.looks)), s.fault.empty() ? "" : " [" + s.fault + "]");
  }
  const Store::Counts c = store.counts();
  if (c.pending || c.given_up) fmt::print(stderr, "{:<16} {} waiting to be delivered, {} given up\n", "actions", c.pending, c.given_up);
}

// The file is read again when it changes; a broken one changes nothing.
class Reload {
 public:
  explicit Reload(fs::path path) : path_(std::move(path)) { changed(); }
  void check(Watcher& watcher) {
    if (!changed()) return;
    try {
      watcher.apply(WatchConfig::load(path_));
      fmt::print(stderr, "{}: read again\n", path_.string());
    } catch (const Error& e) {
      fmt::print(stderr, "{} (the settings stay as they were)\n", e.what());
    }
  }

 private:
  bool changed() {
    std::error_code ec;
    const auto now = fs::last_write_time(path_, ec);
    const bool differs = !ec && now != seen_;
    if (!ec) seen_ = now;
    return differs;
  }
  fs::path path_;
  fs::file_time_type seen_{};
};

int export_events(const WatchOptions& o, const WatchConfig& config) {
  Store store(config.store);
  if (!o.export_jsonl.empty()) fmt::print("{} events written to {}\n", watch::export_jsonl(store, o.export_jsonl), o.export_jsonl);
  if (!o.export_coco.empty()) fmt::print("{} annotations written to {}\n", watch::export_coco(store, o.export_coco), o.export_coco);
  return 0;
}

int run_watch(const WatchOptions& o) {
  const WatchConfig config = WatchConfig::load(o.config);
  if (!o.export_jsonl.empty() || !o.export_coco.empty()) return export_events(o, config);
  if (o.check) {
    fmt::print("{}: {} sources, {} actions\n", o.config, config.sources.size(), config.actions.size());
    return 0;
  }
  signal(SIGPIPE, SIG_IGN);  // a command that does not read its event fails by its exit code
  ModelOptions model;
  model.model = config.model, model.precision = config.precision, model.threads = o.threads;
  Store store(config.store);
  auto service = Service::start(Engine::load(model.folder(), model.engine()), {});
  Actions actions(store, config.actions);
  Watcher watcher(config, *service, store, actions);
  std::atomic<bool> stop = false, ended = false;
  std::exception_ptr failure;
  std::thread work([&] {
    try {
      watcher.run(stop);
    } catch (...) {
      failure = std::current_exception();
    }
    ended = true;
  });
  Reload reload(o.config);
  const double start = steady_now_s();
  double reported = start, retained = start - 3600;
  while (!ended) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    const double now = steady_now_s();
    if (interrupted() || (o.seconds > 0 && now - start >= o.seconds)) stop = true;
    if (config.report_s > 0 && now - reported >= config.report_s) report(watcher, store), reported = now;
    if (now - retained >= 3600) store.retain(unix_now_s(), config.keep_days, config.keep_mb), retained = now;
    reload.check(watcher);
  }
  work.join();
  if (failure) std::rethrow_exception(failure);
  const bool all_sent = actions.flush(5);
  report(watcher, store);
  if (!all_sent) fmt::print(stderr, "some events are not delivered yet; they will be when vl8 watch runs again\n");
  if (o.json) {
    Json list = Json::array();
    for (const SourceState& s : watcher.states()) list.push_back(counters_json(s));
    fmt::print("{}\n", Json{{"seconds", steady_now_s() - start}, {"sources", list}}.dump());
  }
  return 0;
}

}  // namespace

CommandBody setup_watch(CLI::App& app) {
  auto o = std::make_shared<WatchOptions>();
  app.add_option("CONFIG", o->config, "TOML file: sources, questions, rules, actions (docs/watch.toml shows every key)")->required();
  app.add_option("--seconds", o->seconds, "stop after this long (default: when every source has ended, or Ctrl-C)")->check(CLI::PositiveNumber);
  app.add_option("--threads", o->threads, "CPU threads of the model")->check(CLI::Range(0, 1024));
  app.add_flag("--check", o->check, "read the configuration, say what is wrong with it, and end");
  app.add_option("--export-jsonl", o->export_jsonl, "write the stored events to this file, one JSON object a line, and end");
  app.add_option("--export-coco", o->export_coco, "write them as COCO object detection, with their frames beside it, and end");
  app.add_flag("--json", o->json, "print the counters as JSON at the end");
  app.footer("Examples:\n  vl8 watch line.toml\n  vl8 watch line.toml --check\n  vl8 watch line.toml --export-coco defects.json");
  return [o] { return run_watch(*o); };
}

}  // namespace vl8
