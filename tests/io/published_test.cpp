// The published FP8 files, by the shapes of their tensors: sparse files with the real headers, and the golden
// checkpoints with real bytes.
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "core/file.h"
#include "support/paths.h"
#include "tiny_model.h"

namespace vl8 {
namespace {
using namespace testing;

struct Published {
  const char* size;
  uint64_t file_bytes;
  int64_t tensors, scales;
};

std::vector<TensorSpec> layout_specs(const fs::path& file) {
  nlohmann::json layout = nlohmann::json::parse(read_file(file));
  std::vector<TensorSpec> specs;
  for (const auto& [name, t] : layout.items()) {
    Shape shape;
    for (int64_t d : t["shape"]) shape.dims[size_t(shape.rank++)] = d;
    specs.push_back({name, *dtype_from_name(t["dtype"].get<std::string>()), shape});
  }
  return specs;
}

// A file of the real size with the real header; its tensors are holes and take no disk.
void write_sparse(const fs::path& path, const std::vector<TensorSpec>& specs) {
  std::vector<TensorSpec> sorted = specs;
  std::sort(sorted.begin(), sorted.end(), [](const TensorSpec& a, const TensorSpec& b) {
    return std::make_pair(dtype_bytes(b.dtype), a.name) < std::make_pair(dtype_bytes(a.dtype), b.name);
  });
  nlohmann::ordered_json header{{"__metadata__", {{"format", "pt"}}}};
  uint64_t at = 0;
  for (const TensorSpec& s : sorted) {
    header[s.name] = {
        {"dtype", dtype_name(s.dtype)},
        {"shape", std::vector<int64_t>(s.shape.dims.begin(), s.shape.dims.begin() + s.shape.rank)},
        {"data_offsets", {at, at + spec_bytes(s)}}};
    at += spec_bytes(s);
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  write_raw(path, text, at);
}

TEST(Published, Fp8FilesBindAndCount) {
  auto shared = shared_dir();
  if (!shared) GTEST_SKIP() << "the shared folder is not there (VL8_SHARED)";
  for (const Published& p : {Published{"2b", 3'468'553'776, 822, 196},
                             {"4b", 6'021'235'968, 966, 252},
                             {"8b", 10'590'301'040, 1002, 252}}) {
    SCOPED_TRACE(p.size);
    TempFolder dir;
    auto specs = layout_specs(*shared / "qwen3-vl" / "fp8_layout" /
                              ("qwen3-vl-" + std::string(p.size) + "-fp8-tensors.json"));
    auto configs = *shared / "qwen3-vl" / "configs";
    std::string config =
        std::string(p.size) == "2b" ? "2b-fp8.json" : std::string(p.size) + "-fp8.derived.json";
    fs::copy_file(configs / config, dir / "config.json");
    EXPECT_EQ(safetensors_bytes(specs), p.file_bytes) << "the writer's layout is that of the published file";
    write_sparse(dir / "model.safetensors", specs);
    EXPECT_EQ(fs::file_size(dir / "model.safetensors"), p.file_bytes);

    auto b = bind(dir.path(), ReadMode::on_demand);
    EXPECT_EQ(b->report.tensors, p.tensors);
    EXPECT_EQ(b->report.quantised_modules, p.scales);
    EXPECT_EQ(b->report.file_bytes, p.file_bytes);
    EXPECT_TRUE(b->report.warnings.empty()) << b->report.warnings[0];
    const bool tied = b->config.tied;
    EXPECT_EQ(b->report.ignored_bytes,
              tied ? uint64_t(2 * b->config.text.vocab_size * b->config.text.hidden_size) : 0u);
    // Mapped weights, ignored head, and the small tensors that became F32: everything is accounted for.
    int64_t elements = 0;
    for (const StoredTensor& t : b->store->checkpoint().tensors())
      if (!t.name.ends_with("_scale_inv") && !(tied && t.name == "lm_head.weight"))
        elements += t.shape.elements();
    EXPECT_EQ(elements, b->config.parameters().total());
    const Weight& down = b->weights.layers.back().down.weight;
    EXPECT_TRUE(down.is_fp8());
    EXPECT_EQ(down.parts[0].scale_kind, ScaleKind::block);
  }
}

TEST(Published, GoldenCheckpointsBind) {
  auto golden = golden_dir();
  if (!golden) GTEST_SKIP() << "the golden folder is not there (VL8_GOLDEN)";
  for (const char* name :
       {"tiny-dense", "tiny-tied", "tiny-moe", "tiny-dense-fp8", "tiny-moe-fp8", "tiny-moe-fp8-per-expert"}) {
    SCOPED_TRACE(name);
    auto b = bind(*golden / name);
    EXPECT_TRUE(b->report.warnings.empty()) << b->report.warnings[0];
    EXPECT_EQ(b->report.quantised_modules > 0, std::string(name).find("fp8") != std::string::npos);
    int64_t elements = 0;
    for (const StoredTensor& t : b->store->checkpoint().tensors())
      if (t.name.find("scale_inv") == std::string::npos) elements += t.shape.elements();
    EXPECT_EQ(elements, b->config.parameters().total());
  }
}

// Two files of the same weights in two layouts give the same values.
TEST(Published, GoldenExpertLayoutsAgree) {
  auto golden = golden_dir();
  if (!golden) GTEST_SKIP() << "the golden folder is not there (VL8_GOLDEN)";
  auto fused = bind(*golden / "tiny-moe-fp8"), each = bind(*golden / "tiny-moe-fp8-per-expert");
  for (size_t l = 0; l < fused->weights.layers.size(); ++l) {
    const Moe &a = fused->weights.layers[l].moe, &b = each->weights.layers[l].moe;
    for (size_t e = 0; e < a.gate_up.size(); ++e) {
      EXPECT_EQ(all_rows(a.gate_up[e].weight), all_rows(b.gate_up[e].weight)) << l << " " << e;
      EXPECT_EQ(all_rows(a.down[e].weight), all_rows(b.down[e].weight)) << l << " " << e;
    }
  }
  // The FP8 weights are those of the BF16 model, to the precision of E4M3.
  auto bf16 = bind(*golden / "tiny-moe");
  std::vector<float> x = all_rows(bf16->weights.layers[1].moe.down[3].weight),
                     y = all_rows(each->weights.layers[1].moe.down[3].weight);
  double error = 0, square = 0;
  for (size_t i = 0; i < x.size(); ++i) error += std::pow(x[i] - y[i], 2), square += x[i] * x[i];
  EXPECT_LT(std::sqrt(error / square), 0.04);
}

// The largest published model, 471 GB of BF16 with experts that must be turned: refused with both figures, at
// once.
TEST(Published, ExpertsBeyondMemory) {
  auto shared = shared_dir();
  if (!shared) GTEST_SKIP() << "the shared folder is not there (VL8_SHARED)";
  if (available_memory_bytes() > uint64_t(400) << 30) GTEST_SKIP() << "this machine has the memory";
  TempFolder dir;
  fs::copy_file(*shared / "qwen3-vl/configs/235b-a22b.derived.json", dir / "config.json");
  std::vector<TensorSpec> specs;
  for (const LayoutTensor& t : model_layout(load_model_config(dir.path())))
    specs.push_back({t.name, DType::bf16, t.shape});
  write_sparse(dir / "model.safetensors", specs);
  try {
    bind(dir.path(), ReadMode::on_demand);
    ADD_FAILURE() << "loaded";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::resource);
    EXPECT_THAT(e.what(), ::testing::HasSubstr("GB"));
  }
}

}  // namespace
}  // namespace vl8
