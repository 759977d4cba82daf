// From pixels of a camera to millimetres of the plane it looks at: one scale for a camera that looks straight down, or four
// points for one that looks at an angle (a projective map).
#pragma once
#include <array>
#include <span>

namespace vl8::watch {

class Calibration {
 public:
  // x_mm = (x_px - origin_x) / pixels_per_mm, y likewise.
  static Calibration scale(double pixels_per_mm, double origin_x = 0, double origin_y = 0);
  // Sixteen numbers: four times pixel x, y, millimetre x, y. Error(usage) where three of the points lie on a line.
  static Calibration four_points(std::span<const double> points);
  std::array<double, 2> to_mm(double x, double y) const;

 private:
  std::array<double, 9> map_{1, 0, 0, 0, 1, 0, 0, 0, 1};  // row by row, of homogeneous pixels
};

}  // namespace vl8::watch
