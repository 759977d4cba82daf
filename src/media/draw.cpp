#include "media/draw.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>

#include "core/error.h"
#include "media/font.h"

namespace vl8 {
namespace {

constexpr Color kPalette[] = {{230, 57, 70}, {29, 122, 209}, {42, 157, 80}, {244, 140, 6}, {131, 56, 196},
                              {0, 150, 150}, {214, 51, 132}, {120, 94, 60}, {90, 110, 20}, {70, 80, 100}};
constexpr double kStroke = 0.085;  // half the pen width, of the cap height

struct Rect {
  double x1, y1, x2, y2;
  double width() const { return x2 - x1; }
  double height() const { return y2 - y1; }
  bool touches(const Rect& o) const { return x1 < o.x2 && o.x1 < x2 && y1 < o.y2 && o.y1 < y2; }
};

void blend(Image& image, int x, int y, Color color, double alpha) {
  uint8_t* p = image.row(y) + 3 * x;
  const double c[3] = {double(color.r), double(color.g), double(color.b)};
  for (int i = 0; i < 3; ++i) p[i] = uint8_t(std::lround(p[i] + (c[i] - p[i]) * alpha));
}

// Blends `color` where distance(x, y) says how far (in pixels, negative inside) a pixel's centre is from the
// shape.
template <typename Distance>
void paint(Image& image, Rect bounds, Color color, double alpha, Distance distance) {
  const int x1 = int(std::clamp(std::floor(bounds.x1 - 1), 0.0, double(image.width)));
  const int x2 = int(std::clamp(std::ceil(bounds.x2 + 1), 0.0, double(image.width)));
  const int y1 = int(std::clamp(std::floor(bounds.y1 - 1), 0.0, double(image.height)));
  const int y2 = int(std::clamp(std::ceil(bounds.y2 + 1), 0.0, double(image.height)));
  for (int y = y1; y < y2; ++y)
    for (int x = x1; x < x2; ++x) {
      double cover = std::clamp(0.5 - distance(x + 0.5, y + 0.5), 0.0, 1.0);
      if (cover > 0) blend(image, x, y, color, cover * alpha);
    }
}

double rounded_rect_distance(double x, double y, const Rect& r, double radius) {
  const double dx = std::abs(x - (r.x1 + r.x2) / 2) - r.width() / 2 + radius;
  const double dy = std::abs(y - (r.y1 + r.y2) / 2) - r.height() / 2 + radius;
  return std::hypot(std::max(dx, 0.0), std::max(dy, 0.0)) + std::min(std::max(dx, dy), 0.0) - radius;
}

void fill_rect(Image& image, const Rect& r, double radius, Color color, double alpha) {
  paint(image, r, color, alpha, [&](double x, double y) { return rounded_rect_distance(x, y, r, radius); });
}

// The frame of a rectangle, painted side by side so that the inside of a large box costs nothing.
void stroke_rect(Image& image, const Rect& r, double line, double corner, Color color, double alpha) {
  const double half = line / 2, radius = std::min({corner, r.width() / 2, r.height() / 2});
  auto distance = [&](double x, double y) { return std::abs(rounded_rect_distance(x, y, r, radius)) - half; };
  const double reach = std::ceil(half + radius) + 1;
  if (r.width() <= 2 * reach + 4 || r.height() <= 2 * reach + 4)
    return paint(image, {r.x1 - half, r.y1 - half, r.x2 + half, r.y2 + half}, color, alpha, distance);
  // paint() widens its bounds by one pixel: whole pixels here keep the four parts from overlapping.
  const double left = std::floor(r.x1 + reach), right = std::ceil(r.x2 - reach);
  const double top = std::floor(r.y1 + reach), bottom = std::ceil(r.y2 - reach);
  paint(image, {r.x1 - half, r.y1 - half, r.x2 + half, top - 1}, color, alpha, distance);
  paint(image, {r.x1 - half, bottom + 1, r.x2 + half, r.y2 + half}, color, alpha, distance);
  paint(image, {r.x1 - half, top + 1, left - 1, bottom - 1}, color, alpha, distance);
  paint(image, {right + 1, top + 1, r.x2 + half, bottom - 1}, color, alpha, distance);
}

void draw_point(Image& image, const Mark& m, double line, Color color) {
  const double radius = 2.5 * line;
  auto ring = [&](double r, Color c, double alpha) {
    paint(image, {m.x1 - r, m.y1 - r, m.x1 + r, m.y1 + r}, c, alpha,
          [&](double x, double y) { return std::hypot(x - m.x1, y - m.y1) - r; });
  };
  ring(radius + line, {0, 0, 0}, 0.45);
  ring(radius + line * 0.6, {255, 255, 255}, 1);
  ring(radius, color, 1);
}

double segment_distance(double x, double y, font::Point a, font::Point b) {
  const double dx = b.x - a.x, dy = b.y - a.y, squared = dx * dx + dy * dy;
  const double t = squared > 0 ? std::clamp(((x - a.x) * dx + (y - a.y) * dy) / squared, 0.0, 1.0) : 0;
  return std::hypot(x - a.x - t * dx, y - a.y - t * dy);
}

bool all_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), font::has_glyph);
}

// What is written on the tab of mark i: its label, or its number when the font lacks a letter of it.
std::string tab_text(const Mark& mark, size_t i, double cap, double room) {
  std::string text = all_ascii(mark.label) ? mark.label : std::to_string(i + 1);
  if (text.empty() || text_width(cap, text) <= room) return text;
  while (!text.empty() && text_width(cap, text + "..") > room) text.pop_back();
  return text.empty() ? text : text + "..";
}

// Where the tab goes: above the box, else inside it, below it, or wherever else it hits no other tab.
Rect place_tab(const Image& image, const Mark& m, double width, double height, double line,
               const std::vector<Rect>& taken) {
  const double x = std::clamp(m.x1 - line / 2, 0.0, std::max(0.0, image.width - width));
  const double right = std::clamp(m.x2 + line / 2 - width, 0.0, std::max(0.0, image.width - width));
  const double above = m.y1 - height + line / 2, below = m.y2 - line / 2;
  const Rect options[] = {{x, above, 0, 0},
                          {right, above, 0, 0},
                          {x, below, 0, 0},
                          {x, m.y1 - line / 2, 0, 0},
                          {right, below, 0, 0}};
  Rect first{};
  bool have_first = false;
  for (Rect r : options) {
    r.x2 = r.x1 + width, r.y2 = r.y1 + height;
    if (r.y1 < 0 || r.y2 > image.height) continue;
    if (!have_first) first = r, have_first = true;
    if (std::none_of(taken.begin(), taken.end(), [&](const Rect& t) { return t.touches(r); })) return r;
  }
  if (have_first) return first;
  const double y = std::clamp(above, 0.0, std::max(0.0, image.height - height));
  return {x, y, x + width, y + height};
}

Color text_color(Color back) {
  return 0.299 * back.r + 0.587 * back.g + 0.114 * back.b > 150 ? Color{20, 20, 20} : Color{255, 255, 255};
}

}  // namespace

double text_width(double cap_height, std::string_view text) {
  double units = 0;
  for (char c : text) units += font::has_glyph(c) ? font::glyph(c).advance : 0;
  return std::max(0.0, units - 4) * cap_height / font::kCapHeight;
}

double draw_text(Image& image, double x, double y, double cap_height, std::string_view text, Color color) {
  const double unit = cap_height / font::kCapHeight, pen = std::max(0.55, kStroke * cap_height);
  const double begin = x;
  for (char c : text) {
    if (!font::has_glyph(c)) continue;
    const font::Glyph& g = font::glyph(c);
    std::vector<font::Polyline> strokes = g.strokes;
    for (auto& stroke : strokes)
      for (auto& p : stroke) p = {x + p.x * unit, y - (p.y - font::kBaseLine) * unit};
    const Rect bounds{x - pen, y - 20 * unit - pen, x + g.advance * unit + pen, y + 8 * unit + pen};
    paint(image, bounds, color, 1, [&](double px, double py) {
      double nearest = 1e9;
      for (const auto& stroke : strokes)
        for (size_t i = 0; i < std::max<size_t>(1, stroke.size() - 1); ++i)
          nearest = std::min(nearest,
                             segment_distance(px, py, stroke[i], stroke[std::min(i + 1, stroke.size() - 1)]));
      return nearest - pen;
    });
    x += g.advance * unit;
  }
  return x - begin;
}

void draw_boxes(Image& image, const std::vector<Mark>& marks, const DrawOptions& options) {
  const double side = std::min(image.width, image.height);
  const double line = options.line > 0 ? options.line : std::clamp(side / 160, 2.0, 12.0);
  const double cap = options.text > 0 ? options.text : std::clamp(side / 42, 7.0, 60.0);
  std::map<std::string, Color> colors;
  for (const Mark& m : marks) colors.try_emplace(m.label, kPalette[colors.size() % std::size(kPalette)]);

  for (const Mark& m : marks) {
    const Color color = colors[m.label];
    if (m.is_point) {
      draw_point(image, m, line, color);
    } else {
      const Rect r{m.x1, m.y1, m.x2, m.y2};
      stroke_rect(image, r, line + std::max(2.0, line), 2 * line, {0, 0, 0},
                  0.35);  // sets it off against any picture
      stroke_rect(image, r, line, 2 * line, color, 1);
    }
  }
  std::vector<Rect> taken;
  for (size_t i = 0; i < marks.size(); ++i) {
    const double pad_x = 0.55 * cap, pad_y = 0.45 * cap;
    const std::string text = tab_text(marks[i], i, cap, image.width - 2 * pad_x);
    if (text.empty()) continue;
    Mark around = marks[i];
    if (around.is_point)
      around.x1 -= 3 * line, around.y1 -= 4 * line, around.x2 += 3 * line, around.y2 += 4 * line;
    const Rect tab =
        place_tab(image, around, text_width(cap, text) + 2 * pad_x, cap * 1.2 + 2 * pad_y, line, taken);
    const Color color = colors[marks[i].label];
    fill_rect(image, tab, 0.3 * cap, color, 1);
    draw_text(image, tab.x1 + pad_x, tab.y1 + pad_y + cap, cap, text, text_color(color));
    taken.push_back(tab);
  }
}

}  // namespace vl8
