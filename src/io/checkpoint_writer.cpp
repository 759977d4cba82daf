#include "io/checkpoint_writer.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/file.h"

namespace vl8 {
namespace {
namespace fs = std::filesystem;

fs::path beside(const fs::path& path, const char* word) {
  fs::path p = path;
  p += fmt::format(".{}.{}", getpid(), word);
  return p;
}

void flush_folder(const fs::path& folder) {
  int fd = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;  // some file systems do not open folders; their renames are as durable as they get
  fsync(fd);
  close(fd);
}

// The vision tower in both spellings that readers of these files use, then the routers.
nlohmann::ordered_json ignored_layers(const ModelConfig& config) {
  nlohmann::ordered_json names = {"lm_head"};
  auto add = [&](const std::string& prefix, std::initializer_list<const char*> modules) {
    for (const char* m : modules) names.push_back(prefix + m);
  };
  for (const char* p : {"model.visual.", "visual."})
    add(p, {"merger.linear_fc1", "merger.linear_fc2", "merger.norm", "patch_embed.proj", "pos_embed"});
  for (int64_t i = 0; i < config.vision.depth; ++i) {
    const std::string block = fmt::format("visual.blocks.{}.", i);
    add("model." + block, {"attn.proj", "attn.qkv", "mlp.linear_fc1", "mlp.linear_fc2"});
    add(block, {"attn.proj", "attn.qkv_proj", "mlp.linear_fc1", "mlp.linear_fc2"});
  }
  for (size_t i = 0; i < config.vision.deepstack.size(); ++i)
    for (const char* p : {"model.", ""})
      add(fmt::format("{}visual.deepstack_merger_list.{}.", p, i), {"linear_fc1", "linear_fc2", "norm"});
  for (int64_t i = 0; i < config.text.layers; ++i)
    if (config.text.is_moe_layer(i))
      names.push_back(fmt::format("model.language_model.layers.{}.mlp.gate", i));
  return names;
}

}  // namespace

NewFolder::NewFolder(fs::path destination, bool replace, bool resumable) : destination_(std::move(destination)) {
  while (!destination_.empty() && !destination_.has_filename())
    destination_ = destination_.parent_path();  // "dir/"
  std::error_code ec;
  auto status = fs::symlink_status(destination_, ec);
  if (fs::exists(status) && !fs::is_directory(status))
    fail_input("{} exists and is not a folder", destination_.string());
  if (fs::exists(status) && !replace)
    fail_input("{} exists already; give another name, or --force to replace it", destination_.string());
  fs::path parent = destination_.has_parent_path() ? destination_.parent_path() : fs::path(".");
  if (!fs::is_directory(parent, ec))
    fail_input("there is no folder {} to put {} in", parent.string(), destination_.filename().string());
  aside_ = beside(destination_, "partial");
  if (resumable) aside_ = destination_, aside_ += ".partial";
  if (!fs::create_directory(aside_, ec) && (ec || !resumable))
    fail(ErrorKind::resource, "cannot create {}: {}", aside_.string(), ec.message());
  if (resumable) lock();
}

// The folder itself is locked: the lock ends with the process, whatever ends it.
void NewFolder::lock() {
  lock_ = open(aside_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (lock_ < 0) fail(ErrorKind::resource, "cannot open {}", aside_.string());
  if (flock(lock_, LOCK_EX | LOCK_NB) == 0) return;
  close(lock_);
  fail_input("{} is being written by another process", destination_.string());
}

NewFolder::~NewFolder() {
  std::error_code ec;
  if (!done_) fs::remove_all(aside_, ec);
  if (lock_ >= 0) close(lock_);
}

void NewFolder::commit() {
  flush_folder(aside_);
  std::error_code ec;
  const fs::path old = beside(destination_, "old");
  const bool replaced = fs::exists(destination_, ec);
  if (replaced) fs::rename(destination_, old, ec);
  if (ec) fail(ErrorKind::resource, "cannot replace {}: {}", destination_.string(), ec.message());
  fs::rename(aside_, destination_, ec);
  if (ec) {
    std::error_code ignored;
    if (replaced) fs::rename(old, destination_, ignored);
    fail(ErrorKind::resource, "cannot create {}: {}", destination_.string(), ec.message());
  }
  done_ = true;
  flush_folder(destination_.has_parent_path() ? destination_.parent_path() : fs::path("."));
  if (replaced) fs::remove_all(old, ec);
}

CheckpointWriter::CheckpointWriter(const fs::path& folder, std::vector<TensorSpec> specs,
                                   uint64_t shard_bytes, bool resumable)
    : folder_(folder) {
  std::vector<std::vector<TensorSpec>> shards(1);
  uint64_t used = 0;
  for (TensorSpec& spec : specs) {
    const uint64_t bytes = spec_bytes(spec);
    if (!shards.back().empty() && used + bytes > shard_bytes) shards.emplace_back(), used = 0;
    used += bytes;
    tensor_bytes_ += bytes;
    names_.push_back(spec.name);
    places_.push_back({shards.size() - 1, shards.back().size()});
    shards.back().push_back(std::move(spec));
  }
  for (size_t i = 0; i < shards.size(); ++i) {
    file_names_.push_back(shards.size() == 1
                              ? "model.safetensors"
                              : fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards.size()));
    shards_.push_back(
        std::make_unique<SafetensorsWriter>(folder_ / file_names_.back(), std::move(shards[i]),
                                            std::map<std::string, std::string>{{"format", "pt"}}, resumable));
  }
}

void CheckpointWriter::write(size_t index, size_t offset, std::span<const std::byte> data) {
  shards_[places_[index].shard]->write(places_[index].index, offset, data);
}

void CheckpointWriter::skip(size_t index, size_t offset, size_t count) {
  shards_[places_[index].shard]->skip(places_[index].index, offset, count);
}

void CheckpointWriter::read(size_t index, size_t offset, std::span<std::byte> data) const {
  shards_[places_[index].shard]->read(places_[index].index, offset, data);
}

void CheckpointWriter::flush() const {
  for (const auto& shard : shards_) shard->flush();
}

void CheckpointWriter::commit() {
  for (auto& shard : shards_) shard->commit();
  if (shards_.size() == 1) return;
  nlohmann::ordered_json index;
  index["metadata"]["total_size"] = tensor_bytes_;
  std::map<std::string, std::string> map;
  for (size_t i = 0; i < names_.size(); ++i) map[names_[i]] = file_names_[places_[i].shard];
  index["weight_map"] = map;
  write_file(folder_ / "model.safetensors.index.json", index.dump(2) + "\n");
}

void require_disk_space(const fs::path& folder, uint64_t bytes) {
  const uint64_t reserve = uint64_t(16) << 20, free_bytes = free_disk_bytes(folder);
  if (free_bytes >= bytes + reserve) return;
  fail(ErrorKind::resource, "the result takes {:.1f} MB, and the disk of {} has {:.1f} MB free",
       double(bytes) * 1e-6, folder.string(), double(free_bytes) * 1e-6);
}

std::string with_fp8_config(std::string_view json, const ModelConfig& config) {
  nlohmann::ordered_json root = nlohmann::ordered_json::parse(json);
  root.erase("compression_config");
  root["quantization_config"] = {{"activation_scheme", "dynamic"},
                                 {"fmt", "e4m3"},
                                 {"quant_method", "fp8"},
                                 {"ignored_layers", ignored_layers(config)},
                                 {"weight_block_size", {128, 128}}};
  return root.dump(2) + "\n";
}

}  // namespace vl8
