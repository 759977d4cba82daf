// Inside media only: a stroke font for printable ASCII, made for this program. A glyph is a few pen strokes
// on a grid of 36x36: base line at y = 8, lower-case letters reach 21, capitals and digits 26, descenders 2.
#pragma once
#include <string_view>
#include <vector>

namespace vl8::font {

inline constexpr double kBaseLine = 8, kCapHeight = 18;  // grid units

struct Point {
  double x, y;
};
using Polyline = std::vector<Point>;  // one point: a dot

struct Glyph {
  double advance;  // grid units to the next glyph
  std::vector<Polyline> strokes;
};

bool has_glyph(char c);      // blank to '~'
const Glyph& glyph(char c);  // curves already flattened

}  // namespace vl8::font
