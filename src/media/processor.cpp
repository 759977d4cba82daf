// Settings of a model folder. Files and defaults: spec 1.6.
#include "media/processor.h"

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/file.h"
#include "core/log.h"

namespace vl8 {
namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;

constexpr size_t kMaxConfigBytes = size_t(4) << 20;
constexpr double kRescale = 1.0 / 255;
constexpr int kBicubic = 3;

// One section of settings: knows where it came from, so that errors can say it.
struct Section {
  std::string where;  // file, and the key inside it
  Json values;

  const Json* find(const char* key) const {
    auto it = values.find(key);
    return it == values.end() || it->is_null() ? nullptr : &*it;
  }
  template <typename... Args>
  [[noreturn]] void refuse(const char* key, fmt::format_string<Args...> text, Args&&... args) const {
    fail_input("{}: \"{}\" {}", where, key, fmt::format(text, std::forward<Args>(args)...));
  }
  void integer(const char* key, int64_t low, int64_t high, int64_t& to) const {
    const Json* v = find(key);
    if (v) to = integer_of(key, *v, low, high);
  }
  int64_t integer_of(const char* key, const Json& v, int64_t low, int64_t high) const {
    double d = v.is_number() ? v.get<double>() : std::nan("");
    if (!(d >= double(low) && d <= double(high)) || d != std::floor(d))
      refuse(key, "is {}, it must be a whole number from {} to {}", v.dump(), low, high);
    return int64_t(d);
  }
  void boolean(const char* key, bool& to) const {
    const Json* v = find(key);
    if (v && !v->is_boolean()) refuse(key, "is {}, it must be true or false", v->dump());
    if (v) to = v->get<bool>();
  }
};

void read_triple(const Section& s, const char* key, bool positive, float (&to)[3]) {
  const Json* v = s.find(key);
  if (!v) return;
  if (!v->is_array() || v->size() != 3) s.refuse(key, "is {}, it must be three numbers", v->dump());
  for (size_t i = 0; i < 3; ++i) {
    const Json& e = (*v)[i];
    double d = e.is_number() ? e.get<double>() : std::nan("");
    if (!(std::abs(d) <= 1000) || (positive && d < 1e-6))
      s.refuse(key, "holds {}, it must be a {} number", e.dump(), positive ? "positive" : "finite");
    to[i] = float(d);
  }
}

void read_layout(const Section& s, PatchLayout& layout) {
  int64_t patch = layout.patch, temporal = layout.temporal, merge = layout.merge;
  s.integer("patch_size", 1, 256, patch);
  s.integer("temporal_patch_size", 1, 16, temporal);
  s.integer("merge_size", 1, 16, merge);
  layout.patch = int(patch), layout.temporal = int(temporal), layout.merge = int(merge);
  read_triple(s, "image_mean", false, layout.mean);
  read_triple(s, "image_std", true, layout.std);
}

void read_budget(const Section& s, PixelBudget& budget) {
  constexpr int64_t kMost = int64_t(1) << 40;
  if (const Json* size = s.find("size")) {
    if (!size->is_object()) s.refuse("size", "is {}, it must be an object", size->dump());
    for (auto [key, to] :
         {std::pair{"shortest_edge", &budget.min_pixels}, std::pair{"longest_edge", &budget.max_pixels}}) {
      auto it = size->find(key);
      if (it == size->end()) s.refuse("size", "has no \"{}\" (a number of pixels)", key);
      *to = s.integer_of(key, *it, 0, kMost);
    }
  }
  s.integer("min_pixels", 0, kMost, budget.min_pixels);
  s.integer("max_pixels", 1, kMost, budget.max_pixels);
  if (budget.min_pixels > budget.max_pixels || budget.max_pixels < 1)
    s.refuse("size", "allows from {} to {} pixels", budget.min_pixels, budget.max_pixels);
}

// Steps that vl8 always takes in the published way; another setting would silently change the pixels.
void check_fixed_steps(const Section& s) {
  for (const char* key : {"do_rescale", "do_normalize", "do_convert_rgb"}) {
    bool on = true;
    s.boolean(key, on);
    if (!on) fail(ErrorKind::unsupported, "{}: \"{}\" is false; vl8 always does it", s.where, key);
  }
  if (const Json* v = s.find("rescale_factor"))
    if (!v->is_number() || std::abs(v->get<double>() - kRescale) > 1e-9)
      fail(ErrorKind::unsupported, "{}: \"rescale_factor\" is {}; vl8 does 1/255", s.where, v->dump());
  if (const Json* v = s.find("resample"))
    if (*v != kBicubic && *v != "bicubic")
      fail(ErrorKind::unsupported, "{}: \"resample\" is {}; vl8 does 3 (bicubic)", s.where, v->dump());
}

ResizePath path_of(const Section& s, const char* key) {
  const Json* v = s.find(key);
  return v && v->is_string() && v->get<std::string>().ends_with("Pil") ? ResizePath::pil
                                                                       : ResizePath::torchvision;
}

void read_image(const Section& s, ImageSettings& to) {
  read_layout(s, to.layout);
  read_budget(s, to.budget);
  check_fixed_steps(s);
  s.boolean("do_resize", to.do_resize);
  to.path = path_of(s, "image_processor_type");
}

void read_video(const Section& s, VideoSettings& to) {
  read_layout(s, to.layout);
  read_budget(s, to.budget);
  check_fixed_steps(s);
  s.boolean("do_resize", to.do_resize);
  s.boolean("do_sample_frames", to.do_sample_frames);
  s.boolean("cap_pixels_per_frame", to.cap_pixels_per_frame);
  s.integer("max_video_tokens", 1, 1 << 30, to.max_video_tokens);
  s.integer("min_frames", 1, 1 << 20, to.min_frames);
  s.integer("max_frames", 1, 1 << 20, to.max_frames);
  if (to.min_frames > to.max_frames)
    s.refuse("min_frames", "{} is more than max_frames {}", to.min_frames, to.max_frames);
  if (const Json* v = s.find("fps")) {
    double fps = v->is_number() ? v->get<double>() : std::nan("");
    if (!(fps > 0 && fps <= 1000))
      s.refuse("fps", "is {}, it must be a number of frames per second", v->dump());
    to.fps = fps;
  }
  if (s.find("num_frames")) {
    int64_t n = 0;
    s.integer("num_frames", 1, 1 << 20, n);
    to.num_frames = n;
  }
}

std::optional<Json> read_json(const fs::path& path) {
  if (!vl8::is_file(path)) return std::nullopt;
  Json json = Json::parse(read_file(path, kMaxConfigBytes), nullptr, false);
  if (json.is_discarded()) fail_input("{}: not valid JSON; is the download complete?", path.string());
  if (!json.is_object()) fail_input("{}: not a JSON object", path.string());
  return json;
}

// The section of the joint file wins over the file of its own, as in the reference.
std::optional<Section> find_section(const fs::path& folder, const char* key, const char* own_file) {
  const fs::path joint = folder / "processor_config.json", own = folder / own_file;
  if (auto json = read_json(joint); json && json->contains(key)) {
    Section s{fmt::format("{}, \"{}\"", joint.string(), key), (*json)[key]};
    if (!s.values.is_object()) fail_input("{}: not an object", s.where);
    return s;
  }
  if (auto json = read_json(own)) return Section{own.string(), std::move(*json)};
  spdlog::warn("{} is missing: using the published settings of Qwen3-VL", own.string());
  return std::nullopt;
}

}  // namespace

ProcessorConfig ProcessorConfig::load(const fs::path& folder) {
  std::error_code ec;
  if (!fs::is_directory(folder, ec)) fail_input("{} is not a model folder", folder.string());
  ProcessorConfig config;
  if (auto s = find_section(folder, "image_processor", "preprocessor_config.json"))
    read_image(*s, config.image);
  if (auto s = find_section(folder, "video_processor", "video_preprocessor_config.json"))
    read_video(*s, config.video);
  const PatchLayout &a = config.image.layout, &b = config.video.layout;
  if (a.patch != b.patch || a.temporal != b.temporal || a.merge != b.merge)
    fail_input(
        "{}: pictures have patches of {}x{}x{} (merge {}), videos of {}x{}x{} (merge {}); they must agree",
        folder.string(), a.temporal, a.patch, a.patch, a.merge, b.temporal, b.patch, b.patch, b.merge);
  return config;
}

}  // namespace vl8
