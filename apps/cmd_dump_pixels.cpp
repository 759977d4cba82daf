// The options of `vl8 dump pixels`.
#include "dump_pixels.h"
#include "options.h"

namespace vl8 {

CommandBody setup_dump_pixels(CLI::App& app, std::shared_ptr<DumpPixelsArguments> a) {
  app.add_option("IMAGE", a->images, "picture files, in the order of their rows");
  app.add_option("-m,--model", a->model,
                 "model folder (no weights needed; default: VL8_MODEL, else the bundled model)");
  app.add_option("--out", a->out, "safetensors file to write: pixel_values, image_grid_thw, ...")->required();
  app.add_option("-v,--video", a->video, "video file, or folder of frames in the order of their names");
  app.add_option("--source-fps", a->source_fps,
                 "frames per second of the source (default: the file's own; 24 for a folder)")
      ->check(CLI::PositiveNumber);
  app.add_option("--fps", a->fps, "frames to take per second of the clip")->check(CLI::PositiveNumber);
  app.add_option("--num-frames", a->num_frames, "frames to take in all; wins over --fps")
      ->check(CLI::PositiveNumber);
  app.add_option("--max-frames", a->max_frames, "at most this many frames, whatever --fps and --num-frames say")
      ->check(CLI::PositiveNumber);
  app.add_option("--clip", a->clip, "only this part, in seconds: 40-50, or 45 for 43-47");
  app.add_option("--min-pixels", a->min_pixels, "enlarge smaller pictures to this many pixels")
      ->check(CLI::PositiveNumber);
  app.add_option("--max-pixels", a->max_pixels, "shrink larger pictures to this many pixels")
      ->check(CLI::PositiveNumber);
  auto switches = std::make_shared<std::pair<std::string, std::string>>();
  app.add_option("--cap", switches->first, "limit the pixels of each frame of a clip")
      ->check(CLI::IsMember({"on", "off"}));
  app.add_option("--resize", switches->second, "resampling")->check(CLI::IsMember({"torchvision", "pil"}));
  app.footer("Example: vl8 dump pixels -m MODEL --out pixels.safetensors photo.jpg");
  return [a, switches] {
    DumpPixelsArguments given = *a;
    if (given.model.empty()) given.model = default_model_folder();
    if (!switches->first.empty()) given.cap = switches->first == "on";
    if (!switches->second.empty()) given.resize = resize_path_from_name(switches->second);
    std::string line = dump_pixels(given);
    if (!line.empty()) fmt::print("{}\n", line);
    return 0;
  };
}

}  // namespace vl8
