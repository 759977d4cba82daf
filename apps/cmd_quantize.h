// `vl8 quantize SRC DST --recipe R [--force] [--json]`.
#pragma once
#include <filesystem>
#include <string>

namespace vl8 {

struct QuantizeArguments {
  std::filesystem::path source, destination;
  std::string recipe = "fp8-block128";
  bool force = false, json = false;
  int threads = 0;  // 0: all
};

// Prints the result on stdout; Ctrl-C stops it and removes what was written. Throws Error.
void run_quantize(const QuantizeArguments& arguments);

}  // namespace vl8
