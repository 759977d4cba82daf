// From an answer to events.
#include <chrono>
#include <regex>

#include "media/boxes.h"
#include <cmath>

#include "watch/watcher.h"

namespace vl8::watch {
namespace {

void replace_all(std::string& text, std::string_view what, const std::string& by) {
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + by.size())) text.replace(at, what.size(), by);
}

std::string fill(std::string text, const Event& e) {
  replace_all(text, "{x}", fmt::format("{:.1f}", e.x_mm.value_or(e.x_px)));
  replace_all(text, "{y}", fmt::format("{:.1f}", e.y_mm.value_or(e.y_px)));
  replace_all(text, "{time}", fmt::format("{:.1f}", e.stream_s));
  replace_all(text, "{defect}", e.defect);
  replace_all(text, "{label}", e.label);
  replace_all(text, "{source}", e.source);
  replace_all(text, "{answer}", e.answer);
  return text;
}

Event base_event(const SourceConfig& s, const RuleConfig& rule, const std::string& answer) {
  Event e;
  e.source = s.name, e.rule = rule.name, e.defect = rule.defect, e.answer = answer, e.actions = rule.actions;
  return e;
}

void place(Event& e, const Mark& square, const SourceConfig& s, Size frame, int roi_x, int roi_y) {
  const Mark m = square_to_pixels(square, frame);
  e.has_box = true, e.label = m.label;
  e.box_px = {m.x1 + roi_x, m.y1 + roi_y, m.x2 + roi_x, m.y2 + roi_y};
  e.x_px = (e.box_px[0] + e.box_px[2]) / 2, e.y_px = (e.box_px[1] + e.box_px[3]) / 2;
  if (!s.calibration) return;
  const auto [x, y] = s.calibration->to_mm(e.x_px, e.y_px);
  e.x_mm = std::round(x * 1000) / 1000, e.y_mm = std::round(y * 1000) / 1000;
}

}  // namespace

std::vector<Event> events_of(const SourceConfig& s, const std::string& answer, Size frame, int roi_x, int roi_y) {
  std::vector<Event> events;
  for (const RuleConfig& rule : s.rules) {
    if (!rule.matches.empty() && !std::regex_search(answer, std::regex(rule.matches, std::regex::ECMAScript | std::regex::icase))) continue;
    if (!rule.boxes) {
      events.push_back(base_event(s, rule, answer));
    } else {
      for (const Mark& m : parse_marks(answer)) {
        if (!rule.label.empty() && m.label != rule.label) continue;
        events.push_back(base_event(s, rule, answer));
        place(events.back(), m, s, frame, roi_x, roi_y);
      }
    }
  }
  for (Event& e : events)
    for (const RuleConfig& rule : s.rules)
      if (rule.name == e.rule) e.sentence = fill(rule.sentence, e);
  return events;
}

}  // namespace vl8::watch
