#include "eval_score.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "core/error.h"
#include "core/file.h"
#include "media/boxes.h"

namespace vl8 {
namespace {

std::string trimmed(const std::string& s) {
  size_t a = s.find_first_not_of(" \t\r\n"), b = s.find_last_not_of(" \t\r\n");
  return a == std::string::npos ? "" : s.substr(a, b - a + 1);
}

// The first decimal number of a text.
bool first_number(const std::string& s, double& value) {
  for (size_t i = 0; i < s.size(); ++i) {
    bool sign = s[i] == '-' && i + 1 < s.size() && std::isdigit(static_cast<unsigned char>(s[i + 1]));
    if (!sign && !std::isdigit(static_cast<unsigned char>(s[i]))) continue;
    value = std::strtod(s.c_str() + i, nullptr);
    return true;
  }
  return false;
}

double overlap(const Mark& a, const Mark& b) {  // intersection over union
  double w = std::min(a.x2, b.x2) - std::max(a.x1, b.x1), h = std::min(a.y2, b.y2) - std::max(a.y1, b.y1);
  if (w <= 0 || h <= 0) return 0;
  return w * h / ((a.x2 - a.x1) * (a.y2 - a.y1) + (b.x2 - b.x1) * (b.y2 - b.y1) - w * h);
}

EvalTally judge_exact(const EvalItem& item, const std::string& answer) {
  EvalTally t;
  t.right = trimmed(answer) == trimmed(item.answer), t.total = 1;
  return t;
}

EvalTally judge_number(const EvalItem& item, const std::string& answer) {
  EvalTally t;
  double got = 0, want = 0;
  t.right = first_number(answer, got) && first_number(item.answer, want) && std::fabs(got - want) <= item.tolerance + 1e-9;
  t.total = 1;
  return t;
}

// One to one, best overlap first, equal labels only.
EvalTally judge_boxes(const EvalItem& item, const std::string& answer) {
  std::vector<Mark> got = parse_marks(answer), want = parse_marks(item.answer);
  struct Pair {
    double overlap;
    size_t got, want;
  };
  std::vector<Pair> pairs;
  for (size_t g = 0; g < got.size(); ++g)
    for (size_t w = 0; w < want.size(); ++w)
      if (got[g].label == want[w].label)
        if (double o = overlap(got[g], want[w]); o >= item.iou) pairs.push_back({o, g, w});
  std::stable_sort(pairs.begin(), pairs.end(), [](const Pair& a, const Pair& b) { return a.overlap > b.overlap; });
  std::vector<bool> got_used(got.size()), want_used(want.size());
  EvalTally t;
  for (const Pair& p : pairs) {
    if (got_used[p.got] || want_used[p.want]) continue;
    got_used[p.got] = want_used[p.want] = true;
    ++t.right;
  }
  t.wrong = double(got.size()) - t.right, t.missed = double(want.size()) - t.right;
  return t;
}

EvalTally judge_cer(const EvalItem& item, const std::string& answer) {
  EvalTally t;
  std::u32string want = code_points(trimmed(item.answer));
  t.edits = double(edit_distance(code_points(trimmed(answer)), want)), t.characters = double(want.size());
  return t;
}

double accuracy(const EvalTally& t) { return t.total > 0 ? t.right / t.total : 0; }
double f1(const EvalTally& t) {
  double d = 2 * t.right + t.wrong + t.missed;
  return d > 0 ? 2 * t.right / d : 1;
}
double cer(const EvalTally& t) { return t.characters > 0 ? t.edits / t.characters : 0; }

constexpr ScoreKind kKinds[] = {
    {"exact", "accuracy", judge_exact, accuracy},   {"choice", "accuracy", judge_exact, accuracy},
    {"count", "accuracy", judge_number, accuracy},  {"number", "accuracy", judge_number, accuracy},
    {"second", "accuracy", judge_number, accuracy}, {"box_f1", "f1", judge_boxes, f1},
    {"cer", "cer", judge_cer, cer},
};

EvalItem parse_item(const nlohmann::json& j) {
  EvalItem i;
  auto text = [&](const char* field, std::string& out, bool required) {
    if (!j.contains(field)) {
      if (required) fail_input("field '{}' is missing", field);
      return;
    }
    if (!j[field].is_string()) fail_input("field '{}' is not a string", field);
    out = j[field].get<std::string>();
  };
  if (!j.is_object()) fail_input("not a JSON object");
  text("id", i.id, true), text("task", i.task, true), text("question", i.question, true), text("answer", i.answer, true);
  text("score", i.score, true), text("lang", i.lang, false);
  score_kind(i.score);
  i.thinking = j.value("thinking", false);
  i.iou = j.value("iou", i.iou), i.tolerance = j.value("tolerance", i.tolerance);
  i.images = j.value("images", i.images);
  if (j.contains("video")) {
    i.frames = j["video"].at("frames").get<std::vector<std::string>>();
    i.fps = j["video"].at("fps").get<double>();
  }
  return i;
}

}  // namespace

const ScoreKind& score_kind(const std::string& name) {
  std::string known;
  for (const ScoreKind& k : kKinds) {
    if (name == k.name) return k;
    known += std::string(known.empty() ? "" : ", ") + k.name;
  }
  fail_input("unknown score '{}'; there are {}", name, known);
}

void EvalTally::add(const EvalTally& o) {
  right += o.right, total += o.total, wrong += o.wrong, missed += o.missed, edits += o.edits, characters += o.characters;
  ++items;
}

std::vector<EvalItem> load_eval_items(const std::string& path) {
  std::vector<EvalItem> items;
  const std::string text = read_file(path);
  size_t line = 0;
  for (size_t at = 0; at < text.size();) {
    size_t end = std::min(text.find('\n', at), text.size());
    std::string row = trimmed(text.substr(at, end - at));
    at = end + 1, ++line;
    if (row.empty()) continue;
    try {
      items.push_back(parse_item(nlohmann::json::parse(row)));
    } catch (const std::exception& e) {
      fail_input("{}, line {}: {}", path, line, e.what());
    }
  }
  return items;
}

std::u32string code_points(std::string_view s) {
  std::u32string out;
  for (size_t i = 0; i < s.size();) {
    unsigned char c = static_cast<unsigned char>(s[i]);
    int more = c < 0x80 ? 0 : c >= 0xc2 && c < 0xe0 ? 1 : c >= 0xe0 && c < 0xf0 ? 2 : c >= 0xf0 && c < 0xf5 ? 3 : -1;
    char32_t v = more <= 0 ? c : c & (0x3f >> more);
    bool ok = more >= 0 && i + size_t(more) < s.size();
    for (int k = 1; ok && k <= more; ++k) {
      unsigned char n = static_cast<unsigned char>(s[i + size_t(k)]);
      ok = (n & 0xc0) == 0x80;
      v = (v << 6) | (n & 0x3f);
    }
    out += ok ? v : U'\uFFFD';
    i += ok ? size_t(more) + 1 : 1;
  }
  return out;
}

// Levenshtein distance with one row of memory.
int64_t edit_distance(const std::u32string& a, const std::u32string& b) {
  std::vector<int64_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = int64_t(j);
  for (size_t i = 1; i <= a.size(); ++i) {
    int64_t diagonal = row[0];
    row[0] = int64_t(i);
    for (size_t j = 1; j <= b.size(); ++j) {
      int64_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1])});
      diagonal = above;
    }
  }
  return row[b.size()];
}

}  // namespace vl8
