#include "quant/report.h"

#include <algorithm>

#include "core/error.h"
#include "core/file.h"

namespace vl8 {
namespace {
using Json = nlohmann::ordered_json;

constexpr size_t kWorst = 10;

std::vector<const ModuleReport*> worst_modules(const QuantizeReport& r) {
  std::vector<const ModuleReport*> list;
  for (const ModuleReport& m : r.modules) list.push_back(&m);
  auto badness = [](const ModuleReport* m) { return m->output_sqnr_db > 0 ? m->output_sqnr_db : m->sqnr_db; };
  std::stable_sort(list.begin(), list.end(), [&](auto* a, auto* b) { return badness(a) < badness(b); });
  list.resize(std::min(kWorst, list.size()));
  return list;
}

// What to try for a module that lost much.
std::string hint(const ModuleReport& m, bool calibrated) {
  const bool four_bits = m.format.starts_with("INT4") || m.format.starts_with("E2M1");
  if (four_bits && !calibrated) return "calibrate (--calibrate), or groups of 32";
  if (four_bits) return "groups of 32, or eight bits for this module (auto --loss finds it)";
  if (m.format == "E4M3 tensor") return "a scale for each row: recipe fp8-rowwise";
  if (m.format.starts_with("E5M2")) return "E4M3: recipe fp8-rowwise";
  if (m.output_sqnr_db > 0 && m.output_sqnr_db + 6 < m.sqnr_db) return "its inputs have outliers on badly rounded weights: keep it in 16 bits";
  return "as expected of eight bits";
}

std::string decibels(double db) { return db > 0 ? fmt::format("{:.1f}", db) : "-"; }

std::string markdown(const LossReport& r) {
  const QuantizeReport& q = *r.quantised;
  std::string s = fmt::format("# Quantisation report: {}{}\n\n", r.recipe, r.calibrated ? ", calibrated" : "");
  s += fmt::format("| | |\n|---|---|\n| size | {:.1f} MB to {:.1f} MB ({:.1f} %) |\n| time | {:.1f} s |\n", double(q.source_bytes) * 1e-6,
                   double(q.result_bytes) * 1e-6, 100.0 * double(q.result_bytes) / double(std::max<uint64_t>(1, q.source_bytes)), q.seconds);
  s += fmt::format("| peak memory | {:.0f} MB |\n| matrices | {} |\n\n", r.peak_rss_mb, q.modules.size());
  s += "## Logits\n\n| chats | positions | KL mean | KL 99 % | first choice changed | cosine |\n|---|---|---|---|---|---|\n";
  for (const auto& [name, l] : r.sets)
    s += fmt::format("| {} | {} | {:.5f} | {:.5f} | {:.2f} % | {:.6f} |\n", name, l.tokens, l.kl, l.kl_p99, 100 * l.top1_changed, l.cosine);
  if (!r.evaluation.empty()) {
    s += "\n## Evaluation\n\n| task | figure | before | after | change | items |\n|---|---|---|---|---|---|\n";
    for (const TaskScore& t : r.evaluation)
      s += fmt::format("| {} | {} | {:.4f} | {:.4f} | {:+.4f} | {} |\n", t.task, t.figure, t.before, t.after, t.after - t.before, t.items);
  }
  s += "\n## The ten worst modules\n\n| module | format | SQNR of weights, dB | of the output, dB | cosine | try |\n|---|---|---|---|---|---|\n";
  for (const ModuleReport* m : worst_modules(q))
    s += fmt::format("| {} | {} | {} | {} | {:.6f} | {} |\n", m->module, m->format, decibels(m->sqnr_db), decibels(m->output_sqnr_db), m->cosine,
                     hint(*m, r.calibrated));
  s += "\n![SQNR of every module](sqnr.svg)\n![bytes by kind of module](bytes.svg)\n";
  for (const std::string& note : q.notes) s += "\nNote: " + note + "\n";
  return s;
}

// --- plots: one plain SVG each, no script, no font files
constexpr const char* kColours[] = {"#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#ff8ab7", "#a463f2", "#97bbf5"};

std::string svg_head(int width, int height, const std::string& title) {
  return fmt::format("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} {1}\" font-family=\"sans-serif\" "
                     "font-size=\"12\"><rect width=\"100%\" height=\"100%\" fill=\"white\"/><text x=\"12\" y=\"20\" font-size=\"14\">{2}</text>\n",
                     width, height, title);
}

std::vector<std::string> kinds_of(const QuantizeReport& r) {
  std::vector<std::string> kinds;
  for (const ModuleReport& m : r.modules)
    if (std::find(kinds.begin(), kinds.end(), m.kind) == kinds.end()) kinds.push_back(m.kind);
  return kinds;
}

std::string sqnr_svg(const QuantizeReport& r) {
  constexpr int kWidth = 760, kHeight = 340, kLeft = 50, kTop = 40, kBottom = 60;
  double low = 1e9, high = -1e9;
  for (const ModuleReport& m : r.modules) {
    low = std::min(low, std::min(m.sqnr_db, m.output_sqnr_db > 0 ? m.output_sqnr_db : m.sqnr_db));
    high = std::max(high, std::max(m.sqnr_db, m.output_sqnr_db));
  }
  low = std::floor(low / 5) * 5, high = std::ceil(std::min(high, 100.0) / 5) * 5;
  if (high <= low) high = low + 5;
  auto y = [&](double db) { return kTop + (kHeight - kTop - kBottom) * (high - std::min(db, high)) / (high - low); };
  std::string s = svg_head(kWidth, kHeight, "SQNR of every matrix in file order, dB (dots: weights; rings: layer output on calibration inputs)");
  for (double db = low; db <= high; db += 5)
    s += fmt::format("<line x1=\"{0}\" x2=\"{1}\" y1=\"{2:.1f}\" y2=\"{2:.1f}\" stroke=\"#ddd\"/><text x=\"16\" y=\"{3:.1f}\">{4:.0f}</text>\n", kLeft,
                     kWidth - 10, y(db), y(db) + 4, db);
  const std::vector<std::string> kinds = kinds_of(r);
  for (size_t i = 0; i < r.modules.size(); ++i) {
    const ModuleReport& m = r.modules[i];
    const size_t kind = size_t(std::find(kinds.begin(), kinds.end(), m.kind) - kinds.begin());
    const double x = kLeft + 8 + (kWidth - kLeft - 26.0) * double(i) / double(std::max<size_t>(1, r.modules.size() - 1));
    s += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"2.5\" fill=\"{}\"/>", x, y(m.sqnr_db), kColours[kind % 8]);
    if (m.output_sqnr_db > 0)
      s += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"2.5\" fill=\"none\" stroke=\"{}\"/>", x, y(m.output_sqnr_db), kColours[kind % 8]);
  }
  for (size_t k = 0; k < kinds.size(); ++k)
    s += fmt::format("\n<rect x=\"{0}\" y=\"{1}\" width=\"10\" height=\"10\" fill=\"{2}\"/><text x=\"{3}\" y=\"{4}\">{5}</text>", kLeft + int(k) * 88,
                     kHeight - 30, kColours[k % 8], kLeft + 14 + int(k) * 88, kHeight - 21, kinds[k]);
  return s + "\n</svg>\n";
}

std::string bytes_svg(const QuantizeReport& r) {
  constexpr int kWidth = 760, kRow = 26, kLeft = 90;
  const std::vector<std::string> kinds = kinds_of(r);
  std::vector<uint64_t> before(kinds.size()), after(kinds.size());
  uint64_t most = 1;
  for (const ModuleReport& m : r.modules) {
    const size_t k = size_t(std::find(kinds.begin(), kinds.end(), m.kind) - kinds.begin());
    before[k] += uint64_t(m.rows) * uint64_t(m.k) * 2, after[k] += m.bytes;
    most = std::max(most, before[k]);
  }
  std::string s = svg_head(kWidth, 50 + kRow * int(kinds.size()), "MB by kind of module: 16 bits (grey) and as written");
  for (size_t k = 0; k < kinds.size(); ++k) {
    const int y = 36 + kRow * int(k);
    auto width = [&](uint64_t bytes) { return (kWidth - kLeft - 130.0) * double(bytes) / double(most); };
    s += fmt::format("<text x=\"12\" y=\"{}\">{}</text><rect x=\"{}\" y=\"{}\" width=\"{:.1f}\" height=\"18\" fill=\"#ddd\"/><rect x=\"{}\" y=\"{}\" "
                     "width=\"{:.1f}\" height=\"18\" fill=\"{}\"/><text x=\"{:.1f}\" y=\"{}\">{:.1f} to {:.1f}</text>\n",
                     y + 14, kinds[k], kLeft, y, width(before[k]), kLeft, y, width(after[k]), kColours[k % 8], kLeft + width(before[k]) + 6, y + 14,
                     double(before[k]) * 1e-6, double(after[k]) * 1e-6);
  }
  return s + "</svg>\n";
}

}  // namespace

Json report_json(const QuantizeReport& r) {
  Json j{{"quantised_tensors", r.quantised_tensors}, {"kept_tensors", r.kept_tensors}, {"source_bytes", r.source_bytes},
         {"result_bytes", r.result_bytes}, {"files", r.files}, {"resumed_jobs", r.resumed_jobs}, {"seconds", r.seconds},
         {"max_relative_error", r.max_relative_error}, {"worst_tensor", r.worst_tensor}, {"notes", r.notes}};
  for (const ModuleReport& m : r.modules) {
    Json row{{"module", m.module}, {"kind", m.kind}, {"format", m.format}, {"shape", {m.rows, m.k}}, {"bytes", m.bytes},
             {"sqnr_db", m.sqnr_db}, {"cosine", m.cosine}, {"relative_error", m.relative_error}};
    if (m.output_sqnr_db > 0) row["output_sqnr_db"] = m.output_sqnr_db;
    j["modules"].push_back(std::move(row));
  }
  return j;
}

void write_report(const std::filesystem::path& folder, const LossReport& r) {
  std::error_code ec;
  std::filesystem::create_directories(folder, ec);
  if (ec) fail(ErrorKind::resource, "cannot create {}: {}", folder.string(), ec.message());
  Json j{{"recipe", r.recipe}, {"calibrated", r.calibrated}, {"peak_rss_mb", r.peak_rss_mb}};
  for (const auto& [name, l] : r.sets)
    j["logits"].push_back({{"set", name}, {"positions", l.tokens}, {"kl", l.kl}, {"kl_p99", l.kl_p99}, {"top1_changed", l.top1_changed}, {"cosine", l.cosine}});
  for (const TaskScore& t : r.evaluation)
    j["evaluation"].push_back({{"task", t.task}, {"figure", t.figure}, {"before", t.before}, {"after", t.after}, {"items", t.items}});
  j["quantised"] = report_json(*r.quantised);
  write_file(folder / "report.json", j.dump(1) + "\n");
  write_file(folder / "report.md", markdown(r));
  write_file(folder / "sqnr.svg", sqnr_svg(*r.quantised));
  write_file(folder / "bytes.svg", bytes_svg(*r.quantised));
}

}  // namespace vl8
