#include "media/isa.h"

#include "core/env.h"
#include "core/error.h"

namespace vl8::pixel {
namespace {

struct Row {
  const char* name;
  const Kernels* table;
};
constexpr Row kRows[] = {{"scalar", &kScalarKernels},
                         {"avx2", &kAvx2Kernels},
                         {"avx512", &kAvx512Kernels},
                         {"avx512_bf16", &kAvx512Kernels},
                         {"amx", &kAvx512Kernels}};

bool has(const Kernels* table) {
  if (table == &kAvx2Kernels) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (table == &kAvx512Kernels)
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") && has(&kAvx2Kernels);
  return true;
}

const Kernels& choose() {
  if (auto wanted = env("VL8_ISA")) {
    for (const Row& row : kRows) {
      if (*wanted != row.name) continue;
      if (!has(row.table)) fail(ErrorKind::unsupported, "VL8_ISA={}: this CPU does not have it", *wanted);
      return *row.table;
    }
    fail_usage("VL8_ISA={}: it is one of scalar, avx2, avx512, avx512_bf16, amx", *wanted);
  }
  return *supported_kernels().back();
}

}  // namespace

std::vector<const Kernels*> supported_kernels() {
  std::vector<const Kernels*> list;
  for (const Kernels* table : {&kScalarKernels, &kAvx2Kernels, &kAvx512Kernels})
    if (has(table)) list.push_back(table);
  return list;
}

const Kernels& kernels() {
  static const Kernels& chosen = choose();
  return chosen;
}

}  // namespace vl8::pixel
