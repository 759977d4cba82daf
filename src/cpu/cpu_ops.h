// The CPU backend of Ops: kernels of the best (or the named) instruction set on a pool of threads of its own.
// Activations are F32. The key/value cache is bf16 in Precision::bf16 and F32 otherwise.
#pragma once
#include <memory>
#include <string_view>

#include "ops/ops.h"

namespace vl8 {

// threads 0: VL8_THREADS, else all CPUs this process may use. isa empty: VL8_ISA, else the best. Error(usage)
// for an unknown instruction set or one this machine lacks.
// batch_invariant: see Ops::batch_invariant; precisions other than bf16 always are.
std::unique_ptr<Ops> make_cpu_ops(Precision precision, int threads = 0, std::string_view isa = "",
                                  bool batch_invariant = false);

namespace cpu {
struct Isa;
std::unique_ptr<Ops> make_ops(Precision precision, int threads, const Isa& isa,
                              bool batch_invariant = false);  // with kernels of the caller's choice
}  // namespace cpu

}  // namespace vl8
