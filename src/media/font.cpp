#include "media/font.h"

#include <array>
#include <cmath>

#include "core/error.h"

namespace vl8::font {
namespace {

// Strokes are parted by blanks; a point is two digits of base 36, x then y, y upwards. '~' begins a smooth
// stroke, that goes through its points as a curve and closes without a corner when the last point is the
// first.
struct Source {
  char letter;
  int width;  // of the strokes; the advance is 4 more
  const char* strokes;
};
constexpr Source kSources[] = {
    {' ', 4, ""},
    {'!', 2, "1q1e 18"},
    {'"', 6, "1q1l 5q5l"},
    {'#', 12, "4q28 aq88 1kck 0ebe"},
    {'$', 12, "~bm6q0m6hcc680b 6s66"},
    {'%', 12, "cq08 ~3q6n3k0n3q ~9ecb986b9e"},
    {'&', 12, "b83j ~3j1n5q8n5j0c58ce"},
    {'\'', 2, "1q1l"},
    {'(', 4, "~4s0h46"},
    {')', 4, "~0s4h06"},
    {'*', 8, "4q4i 0o8k 0k8o"},
    {'+', 10, "5m5c 0hah"},
    {',', 2, "2904"},
    {'-', 7, "0g7g"},
    {'.', 2, "18"},
    {'/', 8, "058s"},
    {'0', 10, "~5qah580h5q"},
    {'1', 9, "1m5q58 1898"},
    {'2', 10, "~0m5qal6f08 08a8"},
    {'3', 10, "~0m5qam5h ~5had580c 3h5h"},
    {'4', 10, "787q0dad"},
    {'5', 10, "9q1q0h ~0h5kae580b"},
    {'6', 10, "~8q2l0e58ae5k0e"},
    {'7', 10, "0qaq48"},
    {'8', 10, "~5q9m5h1m5q ~5had580d5h"},
    {'9', 10, "~288dak5q0k5eak"},
    {':', 2, "18 1j"},
    {';', 2, "1j 2904"},
    {'<', 10, "ao0haa"},
    {'=', 10, "0kak 0eae"},
    {'>', 10, "0oah0a"},
    {'?', 10, "~0m5qam7h5d 58"},
    {'@', 16, "~d9870g8pggdcbe ~bg8k5g8cbg bkbe"},
    {'A', 12, "086qc8 2eae"},
    {'B', 12, "080q 0q6q ~6qbm6h 6h0h ~6hcd68 6808"},
    {'C', 12, "~cm6q0h68cc"},
    {'D', 12, "080q 0q5q ~5qch58 5808"},
    {'E', 10, "aq0q08a8 0h8h"},
    {'F', 10, "aq0q08 0h8h"},
    {'G', 12, "~cm6q0h68cc ccch7h"},
    {'H', 12, "080q c8cq 0hch"},
    {'I', 6, "383q 0q6q 0868"},
    {'J', 8, "8q8d ~8d480c"},
    {'K', 12, "0q08 bq0f 4jc8"},
    {'L', 10, "0q08a8"},
    {'M', 14, "080q7ceqe8"},
    {'N', 12, "080qc8cq"},
    {'O', 13, "~6qdh680h6q"},
    {'P', 11, "080q 0q6q ~6qbl6g 6g0g"},
    {'Q', 13, "~6qdh680h6q 8cd6"},
    {'R', 12, "080q 0q6q ~6qbl6g 6g0g 6gc8"},
    {'S', 12, "~bm6q0m6hcc680b"},
    {'T', 12, "0qcq 6q68"},
    {'U', 12, "0q0e ~0e68ce cecq"},
    {'V', 12, "0q68cq"},
    {'W', 16, "0q488oc8gq"},
    {'X', 12, "0qc8 cq08"},
    {'Y', 12, "0q6hcq 6h68"},
    {'Z', 12, "0qcq08c8"},
    {'[', 4, "4s0s0646"},
    {'\\', 8, "0s85"},
    {']', 4, "0s4s4606"},
    {'^', 10, "0k5qak"},
    {'_', 12, "05c5"},
    {'`', 3, "0q3m"},
    {'a', 10, "ala8 ~ae5l0e58ae"},
    {'b', 10, "0q08 ~0e5lae580e"},
    {'c', 9, "~9j5l0e589a"},
    {'d', 10, "aqa8 ~ae5l0e58ae"},
    {'e', 10, "0eae ~ae5l0e589a"},
    {'f', 7, "~7q4p3m 3m38 0l7l"},
    {'g', 10, "ala6 ~a65204 ~ae5l0e58ae"},
    {'h', 10, "0q08 ~0g5lag aga8"},
    {'i', 2, "1l18 1q"},
    {'j', 4, "3l35 ~352202 3q"},
    {'k', 10, "0q08 9l0d 3ga8"},
    {'l', 4, "1q1b ~1b2948"},
    {'m', 16, "0l08 ~0g4l8g 8g88 ~8gclgg ggg8"},
    {'n', 10, "0l08 ~0g5lag aga8"},
    {'o', 10, "~5lae580e5l"},
    {'p', 10, "0l02 ~0e5lae580e"},
    {'q', 10, "ala2 ~ae5l0e58ae"},
    {'r', 7, "0l08 ~0f3k7l"},
    {'s', 9, "~9j4l0i5e9b480a"},
    {'t', 7, "3q3c ~3c4978 0l7l"},
    {'u', 10, "0l0d ~0d58ad ala8"},
    {'v', 10, "0l58al"},
    {'w', 16, "0l488jc8gl"},
    {'x', 10, "0la8 al08"},
    {'y', 10, "0l58 al32"},
    {'z', 10, "0lal08a8"},
    {'{', 5, "5s3q3j0h3f3856"},
    {'|', 2, "1s16"},
    {'}', 5, "0s2q2j5h2f2806"},
    {'~', 10, "~0f3i7fai"},
};
constexpr char kFirst = ' ', kLast = '~';
static_assert(std::size(kSources) == size_t(kLast - kFirst) + 1);

int digit(char c) {
  return c >= 'a' ? c - 'a' + 10 : c - '0';
}

Point operator+(Point a, Point b) {
  return {a.x + b.x, a.y + b.y};
}
Point operator-(Point a, Point b) {
  return {a.x - b.x, a.y - b.y};
}
Point operator*(Point a, double s) {
  return {a.x * s, a.y * s};
}
double length(Point a) {
  return std::hypot(a.x, a.y);
}
Point unit(Point a) {
  double n = length(a);
  return n > 0 ? a * (1 / n) : Point{0, 0};
}
// The direction with which an arc that leaves along `a` arrives, seen over the chord of the arc.
Point mirrored(Point a, Point chord) {
  Point u = unit(chord);
  return u * (2 * (u.x * a.x + u.y * a.y)) - a;
}

// Cubic pieces whose handles are 0.39 of the chord: for a quarter circle that is the circle.
Polyline smooth(const Polyline& p) {
  const size_t n = p.size();
  if (n < 3) return p;
  const bool closed = p.front().x == p.back().x && p.front().y == p.back().y;
  std::vector<Point> direction(n);
  for (size_t i = 1; i + 1 < n; ++i) direction[i] = unit(p[i + 1] - p[i - 1]);
  if (closed) {
    direction[0] = direction[n - 1] = unit(p[1] - p[n - 2]);
  } else {
    direction[0] = mirrored(direction[1], p[1] - p[0]);
    direction[n - 1] = mirrored(direction[n - 2], p[n - 1] - p[n - 2]);
  }
  Polyline out = {p[0]};
  constexpr int kSteps = 10;
  for (size_t i = 0; i + 1 < n; ++i) {
    const double reach = 0.39 * length(p[i + 1] - p[i]);
    const Point a = p[i], b = a + direction[i] * reach, d = p[i + 1], c = d - direction[i + 1] * reach;
    for (int s = 1; s <= kSteps; ++s) {
      double t = double(s) / kSteps, u = 1 - t;
      out.push_back(a * (u * u * u) + b * (3 * u * u * t) + c * (3 * u * t * t) + d * (t * t * t));
    }
  }
  return out;
}

Glyph build(const Source& source) {
  Glyph g{double(source.width) + 4, {}};
  for (const char* s = source.strokes; *s;) {
    const bool curve = *s == '~';
    if (curve) ++s;
    Polyline line;
    for (; *s && *s != ' '; s += 2) {
      check(s[1] && s[1] != ' ', "half a point in glyph '{}'", source.letter);
      line.push_back({double(digit(s[0])), double(digit(s[1]))});
    }
    if (*s == ' ') ++s;
    g.strokes.push_back(curve ? smooth(line) : line);
  }
  return g;
}

}  // namespace

bool has_glyph(char c) {
  return c >= kFirst && c <= kLast;
}

const Glyph& glyph(char c) {
  static const std::array<Glyph, std::size(kSources)> glyphs = [] {
    std::array<Glyph, std::size(kSources)> all;
    for (size_t i = 0; i < all.size(); ++i) {
      check(kSources[i].letter == char(kFirst + int(i)), "glyph {} of the font is out of order", i);
      all[i] = build(kSources[i]);
    }
    return all;
  }();
  check(has_glyph(c), "no glyph for byte {}", int(c));
  return glyphs[size_t(c - kFirst)];
}

}  // namespace vl8::font
