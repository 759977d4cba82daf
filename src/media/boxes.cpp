#include "media/boxes.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/error.h"

namespace vl8 {
namespace {

using Json = nlohmann::json;

constexpr size_t kMaxAnswer = size_t(4) << 20;  // bytes looked at
constexpr int kMaxDepth = 32;
constexpr size_t kNone = size_t(-1);

// For each opening bracket the position of its closing one, or kNone. Brackets inside JSON strings do not
// count; a string ends at a line break at the latest, so that a stray quote in prose spoils one line only.
std::vector<size_t> match_brackets(std::string_view text) {
  std::vector<size_t> match(text.size(), kNone), open;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (in_string) {
      if (c == '\\')
        ++i;
      else if (c == '"' || c == '\n')
        in_string = false;
    } else if (c == '"' && !open.empty()) {
      in_string = true;
    } else if (c == '{' || c == '[') {
      open.push_back(i);
    } else if (c == '}' || c == ']') {
      const char partner = c == '}' ? '{' : '[';
      if (!open.empty() && text[open.back()] == partner) match[open.back()] = i, open.pop_back();
    }
  }
  return match;
}

std::optional<std::vector<double>> numbers(const Json& v, size_t count) {
  if (!v.is_array() || v.size() != count) return std::nullopt;
  std::vector<double> out;
  for (const Json& e : v) {
    if (!e.is_number() || !std::isfinite(e.get<double>())) return std::nullopt;
    out.push_back(e.get<double>());
  }
  return out;
}

std::string label_of(const Json& object) {
  for (const char* key : {"label", "text_content", "text", "name", "class", "type"})
    if (auto it = object.find(key); it != object.end() && it->is_string()) return it->get<std::string>();
  return {};
}

std::optional<Mark> mark_of(const Json& object) {
  for (const char* key : {"bbox_2d", "bbox", "box_2d", "box"})
    if (auto it = object.find(key); it != object.end())
      if (auto n = numbers(*it, 4)) {
        auto [x1, x2] = std::minmax((*n)[0], (*n)[2]);
        auto [y1, y2] = std::minmax((*n)[1], (*n)[3]);
        return Mark{false, x1, y1, x2, y2, label_of(object)};
      }
  for (const char* key : {"point_2d", "point"})
    if (auto it = object.find(key); it != object.end())
      if (auto n = numbers(*it, 2)) return Mark{true, (*n)[0], (*n)[1], (*n)[0], (*n)[1], label_of(object)};
  return std::nullopt;
}

void collect(const Json& v, std::vector<Mark>& marks, int depth) {
  if (depth > kMaxDepth) return;
  if (v.is_object())
    if (auto mark = mark_of(v)) marks.push_back(*mark);
  if (v.is_structured())
    for (const Json& child : v) collect(child, marks, depth + 1);
}

Mark scaled(const Mark& m, double sx, double sy) {
  return {m.is_point, m.x1 * sx, m.y1 * sy, m.x2 * sx, m.y2 * sy, m.label};
}

Mark clamped(Mark m, double width, double height) {
  for (double* x : {&m.x1, &m.x2}) *x = std::clamp(*x, 0.0, width);
  for (double* y : {&m.y1, &m.y2}) *y = std::clamp(*y, 0.0, height);
  return m;
}

void check_size(Size s) {
  check(s.width > 0 && s.height > 0, "a picture of {}x{} pixels", s.width, s.height);
}

}  // namespace

std::vector<Mark> parse_marks(std::string_view answer) {
  answer = answer.substr(0, kMaxAnswer);
  const std::vector<size_t> match = match_brackets(answer);
  std::vector<Mark> marks;
  size_t tried = 0;  // bytes parsed in vain: bounds the work on an answer of nested garbage
  for (size_t i = 0; i < answer.size() && tried < 4 * kMaxAnswer; ++i) {
    if (match[i] == kNone) continue;
    const size_t length = match[i] + 1 - i;
    Json json = Json::parse(answer.substr(i, length), nullptr, false);
    if (json.is_discarded()) {
      tried += length;
      continue;
    }
    collect(json, marks, 0);
    i = match[i];
  }
  return marks;
}

Mark square_to_pixels(const Mark& mark, Size picture) {
  check_size(picture);
  return clamped(scaled(mark, double(picture.width) / kSquare, double(picture.height) / kSquare),
                 double(picture.width), double(picture.height));
}

Mark pixels_to_square(const Mark& mark, Size picture) {
  check_size(picture);
  return clamped(scaled(mark, kSquare / double(picture.width), kSquare / double(picture.height)), kSquare,
                 kSquare);
}

Mark resized_to_pixels(const Mark& mark, Size resized, Size picture) {
  check_size(resized), check_size(picture);
  return clamped(scaled(mark, double(picture.width) / double(resized.width),
                        double(picture.height) / double(resized.height)),
                 double(picture.width), double(picture.height));
}

std::string marks_json(const std::vector<Mark>& marks) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  auto whole = [](double v) {
    return std::isfinite(v) ? int64_t(std::llround(std::clamp(v, -1e9, 1e9))) : 0;
  };
  for (const Mark& m : marks) {
    nlohmann::ordered_json item;
    if (m.is_point)
      item["point_2d"] = {whole(m.x1), whole(m.y1)};
    else
      item["bbox_2d"] = {whole(m.x1), whole(m.y1), whole(m.x2), whole(m.y2)};
    if (!m.label.empty()) item["label"] = m.label;
    list.push_back(std::move(item));
  }
  return list.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace vl8
