// Inside media only: which table of kernels this process uses.
#pragma once
#include <vector>

#include "media/kernels.h"

namespace vl8::pixel {

// The best this CPU has, or the one VL8_ISA names (avx512_bf16 and amx have the AVX-512 table). Error(usage)
// for an unknown name, Error(unsupported) for one that this CPU has not.
const Kernels& kernels();
std::vector<const Kernels*> supported_kernels();  // scalar first; for tests

}  // namespace vl8::pixel
