// An encoded weight in memory as the engine takes it: for the forward passes of calibration and of the search.
#pragma once
#include <vector>

#include "quant/writer.h"

namespace vl8 {

struct EncodedLinear {
  Linear linear;
  std::vector<EncodedMatrix> matrices;        // what the parts point to: reserved before parts are added
  std::vector<std::vector<uint16_t>> halves;  // group scales

  EncodedLinear(const Weight& like, size_t parts);
  EncodedLinear(const EncodedLinear&) = delete;
  EncodedLinear& operator=(const EncodedLinear&) = delete;
  EncodedLinear(EncodedLinear&&) = default;
  void add(const Format& format, int64_t rows, EncodedMatrix matrix);
};

// Every part to nearest, without calibration. Formats of keep are not for this.
EncodedLinear encode_in_memory(const Weight& weight, const std::vector<Format>& formats, ScaleRule rule, ThreadPool& pool);

}  // namespace vl8
