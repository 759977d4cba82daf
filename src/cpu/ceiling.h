// What this machine can do at most, measured: the yardsticks of every benchmark. Take them in the same run as
// the figures they judge, since clocks and neighbours change.
#pragma once
#include <string_view>

#include "cpu/isa.h"

namespace vl8::cpu {

// Reading a buffer much larger than the caches, all threads, best of several passes. Takes 1 GiB for the
// moment.
double measure_read_ceiling_gbs(int threads);

// Matrix arithmetic of the set's bf16 path (float32 FMA where it has no other) on registers, best of several
// passes.
double measure_matmul_peak_tflops(const Isa& isa, int threads);

}  // namespace vl8::cpu
