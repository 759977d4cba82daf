// oneDNN's bf16 matrix product on the same shape, as a yardstick. Milliseconds of one product (median), 0
// without it.
#pragma once
#include <cstdint>
double dnnl_bf16_matmul_ms(int64_t m, int64_t n, int64_t k, int repeats);
