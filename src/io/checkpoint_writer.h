// Writing a model folder: the folder itself (whole or not at all), its weights in one file or in shards with
// an index, and the config of an FP8 checkpoint in the official spelling.
#pragma once
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/safetensors.h"
#include "model/config.h"

namespace vl8 {

// A folder that appears under its name in commit(), complete and flushed to disk. Until then it lies beside
// it as NAME.<pid>.partial, which the destructor removes, whatever ended the work.
class NewFolder {
 public:
  // Throws Error(input) when the destination exists (and `replace` is false), is not a folder, or its parent
  // is missing.
  // Resumable: it lies beside as NAME.partial, where an earlier one that was killed may have left its work; it is
  // locked against a second writer, and still removed by the destructor.
  NewFolder(std::filesystem::path destination, bool replace, bool resumable = false);
  ~NewFolder();
  NewFolder(const NewFolder&) = delete;
  NewFolder& operator=(const NewFolder&) = delete;
  const std::filesystem::path& path() const { return aside_; }  // write here
  void commit();  // an old folder of that name is removed only after the new one is in its place

 private:
  void lock();
  std::filesystem::path destination_, aside_;
  bool done_ = false;
  int lock_ = -1;
};

// model.safetensors, or above `shard_bytes` of tensors model-00001-of-000NN.safetensors and the index. Shards
// are filled in the order of `specs`. Any thread may write, in any order.
class CheckpointWriter {
 public:
  CheckpointWriter(const std::filesystem::path& folder, std::vector<TensorSpec> specs, uint64_t shard_bytes,
                   bool resumable = false);
  void write(size_t index, size_t offset, std::span<const std::byte> data);
  void skip(size_t index, size_t offset, size_t count);  // as of SafetensorsWriter
  void read(size_t index, size_t offset, std::span<std::byte> data) const;
  void flush() const;
  void commit();
  int64_t files() const { return int64_t(shards_.size()); }
  uint64_t tensor_bytes() const { return tensor_bytes_; }

 private:
  struct Place {
    size_t shard, index;
  };
  std::filesystem::path folder_;
  std::vector<std::string> names_, file_names_;
  std::vector<Place> places_;
  std::vector<std::unique_ptr<SafetensorsWriter>> shards_;
  uint64_t tensor_bytes_ = 0;
};

// Throws Error(resource) that says what is needed and what is free.
void require_disk_space(const std::filesystem::path& folder, uint64_t bytes);

// The text of config.json with the quantization_config of the published FP8 checkpoints (E4M3, 128x128
// blocks, dynamic activations, `ignored_layers` of this model's modules). `config` is the parsed form of
// `json`.
std::string with_fp8_config(std::string_view json, const ModelConfig& config);

}  // namespace vl8
