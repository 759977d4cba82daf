// The instruction sets for which there are kernels, and the choice among them: the best one this CPU and its
// operating system allow, or the one named by VL8_ISA.
#pragma once
#include <span>
#include <string>
#include <string_view>

#include "cpu/table.h"

namespace vl8::cpu {

struct Isa {
  std::string_view name;
  std::string_view needs;  // for messages
  bool (*supported)();     // asks CPU and operating system; for AMX it also asks for permission
  const KernelTable* table;
};

std::span<const Isa> isa_rows();  // in order of preference, the last is the best
std::string isa_list();           // one line a row, with what this CPU lacks
const Isa& find_isa(
    std::string_view name);  // empty: VL8_ISA, else the best. Unknown or lacking: Error(usage)

}  // namespace vl8::cpu
