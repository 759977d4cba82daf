#include "watch/config.h"

#include <cstdlib>
#include <fstream>
#include <regex>
#include <set>

#define TOML_HEADER_ONLY 1
#define TOML_ENABLE_FORMATTERS 0
#include <toml++/toml.h>

#include "core/error.h"
#include "core/file.h"

namespace vl8::watch {
namespace {

// One table: every key that is read is remembered, so that what is left over can be refused.
class Reader {
 public:
  Reader(const toml::table& t, std::string file, std::string where) : table_(t), file_(std::move(file)), where_(std::move(where)) {}

  template <typename... Args>
  [[noreturn]] void refuse(std::string_view key, fmt::format_string<Args...> text, Args&&... args) const {
    const toml::node* n = table_.get(key);
    fail_input("{}:{}: {}{} {}", file_, (n ? n->source() : table_.source()).begin.line, where_, key, fmt::format(text, std::forward<Args>(args)...));
  }
  void text(const char* key, std::string& to) {
    if (const toml::node* n = find(key)) {
      auto v = n->value<std::string>();
      if (!v || !n->is_string()) refuse(key, "must be text");
      to = *v;
    }
  }
  void secret(const char* key, std::string& to) {
    text(key, to);
    if (!to.starts_with("env:")) return;
    const char* v = std::getenv(to.c_str() + 4);
    if (!v) refuse(key, "names the environment variable {}, which is not set", to.substr(4));
    to = v;
  }
  void number(const char* key, double low, double high, double& to) {
    if (const toml::node* n = find(key)) {
      auto v = n->value<double>();
      if (!v || !n->is_number() || !(*v >= low && *v <= high)) refuse(key, "must be a number from {} to {}", low, high);
      to = *v;
    }
  }
  template <typename T>
  void integer(const char* key, int64_t low, int64_t high, T& to) {
    if (const toml::node* n = find(key)) {
      auto v = n->value_exact<int64_t>();
      if (!v || *v < low || *v > high) refuse(key, "must be a whole number from {} to {}", low, high);
      to = T(*v);
    }
  }
  void flag(const char* key, bool& to) {
    if (const toml::node* n = find(key)) {
      auto v = n->value_exact<bool>();
      if (!v) refuse(key, "must be true or false");
      to = *v;
    }
  }
  std::vector<double> numbers(const char* key, size_t count) {
    std::vector<double> out;
    const toml::node* n = find(key);
    if (!n) return out;
    if (const toml::array* a = n->as_array())
      for (const toml::node& e : *a)
        if (auto v = e.value<double>()) out.push_back(*v);
    if (out.size() != count) refuse(key, "must be {} numbers", count);
    return out;
  }
  std::vector<std::string> texts(const char* key) {
    std::vector<std::string> out;
    const toml::node* n = find(key);
    if (!n) return out;
    const toml::array* a = n->as_array();
    if (!a) refuse(key, "must be a list of texts");
    for (const toml::node& e : *a) {
      if (!e.is_string()) refuse(key, "must be a list of texts");
      out.push_back(*e.value<std::string>());
    }
    return out;
  }
  template <typename Enum>
  void choice(const char* key, std::initializer_list<std::pair<const char*, Enum>> rows, Enum& to) {
    std::string v, names;
    text(key, v);
    if (v.empty()) return;
    for (auto [name, value] : rows) {
      if (v == name) return void(to = value);
      names += (names.empty() ? "" : ", ") + std::string(name);
    }
    refuse(key, "is '{}'; it may be {}", v, names);
  }
  template <typename F>
  void table(const char* key, F f) {
    if (const toml::node* n = find(key)) {
      if (!n->is_table()) refuse(key, "must be a table");
      Reader inner(*n->as_table(), file_, where_ + key + ".");
      f(inner);
      inner.finish();
    }
  }
  template <typename F>
  void tables(const char* key, F f) {
    if (const toml::node* n = find(key)) {
      if (!n->is_array_of_tables()) refuse(key, "must be tables, written [[{}{}]]", where_, key);
      for (const toml::node& e : *n->as_array()) {
        Reader inner(*e.as_table(), file_, where_ + key + ".");
        f(inner);
        inner.finish();
      }
    }
  }
  void finish() const {
    for (const auto& [key, node] : table_)
      if (!known_.contains(std::string(key.str()))) {
        std::string names;
        for (const std::string& k : known_) names += (names.empty() ? "" : ", ") + k;
        refuse(key.str(), "is not a key here; there are {}", names);
      }
  }
  // Errors of values that check themselves get the place of their key.
  template <typename F>
  void checked(const char* key, F f) const {
    try {
      f();
    } catch (const Error& e) {
      refuse(key, ": {}", e.what());
    }
  }

 private:
  const toml::node* find(const char* key) {
    known_.insert(key);
    return table_.get(key);
  }
  const toml::table& table_;
  std::string file_, where_;
  std::set<std::string> known_;
};

ActionConfig read_action(Reader& r) {
  ActionConfig a;
  r.text("name", a.name);
  if (a.name.empty()) r.refuse("name", "is missing");
  r.choice<ActionKind>("kind", {{"webhook", ActionKind::webhook}, {"mqtt", ActionKind::mqtt}, {"command", ActionKind::command}, {"stdout", ActionKind::out}}, a.kind);
  r.text("url", a.url), r.secret("secret", a.secret);
  r.text("host", a.host), r.text("topic", a.topic), r.text("user", a.user), r.secret("password", a.password);
  r.integer("port", 1, 65535, a.port), r.integer("qos", 0, 2, a.qos);
  a.argv = r.texts("argv");
  r.integer("attempts", 1, 1000, a.attempts);
  r.number("first_wait_s", 0.01, 3600, a.first_wait_s), r.number("timeout_s", 0.1, 600, a.timeout_s);
  if (a.kind == ActionKind::webhook && !a.url.starts_with("http://") && !a.url.starts_with("https://")) r.refuse("url", "of a webhook must begin with http:// or https://");
  if (a.kind == ActionKind::command && a.argv.empty()) r.refuse("argv", "of a command is missing: the program and its arguments");
  return a;
}

RuleConfig read_rule(Reader& r) {
  RuleConfig rule;
  r.text("name", rule.name), r.text("defect", rule.defect), r.text("matches", rule.matches), r.text("label", rule.label), r.text("sentence", rule.sentence);
  r.flag("boxes", rule.boxes);
  r.number("min_interval_s", 0, 1e9, rule.min_interval_s);
  rule.actions = r.texts("actions");
  if (rule.name.empty()) r.refuse("name", "is missing");
  if (rule.defect.empty()) rule.defect = rule.name;
  if (rule.matches.empty() && !rule.boxes) r.refuse("matches", "is missing: a regular expression on the answer, or boxes = true");
  try {
    std::regex test(rule.matches, std::regex::ECMAScript | std::regex::icase);
  } catch (const std::regex_error& e) {
    r.refuse("matches", "is no regular expression: {}", e.what());
  }
  return rule;
}

void read_calibration(Reader& r, std::optional<Calibration>& to) {
  double per_mm = 0;
  r.number("pixels_per_mm", 1e-6, 1e6, per_mm);
  std::vector<double> origin = r.numbers("origin", 2), points = r.numbers("points", 16);
  if ((per_mm > 0) == !points.empty())
    r.refuse("points", "or pixels_per_mm: exactly one of them (points: four times pixel x, y, then millimetre x, y)");
  r.checked(per_mm > 0 ? "pixels_per_mm" : "points", [&] {
    to = per_mm > 0 ? Calibration::scale(per_mm, origin.empty() ? 0 : origin[0], origin.empty() ? 0 : origin[1]) : Calibration::four_points(points);
  });
}

SourceConfig read_source(Reader& r, const std::filesystem::path& folder) {
  SourceConfig s;
  r.text("name", s.name), r.text("input", s.input), r.text("question", s.question), r.text("system", s.system);
  if (s.name.empty()) r.refuse("name", "is missing");
  if (s.input.empty()) r.refuse("input", "is missing: a video file, a folder, an address or /dev/videoN");
  if (s.question.empty()) r.refuse("question", "is missing");
  if (s.input.find("://") == std::string::npos && std::filesystem::path(s.input).is_relative()) s.input = (folder / s.input).lexically_normal().string();
  r.flag("live", s.live), r.flag("repeat", s.repeat);
  r.number("rate", 0, 1000, s.rate);
  r.integer("max_tokens", 1, 1 << 20, s.max_tokens), r.integer("max_pixels", 1024, int64_t(1) << 27, s.max_pixels);
  if (auto roi = r.numbers("roi", 4); !roi.empty()) {
    s.roi = {int(roi[0]), int(roi[1]), int(roi[2]), int(roi[3])};
    if ((*s.roi)[0] < 0 || (*s.roi)[1] < 0 || (*s.roi)[2] < 1 || (*s.roi)[3] < 1) r.refuse("roi", "must be x, y, width, height in pixels");
  }
  std::string sparsity;
  r.text("sparsity", sparsity);
  if (!sparsity.empty()) r.checked("sparsity", [&] { s.sparsity = parse_sparsity(sparsity); });
  r.table("gate", [&](Reader& g) {
    g.number("open_share", 0, 1, s.gate.open_share), g.number("close_share", 0, 1, s.gate.close_share);
    g.number("feature_distance", 0, 2, s.gate.feature_distance), g.number("refresh_s", 0, 1e9, s.gate.refresh_s);
    g.integer("quiet_frames", 1, 1000000, s.gate.quiet_frames);
    g.checked("open_share", [&] { s.gate.validate(); });
  });
  r.table("budget", [&](Reader& b) {
    b.number("floor", 0.001, 1, s.controller.floor), b.number("ceiling", 0.001, 1, s.controller.ceiling);
    b.number("full_novelty", 1e-6, 1, s.controller.full_novelty), b.number("unsure_below", 0, 1, s.controller.unsure_below);
    b.number("fall_per_frame", 1e-6, 1, s.controller.fall_per_frame);
    b.checked("floor", [&] { s.controller.validate(); });
  });
  r.table("bad_frames", [&](Reader& b) {
    b.number("dark_level", 0, 255, s.bad.dark_level), b.number("flat_spread", 0, 255, s.bad.flat_spread);
    b.number("bright_share", 0, 1, s.bad.bright_share), b.number("blur_ratio", 0, 1, s.bad.blur_ratio);
    b.number("frozen_s", 0, 1e9, s.bad.frozen_s), b.number("tear_ratio", 1, 1e6, s.bad.tear_ratio);
  });
  r.table("calibration", [&](Reader& c) { read_calibration(c, s.calibration); });
  r.tables("rule", [&](Reader& rule) { s.rules.push_back(read_rule(rule)); });
  return s;
}

template <typename List>
void check_names(const List& list, const std::string& file, const char* kind) {
  std::set<std::string> seen;
  for (const auto& e : list)
    if (!seen.insert(e.name).second) fail_input("{}: two {}s are called '{}'", file, kind, e.name);
}

}  // namespace

WatchConfig WatchConfig::load(const std::filesystem::path& path) {
  const std::string file = path.string(), text = read_file(path, size_t(4) << 20);
  toml::table root;
  try {
    root = toml::parse(text, file);
  } catch (const toml::parse_error& e) {
    fail_input("{}:{}: {}", file, e.source().begin.line, e.description());
  }
  WatchConfig c;
  c.path = path;
  const std::filesystem::path folder = path.parent_path();
  Reader r(root, file, "");
  r.text("model", c.model), r.text("precision", c.precision);
  std::string store = c.store.string();
  r.text("store", store);
  c.store = std::filesystem::path(store).is_relative() ? folder / store : std::filesystem::path(store);
  r.number("keep_days", 0.0001, 100000, c.keep_days), r.integer("keep_mb", 1, 1 << 30, c.keep_mb), r.flag("keep_frames", c.keep_frames);
  r.choice<Overload>("overload", {{"drop_oldest", Overload::drop_oldest}, {"lower_rate", Overload::lower_rate}, {"lower_budget", Overload::lower_budget}}, c.overload);
  r.number("max_latency_s", 0.001, 1e6, c.max_latency_s), r.number("report_s", 0, 1e6, c.report_s);
  r.tables("source", [&](Reader& s) { c.sources.push_back(read_source(s, folder)); });
  r.tables("action", [&](Reader& a) { c.actions.push_back(read_action(a)); });
  r.finish();
  if (c.sources.empty()) fail_input("{}: no [[source]]", file);
  check_names(c.sources, file, "source"), check_names(c.actions, file, "action");
  for (const SourceConfig& s : c.sources)
    for (const RuleConfig& rule : s.rules)
      for (const std::string& a : rule.actions)
        if (std::none_of(c.actions.begin(), c.actions.end(), [&](const ActionConfig& x) { return x.name == a; }))
          fail_input("{}: the rule '{}' of '{}' names the action '{}', which is not there", file, rule.name, s.name, a);
  return c;
}

}  // namespace vl8::watch
