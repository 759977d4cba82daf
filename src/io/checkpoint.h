// A model folder's weights: one model.safetensors, or the shards that model.safetensors.index.json lists.
// Opening reads headers only. Names are canonical: without the leading `model.`, so
// `language_model.layers.0.mlp.gate_proj .weight`, `visual.pos_embed.weight`, `lm_head.weight`, whichever
// spelling the files use (spec section 2).
#pragma once
#include <filesystem>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "io/safetensors.h"

namespace vl8 {

struct StoredTensor {
  std::string name;    // canonical
  std::string stored;  // as the file spells it
  size_t file = 0;     // index into Checkpoint::files()
  DType dtype = DType::f32;
  Shape shape;
  size_t offset = 0, bytes = 0;  // in the file
};

class Checkpoint {
 public:
  Checkpoint() = default;
  // Throws Error(input) that names the file and what is missing: not a model folder, other weight formats
  // only, a missing or incomplete shard, a tensor in the wrong shard or in none, an unreadable index.
  explicit Checkpoint(const std::filesystem::path& folder);

  const std::filesystem::path& folder() const { return folder_; }
  const std::vector<SafetensorsFile>& files() const { return files_; }
  const std::vector<StoredTensor>& tensors() const {
    return tensors_;
  }  // by file, then in the order of their bytes
  const StoredTensor* find(std::string_view canonical_name) const;  // null when absent
  const StoredTensor& at(std::string_view canonical_name) const;    // Error(input) when absent
  std::span<const std::byte> bytes(const StoredTensor& tensor) const;
  uint64_t tensor_bytes() const;  // of all tensors
  uint64_t file_bytes() const;    // of all files

 private:
  void add_file(SafetensorsFile file);
  std::filesystem::path folder_;
  std::vector<SafetensorsFile> files_;
  std::vector<StoredTensor> tensors_;
  std::unordered_map<std::string, size_t> index_;
};

std::string canonical_name(std::string_view stored);

// Error(input) in one sentence when `folder` is not there, is a file, or holds no config.json.
void require_model_folder(const std::filesystem::path& folder);

}  // namespace vl8
