#include "cpu/isa.h"

#include <sys/syscall.h>
#include <unistd.h>

#include "core/env.h"
#include "core/error.h"

namespace vl8::cpu {

extern const KernelTable table_scalar, table_avx2, table_avx512, table_avx512_bf16, table_amx;

namespace {
// State components that the operating system saves and restores (XCR0); 0 when it uses no XSAVE at all.
uint64_t saved_state() {
  uint32_t a, b, c = 0, d;
  __asm__("cpuid" : "=a"(a), "=b"(b), "+c"(c), "=d"(d) : "a"(1));
  if (!(c & (1u << 27))) return 0;
  __asm__("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
  return uint64_t(d) << 32 | a;
}
bool saves(uint64_t mask) {
  return (saved_state() & mask) == mask;
}
constexpr uint64_t kYmm = 0x6, kZmm = 0xe6, kTiles = 0x60000;

bool has_avx2() {
  return saves(kYmm) && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
         __builtin_cpu_supports("f16c");
}
bool has_avx512() {
  return has_avx2() && saves(kZmm) && __builtin_cpu_supports("avx512f") &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl");
}
bool has_avx512_bf16() {
  return has_avx512() && __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("gfni");
}
bool has_amx() {
  if (!has_avx512_bf16() || !saves(kTiles) || !__builtin_cpu_supports("amx-tile") ||
      !__builtin_cpu_supports("amx-bf16"))
    return false;
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM; Linux 5.16 and later
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

const Isa kRows[] = {
    {"scalar", "any x86-64", [] { return true; }, &table_scalar},
    {"avx2", "AVX2, FMA, F16C", has_avx2, &table_avx2},
    {"avx512", "AVX-512 F, BW, DQ, VL", has_avx512, &table_avx512},
    {"avx512_bf16", "AVX-512 as above, BF16, GFNI", has_avx512_bf16, &table_avx512_bf16},
    {"amx", "AVX-512 as above, BF16, GFNI, AMX-TILE, AMX-BF16, Linux 5.16", has_amx, &table_amx},
};
}  // namespace

std::span<const Isa> isa_rows() {
  return kRows;
}

std::string isa_list() {
  std::string list;
  for (const Isa& row : kRows)
    list += fmt::format("  {:<12} needs {}{}\n", row.name, row.needs,
                        row.supported() ? "" : " (not on this machine)");
  return list;
}

const Isa& find_isa(std::string_view name) {
  std::string forced = name.empty() ? env("VL8_ISA").value_or("") : std::string(name);
  const Isa* best = &kRows[0];
  for (const Isa& row : kRows) {
    if (!forced.empty() && row.name == forced) {
      if (row.supported()) return row;
      fail_usage("instruction set '{}' needs {}, which this machine lacks; choose one of\n{}", forced,
                 row.needs, isa_list());
    }
    if (forced.empty() && row.supported()) best = &row;
  }
  if (!forced.empty()) fail_usage("unknown instruction set '{}'; there are\n{}", forced, isa_list());
  return *best;
}

}  // namespace vl8::cpu
