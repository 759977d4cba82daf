#include "options.h"

#include <unistd.h>

#include "core/env.h"
#include "core/file.h"
#include "media/video.h"

namespace vl8 {
namespace fs = std::filesystem;
namespace {

fs::path program_folder() {
  std::error_code ec;
  fs::path p = fs::read_symlink("/proc/self/exe", ec);
  return ec ? fs::path(".") : p.parent_path();
}

}  // namespace

fs::path bundled_folder(const std::string& name) {
  const fs::path here = program_folder();
  for (const fs::path& p : {here / "../share/vl8" / name, here / "../../assets" / name, here / "assets" / name}) {
    std::error_code ec;
    if (fs::is_directory(p, ec)) return p.lexically_normal();
  }
  fail_usage("the bundled folder {} was not found beside the program ({})", name, here.string());
}

fs::path default_model_folder() {
  if (auto folder = env("VL8_MODEL")) return *folder;
  return bundled_folder("nano");
}

Precision parse_precision(const std::string& name) {
  if (name == "f32") return Precision::f32;
  if (name == "bf16") return Precision::bf16;
  if (name == "w8a16") return Precision::w8a16;
  if (name == "w8a8") return Precision::w8a8;
  fail_usage("unknown precision '{}'; there are f32, bf16, w8a16 and w8a8", name);
}

void ModelOptions::add_to(CLI::App& app) {
  app.add_option("-m,--model", model, "model folder (default: VL8_MODEL, else the bundled model)");
  app.add_option("--precision", precision, "arithmetic: bf16, f32, w8a16, w8a8, or auto: w8a8 on a GPU (only FP8 weights are affected), bf16 elsewhere")->capture_default_str();
  app.add_option("--backend", backend, "cpu, cuda, or reference (plain loops)")->capture_default_str();
  app.add_option("--device", device, "with --backend cuda: number of the GPU")->check(CLI::NonNegativeNumber)->capture_default_str();
  app.add_option("--gpu-memory-utilization", gpu_memory_utilization, "with --backend cuda: share of the GPU's memory in use at most, other programs' included")
      ->check(CLI::Range(0.05, 1.0))
      ->capture_default_str();
  app.add_flag("--batch-invariant", batch_invariant,
               "answers whose bits do not depend on what else runs in the batch (always so for precisions other than bf16; decoding is slower)");
  app.add_option("--threads", threads, "CPU threads (default: all that this process may use)")->check(CLI::Range(0, 1024));
}

fs::path ModelOptions::folder() const { return model.empty() ? default_model_folder() : fs::path(model); }

EngineOptions ModelOptions::engine() const {
  EngineOptions o;
  o.precision = precision == "auto" ? (backend == "cuda" ? Precision::w8a8 : Precision::bf16) : parse_precision(precision);
  o.backend = backend;
  o.threads = threads;
  o.batch_invariant = batch_invariant;
  o.device = device;
  o.gpu_memory_utilization = gpu_memory_utilization;
  if (auto n = env("VL8_THREADS"); n && threads == 0) {
    char* end = nullptr;
    long value = std::strtol(n->c_str(), &end, 10);
    if (*end || value < 1 || value > 1024) fail_usage("VL8_THREADS is '{}', not a number from 1 to 1024", *n);
    o.threads = int(value);
  }
  o.progress = true;
  return o;
}

void SamplingOptions::add_to(CLI::App& a) {
  app = &a;
  a.add_option("--temperature", values.temperature, "0 is greedy");
  a.add_option("--top-k", values.top_k, "draw from the k most likely tokens; 0: all");
  a.add_option("--top-p", values.top_p, "draw from the most likely tokens that together reach this probability");
  a.add_option("--min-p", values.min_p, "drop tokens below this share of the most likely one's probability");
  a.add_option("--repetition-penalty", values.repetition_penalty, "over prompt and answer; 1: none");
  a.add_option("--presence-penalty", values.presence_penalty, "-2..2");
  a.add_option("--frequency-penalty", values.frequency_penalty, "-2..2");
  a.add_option("--seed", values.seed, "the same seed gives the same answer")->capture_default_str();
  a.add_option("--logprobs", values.logprobs, "with --json: log probabilities of the N most likely tokens");
  a.add_option("--stop", stops, "end the answer before this text (may be repeated)")->expected(1)->allow_extra_args(false)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  a.add_option("--max-tokens", max_tokens, "longest answer (default: what the context leaves, at most 4096)")->check(CLI::PositiveNumber);
}

SamplingParams SamplingOptions::resolve(const SamplingParams& defaults) const {
  SamplingParams p = values;
  auto keep = [&](const char* name, auto& field, const auto& fallback) {
    if (app->count(name) == 0) field = fallback;
  };
  keep("--temperature", p.temperature, defaults.temperature);
  keep("--top-k", p.top_k, defaults.top_k);
  keep("--top-p", p.top_p, defaults.top_p);
  keep("--min-p", p.min_p, defaults.min_p);
  keep("--repetition-penalty", p.repetition_penalty, defaults.repetition_penalty);
  keep("--presence-penalty", p.presence_penalty, defaults.presence_penalty);
  p.validate();
  return p;
}

void MediaOptions::add_to(CLI::App& a) {
  app = &a;
  a.add_option("-i,--image", images, "picture file: JPEG, PNG, WebP, BMP or GIF (may be repeated)")->expected(1)->allow_extra_args(false)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  a.add_option("-v,--video", videos, "video file (MP4, MKV, WebM, AVI, MOV, GIF, WebP) or folder of frames in the order of their names (may be repeated)")->expected(1)->allow_extra_args(false)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  a.add_option("--source-fps", source_fps, "frames per second of the source (default: the file's own; 24 for a folder)")->check(CLI::PositiveNumber);
  a.add_option("--fps", fps, "frames to take per second of the clip")->check(CLI::PositiveNumber)->capture_default_str();
  a.add_option("--num-frames", num_frames, "frames to take in all; wins over --fps")->check(CLI::PositiveNumber);
  a.add_option("--max-frames", max_frames, "at most this many frames, whatever --fps and --num-frames say (default: 768 for --fps)")->check(CLI::PositiveNumber);
  a.add_option("--clip", clip, "only this part, in seconds: 40-50, or 45 for 43-47; 4 frames per second unless --fps or --num-frames say otherwise");
  a.add_option("--sparsity", sparsity, "visual work: off (all of it), auto, or a share as in 0.3; with a policy as in auto:saliency")->capture_default_str();
  a.add_option("--min-pixels", min_pixels, "enlarge smaller pictures to this many pixels")->check(CLI::PositiveNumber);
  a.add_option("--max-pixels", max_pixels, "shrink larger pictures to this many pixels (1024 pixels cost one token)")->check(CLI::PositiveNumber);
  a.add_option("--resize", resize, "resampling: torchvision (as the reference) or pil")->check(CLI::IsMember({"torchvision", "pil"}))->capture_default_str();
  a.add_option("--cap", cap, "limit the pixels of each frame of a clip")->check(CLI::IsMember({"on", "off"}))->capture_default_str();
}

void MediaOptions::fill(ChatRequest& r) const {
  for (const std::string& f : images) r.images.push_back({read_image_file(f), f});
  for (const std::string& f : videos)
    r.videos.push_back(open_clip(f, source_fps > 0 ? std::optional<double>(source_fps) : std::nullopt));
  ResizePath path = resize == "pil" ? ResizePath::pil : ResizePath::torchvision;
  r.image_overrides.path = r.video_overrides.path = path;
  if (min_pixels) r.image_overrides.min_pixels = r.video_overrides.min_pixels = min_pixels;
  if (max_pixels) r.image_overrides.max_pixels = r.video_overrides.max_pixels = max_pixels;
  if (app->count("--fps")) r.video_overrides.fps = fps;
  if (num_frames) r.video_overrides.num_frames = num_frames;
  r.sparsity = parse_sparsity(sparsity);
  if (max_frames) r.video_overrides.max_frames = max_frames;
  if (!clip.empty()) r.video_overrides.part = parse_clip_part(clip);
  r.video_overrides.cap_pixels_per_frame = cap == "on";
}

nlohmann::ordered_json user_message(size_t images, size_t videos, const std::string& text) {
  nlohmann::ordered_json content = nlohmann::ordered_json::array();
  for (size_t i = 0; i < images; ++i) content.push_back({{"type", "image"}});
  for (size_t i = 0; i < videos; ++i) content.push_back({{"type", "video"}});
  content.push_back({{"type", "text"}, {"text", text}});
  return {{"role", "user"}, {"content", content}};
}

}  // namespace vl8
