#include "inspect_report.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "io/random_checkpoint.h"
#include "support/paths.h"
#include "tiny_model.h"

namespace vl8 {
namespace {
using namespace testing;
using ::testing::HasSubstr;

TEST(Inspect, CountsAndSums) {
  ThreadPool pool(1);
  for (bool moe : {false, true}) {
    TempFolder dir;
    write_random_checkpoint(dir / "m", tiny_config(moe),
                            {.format = RandomFormat::fp8, .show_progress = false}, pool);
    Checkpoint checkpoint(dir / "m");
    InspectReport r = inspect_model(load_model_config(dir / "m"), checkpoint, 100);
    EXPECT_EQ(r.quantised_modules, r.language_linears) << "all of them";
    EXPECT_EQ(r.language_linears, moe ? 2 * (4 + 2 * 3) : 2 * 7);
    EXPECT_EQ(r.quantisation, "E4M3, 128x128 blocks, F32 scales, dynamic activations");
    uint64_t by_dtype = 0, by_part = 0;
    for (const auto& [name, bytes] : r.bytes_by_dtype) by_dtype += bytes;
    for (const auto& [name, bytes] : r.bytes_by_part) by_part += bytes;
    EXPECT_EQ(by_dtype, checkpoint.tensor_bytes());
    EXPECT_EQ(by_part, checkpoint.tensor_bytes());
    EXPECT_FALSE(r.bytes_by_part.contains("other"));
    EXPECT_EQ(r.kv_bytes, 100u * 2 * 2 * 2 * 16 * 2);
    EXPECT_EQ(r.total_bytes, r.needed_bytes + r.kv_bytes + r.activation_bytes);
    auto j = nlohmann::json::parse(inspect_json(r));
    EXPECT_EQ(j["parameters"]["total"], r.parameters.total());
    EXPECT_EQ(j["memory"]["total_bytes"], r.total_bytes);
    EXPECT_THAT(inspect_text(r), HasSubstr("language linears: E4M3"));
    EXPECT_THAT(error_of([&] { inspect_model(r.config, checkpoint, 100000); }),
                HasSubstr("beyond the model's 512"));
  }
}

TEST(Inspect, GoldenModels) {
  auto golden = golden_dir();
  if (!golden) GTEST_SKIP() << "the golden folder is not there (VL8_GOLDEN)";
  for (auto [name, quantised, scheme] :
       {std::tuple{"tiny-dense", 0, "none"},
        {"tiny-dense-fp8", 28, "E4M3, 128x128 blocks, BF16 scales, dynamic activations"},
        {"tiny-moe-fp8", 3 * (4 + 16), "E4M3, 128x128 blocks, BF16 scales, dynamic activations"},
        {"tiny-moe-fp8-per-expert", 3 * (4 + 24),
         "E4M3, 128x128 blocks, BF16 scales, dynamic activations"}}) {
    InspectReport r = inspect_model(load_model_config(*golden / name), Checkpoint(*golden / name));
    EXPECT_EQ(r.quantised_modules, quantised) << name;
    EXPECT_EQ(r.quantisation, scheme) << name;
    EXPECT_EQ(r.context, 4096);
  }
}

}  // namespace
}  // namespace vl8
