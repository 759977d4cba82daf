#include "io/checkpoint.h"

#include <simdjson.h>

#include <algorithm>
#include <map>
#include <set>

#include "core/error.h"
#include "core/file.h"

namespace vl8 {
namespace {
namespace fs = std::filesystem;

constexpr const char* kSingle = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";

// "a, b, c and 4 more"
std::string listed(const std::vector<std::string>& items, size_t show = 5) {
  std::string s;
  for (size_t i = 0; i < std::min(items.size(), show); ++i) s += (i ? ", " : "") + items[i];
  if (items.size() > show) s += fmt::format(" and {} more", items.size() - show);
  return s;
}

bool is_plain_file_name(std::string_view name) {
  return !name.empty() && name != "." && name != ".." &&
         name.find_first_of(std::string_view("/\\\0", 3)) == name.npos;
}

// name of tensor -> name of file, as the index gives them
using WeightMap = std::map<std::string, std::string>;

WeightMap read_index(const fs::path& path) {
  simdjson::dom::parser parser;
  simdjson::padded_string text(read_file(path));
  simdjson::dom::element root;
  simdjson::dom::object map;
  if (auto error = parser.parse(text).get(root))
    fail_input("{} is not valid JSON ({}): the download is incomplete or damaged", path.string(),
               simdjson::error_message(error));
  if (root["weight_map"].get(map)) fail_input("{} has no weight_map", path.string());
  WeightMap result;
  for (auto [name, value] : map) {
    std::string_view file;
    if (value.get(file) || !is_plain_file_name(file))
      fail_input("{}: weight_map entry '{}' is not the name of a file in this folder", path.string(), name);
    if (!result.emplace(name, file).second)
      fail_input("{}: weight_map names '{}' twice", path.string(), name);
  }
  if (result.empty()) fail_input("{}: weight_map is empty", path.string());
  return result;
}

// Says what is in the folder instead, where that helps.
[[noreturn]] void fail_no_weights(const fs::path& folder) {
  static const std::pair<const char*, const char*> kOther[] = {{".gguf", "GGUF"},
                                                               {".bin", "PyTorch .bin"},
                                                               {".pth", "PyTorch .pth"},
                                                               {".pt", "PyTorch .pt"},
                                                               {".onnx", "ONNX"}};
  std::error_code ec;
  std::string found, partial;
  for (const auto& entry : fs::directory_iterator(folder, ec)) {
    std::string name = entry.path().filename().string(), extension = entry.path().extension().string();
    for (auto [suffix, word] : kOther)
      if (extension == suffix)
        found = fmt::format("; it holds {} weights ({}), which vl8 does not read", word, name);
    if (extension == ".safetensors" || extension == ".incomplete" || extension == ".part" ||
        extension == ".crdownload")
      partial = fmt::format("; it holds {}: the download is incomplete (the index is missing)", name);
  }
  fail_input("{} has no weights: neither {} nor {} is there{}", folder.string(), kSingle, kIndex,
             partial.empty() ? found : partial);
}

void check_against_index(const fs::path& index_path, const WeightMap& map, const std::string& file_name,
                         const SafetensorsFile& file) {
  std::vector<std::string> wrong, unknown;
  for (const TensorEntry& entry : file.tensors()) {
    auto it = map.find(entry.name);
    if (it == map.end())
      unknown.push_back(entry.name);
    else if (it->second != file_name)
      wrong.push_back(entry.name + " (expected in " + it->second + ")");
  }
  if (!wrong.empty())
    fail_input("{}: it holds tensors that {} puts elsewhere: {}", file.path().string(), kIndex,
               listed(wrong));
  if (!unknown.empty())
    fail_input("{}: it holds tensors that {} does not list: {}", file.path().string(), kIndex,
               listed(unknown));
  std::vector<std::string> absent;
  for (const auto& [name, where] : map)
    if (where == file_name && !file.find(name)) absent.push_back(name);
  if (!absent.empty())
    fail_input(
        "{} says that {} holds {}, but it does not: the files are of different versions; download them again",
        index_path.string(), file_name, listed(absent));
}

}  // namespace

std::string canonical_name(std::string_view stored) {
  constexpr std::string_view kModel = "model.", kNested = "language_model.model.",
                             kHead = "language_model.lm_head.";
  if (stored.starts_with(kModel)) stored.remove_prefix(kModel.size());
  if (stored.starts_with(kNested)) return "language_model." + std::string(stored.substr(kNested.size()));
  if (stored.starts_with(kHead)) return "lm_head." + std::string(stored.substr(kHead.size()));
  return std::string(stored);
}

void require_model_folder(const fs::path& folder) {
  std::error_code ec;
  auto status = fs::status(folder, ec);
  if (!fs::exists(status)) fail_input("there is no folder {}", folder.string());
  if (!fs::is_directory(status))
    fail_input("{} is a file; give the model folder, the one with config.json and the .safetensors files",
               folder.string());
  if (is_file(folder / "config.json")) return;
  if (fs::is_directory(folder / "snapshots", ec))
    fail_input("{} is a download cache, not a model folder: give one of the folders in {}", folder.string(),
               (folder / "snapshots").string());
  fail_input("{} is not a model folder: it has no config.json", folder.string());
}

Checkpoint::Checkpoint(const fs::path& folder) : folder_(folder) {
  require_model_folder(folder);
  if (is_file(folder / kSingle)) {
    add_file(SafetensorsFile(folder / kSingle));
    return;
  }
  fs::path index_path = folder / kIndex;
  if (!is_file(index_path)) fail_no_weights(folder);
  WeightMap map = read_index(index_path);
  std::set<std::string> names;
  for (const auto& [tensor, file] : map) names.insert(file);
  std::vector<std::string> missing;
  for (const std::string& name : names)
    if (!is_file(folder / name)) missing.push_back(name);
  if (!missing.empty())
    fail_input("{} is incomplete: {} of {} weight files are missing: {}", folder.string(), missing.size(),
               names.size(), listed(missing));
  for (const std::string& name : names) {
    SafetensorsFile file(folder / name);
    check_against_index(index_path, map, name, file);
    add_file(std::move(file));
  }
}

void Checkpoint::add_file(SafetensorsFile file) {
  for (const TensorEntry& entry : file.tensors()) {
    StoredTensor tensor{canonical_name(entry.name),
                        entry.name,
                        files_.size(),
                        entry.dtype,
                        entry.shape,
                        entry.offset,
                        entry.bytes};
    auto [it, added] = index_.emplace(tensor.name, tensors_.size());
    if (!added)
      fail_input("{}: the tensors '{}' and '{}' are two spellings of one name", file.path().string(),
                 entry.name, tensors_[it->second].stored);
    tensors_.push_back(std::move(tensor));
  }
  files_.push_back(std::move(file));
}

const StoredTensor* Checkpoint::find(std::string_view name) const {
  auto it = index_.find(std::string(name));
  return it == index_.end() ? nullptr : &tensors_[it->second];
}

const StoredTensor& Checkpoint::at(std::string_view name) const {
  if (const StoredTensor* tensor = find(name)) return *tensor;
  fail_input("{} has no tensor '{}'", folder_.string(), name);
}

std::span<const std::byte> Checkpoint::bytes(const StoredTensor& tensor) const {
  return files_[tensor.file].file().bytes().subspan(tensor.offset, tensor.bytes);
}

uint64_t Checkpoint::tensor_bytes() const {
  uint64_t sum = 0;
  for (const StoredTensor& tensor : tensors_) sum += tensor.bytes;
  return sum;
}

uint64_t Checkpoint::file_bytes() const {
  uint64_t sum = 0;
  for (const SafetensorsFile& file : files_) sum += file.file_bytes();
  return sum;
}

}  // namespace vl8
