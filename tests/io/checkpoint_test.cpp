#include "io/checkpoint.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "tiny_model.h"

namespace vl8 {
namespace {
using testing::error_of;
using ::testing::HasSubstr;
using testing::TempFolder;
using testing::Tensors;
using testing::write_tensors;
using testing::write_text;

Tensors numbered(int begin, int end) {
  Tensors t;
  for (int i = begin; i < end; ++i)
    t["model.language_model.t" + std::to_string(i)] = testing::stored(DType::f32, {2}, {float(i), 1});
  return t;
}

struct Sharded {
  TempFolder dir;
  nlohmann::json index;
  Sharded() {
    write_text(dir / "config.json", "{}");
    for (int s = 0; s < 3; ++s) {
      std::string file = "model-0000" + std::to_string(s + 1) + "-of-00003.safetensors";
      Tensors t = numbered(s * 4, s * 4 + 4);
      write_tensors(dir / file, t);
      for (const auto& [name, tensor] : t) index["weight_map"][name] = file;
    }
    index["metadata"]["total_size"] = 96;
  }
  std::string error() {
    write_text(dir / "model.safetensors.index.json", index.dump());
    return error_of([&] { Checkpoint c(dir.path()); });
  }
};

TEST(Checkpoint, Shards) {
  Sharded s;
  ASSERT_EQ(s.error(), "");
  Checkpoint c(s.dir.path());
  EXPECT_EQ(c.files().size(), 3u);
  EXPECT_EQ(c.tensors().size(), 12u);
  EXPECT_EQ(c.tensor_bytes(), 96u);
  const StoredTensor& t = c.at("language_model.t6");
  EXPECT_EQ(t.stored, "model.language_model.t6");
  float value;
  std::memcpy(&value, c.bytes(t).data(), 4);
  EXPECT_EQ(value, 6);
  EXPECT_EQ(c.find("language_model.t12"), nullptr);
  EXPECT_THAT(error_of([&] { c.at("nope"); }), HasSubstr("nope"));
}

TEST(Checkpoint, BrokenShardSetsAreNamed) {
  {
    Sharded s;
    std::filesystem::remove(s.dir / "model-00002-of-00003.safetensors");
    EXPECT_THAT(s.error(), HasSubstr("1 of 3 weight files are missing: model-00002-of-00003.safetensors"));
  }
  {
    Sharded s;
    auto file = s.dir / "model-00002-of-00003.safetensors";
    std::filesystem::resize_file(file, std::filesystem::file_size(file) - 3);
    EXPECT_THAT(s.error(),
                ::testing::AllOf(HasSubstr("model-00002-of-00003.safetensors"), HasSubstr("incomplete")));
  }
  {
    Sharded s;
    s.index["weight_map"]["model.language_model.t0"] = "model-00002-of-00003.safetensors";
    EXPECT_THAT(s.error(), ::testing::AllOf(HasSubstr("model-00001-of-00003"),
                                            HasSubstr("t0 (expected in model-00002")));
  }
  {
    Sharded s;
    s.index["weight_map"].erase("model.language_model.t5");
    EXPECT_THAT(s.error(), ::testing::AllOf(HasSubstr("model-00002-of-00003"),
                                            HasSubstr("does not list: model.language_model.t5")));
  }
  {
    Sharded s;
    s.index["weight_map"]["model.language_model.x"] = "model-00003-of-00003.safetensors";
    EXPECT_THAT(s.error(), HasSubstr("holds model.language_model.x, but it does not"));
  }
  for (const char* bad : {"../model-00001-of-00003.safetensors", "/etc/passwd", "", ".."}) {
    Sharded s;
    s.index["weight_map"]["model.language_model.t0"] = bad;
    EXPECT_THAT(s.error(), HasSubstr("not the name of a file")) << bad;
  }
  {
    Sharded s;
    s.index["weight_map"] = nlohmann::json::object();
    EXPECT_THAT(s.error(), HasSubstr("empty"));
    s.index.erase("weight_map");
    EXPECT_THAT(s.error(), HasSubstr("no weight_map"));
    write_text(s.dir / "model.safetensors.index.json", "{\"weight_map\": {\"a\":");
    EXPECT_THAT(error_of([&] { Checkpoint c(s.dir.path()); }), HasSubstr("not valid JSON"));
    write_text(s.dir / "model.safetensors.index.json", R"({"weight_map": {"a": "x", "a": "y"}})");
    EXPECT_THAT(error_of([&] { Checkpoint c(s.dir.path()); }), HasSubstr("twice"));
  }
}

TEST(Checkpoint, WrongFolders) {
  TempFolder dir;
  auto open_error = [](const std::filesystem::path& p) { return error_of([&] { Checkpoint c(p); }); };
  EXPECT_THAT(open_error(dir / "none"), HasSubstr("there is no folder"));
  write_text(dir / "photo.jpg", "x");
  EXPECT_THAT(open_error(dir / "photo.jpg"), HasSubstr("is a file; give the model folder"));
  EXPECT_THAT(open_error(dir.path()), HasSubstr("no config.json"));
  std::filesystem::create_directories(dir / "snapshots/abc");
  EXPECT_THAT(open_error(dir.path()), HasSubstr("snapshots"));
  write_text(dir / "config.json", "{}");
  EXPECT_THAT(open_error(dir.path()), HasSubstr("has no weights"));
  write_text(dir / "m.gguf", "x");
  EXPECT_THAT(open_error(dir.path()), HasSubstr("GGUF"));
  write_text(dir / "model-00001-of-00002.safetensors", "x");
  EXPECT_THAT(open_error(dir.path()), HasSubstr("incomplete"));
  write_text(dir / "model.safetensors", "version https://git-lfs.github.com/spec/v1\n");
  EXPECT_THAT(open_error(dir.path()), HasSubstr("LFS"));
}

TEST(Checkpoint, Spellings) {
  EXPECT_EQ(canonical_name("model.language_model.norm.weight"), "language_model.norm.weight");
  EXPECT_EQ(canonical_name("language_model.norm.weight"), "language_model.norm.weight");
  EXPECT_EQ(canonical_name("model.visual.pos_embed.weight"), "visual.pos_embed.weight");
  EXPECT_EQ(canonical_name("visual.pos_embed.weight"), "visual.pos_embed.weight");
  EXPECT_EQ(canonical_name("lm_head.weight"), "lm_head.weight");
  EXPECT_EQ(canonical_name("language_model.model.layers.0.x"), "language_model.layers.0.x");
  EXPECT_EQ(canonical_name("language_model.lm_head.weight"), "lm_head.weight");
  TempFolder dir;
  Tensors t{{"model.visual.a", testing::stored(DType::f32, {1}, {1})},
            {"visual.a", testing::stored(DType::f32, {1}, {2})}};
  testing::write_model(dir.path(), "{}", t);
  EXPECT_THAT(error_of([&] { Checkpoint c(dir.path()); }), HasSubstr("two spellings"));
}

}  // namespace
}  // namespace vl8
