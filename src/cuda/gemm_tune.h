// Autotuning: every candidate of a product is timed once on the card, so that no table per device has to be shipped.
#pragma once
#include <span>
#include <string>

#include "cuda/choose/gemm_table.h"
#include "cuda/gemm.h"

namespace vl8::cuda {

// One of the model's products, with the weight itself (it is only read).
struct TunedProduct {
  GemmWeight w;
  int64_t experts = 1;
  int64_t rows_per_token = 1;  // of x: experts a token is sent to
  Format x = Format::bf16, y = Format::bf16;
  bool fused = false;  // silu_mul
};

// Adds to `table` what it lacks for these products at up to max_tokens tokens. Takes up to 600 MB of device
// memory for x and y while it runs and synchronises context.stream. Returns how many choices were measured.
int tune_gemms(std::span<const TunedProduct> products, int64_t max_tokens, const GemmContext& context, GemmTable& table);

// $XDG_CACHE_HOME/vl8 or ~/.cache/vl8, one file a device name; empty when there is no home.
std::string gemm_table_file(const std::string& device_name);
GemmTable load_gemm_table(const std::string& file, const std::string& device_name, const GemmContext& context);
// Written aside and renamed. A folder that cannot be written costs a warning, not the start.
void save_gemm_table(const GemmTable& table, const std::string& file, const std::string& device_name);

}  // namespace vl8::cuda
