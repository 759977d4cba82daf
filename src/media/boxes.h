// What a model of this family writes about places: boxes and points in a square of 0..1000 in x and y over
// the whole picture (spec 9.4), and their way back to pixels. The resize in front of the model does not
// matter: the square is relative to the picture as it was given (upright).
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "media/resize.h"

namespace vl8 {

struct Mark {
  bool is_point = false;
  double x1 = 0, y1 = 0, x2 = 0, y2 = 0;  // corners of a box; a point has x2 = x1, y2 = y1
  std::string label;                      // may be empty
};

// All boxes ("bbox_2d", "bbox", "box_2d", "box") and points ("point_2d", "point") in an answer, in order:
// fenced
// ```json blocks, a list, a single object, objects inside prose, and the whole objects of a list that was cut
// off. Corners are put in order. Anything that is not a mark is passed over; an answer without marks gives an
// empty list.
std::vector<Mark> parse_marks(std::string_view answer);

inline constexpr double kSquare = 1000;
Mark square_to_pixels(const Mark& mark, Size picture);  // clamped to the picture
Mark pixels_to_square(const Mark& mark, Size picture);
// From the pixels of the resized picture (other families answer so) to those of the original.
Mark resized_to_pixels(const Mark& mark, Size resized, Size picture);

// Rounded to whole units, as the family writes it: [{"bbox_2d": [x1, y1, x2, y2], "label": "..."}, ...]
std::string marks_json(const std::vector<Mark>& marks);

}  // namespace vl8
