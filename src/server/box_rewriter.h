// Boxes and points of an answer, from the model's square of 0..1000 to pixels of the picture, while the answer streams:
// `"bbox_2d": [100, 200, 300, 400]` becomes `"bbox_2d": [64, 96, 192, 192]`. Everything else passes unchanged.
#pragma once
#include <string>
#include <string_view>

#include "media/boxes.h"

namespace vl8 {

class BoxRewriter {
 public:
  explicit BoxRewriter(Size picture) : picture_(picture) {}  // upright pixels of the picture as it was given
  std::string push(std::string_view text);
  std::string finish();

 private:
  std::string take(bool last);
  Size picture_;
  std::string held_;
};

}  // namespace vl8
