// Pictures for people: boxes with labels over a picture, and PNG files.
#pragma once
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "media/boxes.h"
#include "media/image.h"

namespace vl8 {

struct Color {
  uint8_t r = 0, g = 0, b = 0;
};

struct DrawOptions {
  double line = 0;  // width of box lines in pixels; 0: from the size of the picture
  double text = 0;  // height of capital letters in pixels; 0: from the size of the picture
};

// `marks` in pixels of the picture. Equal labels share a colour. A label tab holds the label; a label with
// letters outside ASCII (our font has none of them) is drawn as the number of its mark, 1 for the first.
void draw_boxes(Image& image, const std::vector<Mark>& marks, const DrawOptions& options = {});

// Smooth text of the built-in stroke font. (x, y): left end of the base line. Returns the width in pixels.
double draw_text(Image& image, double x, double y, double cap_height, std::string_view text, Color color);
double text_width(double cap_height, std::string_view text);

std::string encode_png(const Image& image);
std::string encode_jpeg(const Image& image, int quality);  // 1..100
void write_png(const std::filesystem::path& path, const Image& image);  // written aside, then renamed

}  // namespace vl8
