#include "engine/prompt.h"

#include <algorithm>

namespace vl8 {
namespace {

constexpr std::string_view kTriple = "<|vision_start|><|video_pad|><|vision_end|>";
constexpr std::string_view kPad = "<|video_pad|>";

bool by_author(const MarkedText& text, size_t begin, size_t size) {
  for (size_t i = begin; i < begin + size; ++i)
    if (text.trust_at(i) != Trust::author) return false;
  return true;
}

// Every pad becomes one id per merged patch of its picture or frame group.
std::vector<int32_t> expand_pads(const std::vector<int32_t>& ids, const ModelConfig& c, const std::vector<VisualInput>& images,
                                 const std::vector<VisualInput>& videos) {
  const int64_t merge = c.vision.merge_size;
  std::vector<int32_t> out;
  size_t image = 0, video = 0;
  int64_t group = 0;
  for (int32_t id : ids) {
    int64_t copies = 1;
    if (id == c.tokens.image && image < images.size()) {
      copies = images[image++].grid.tokens(merge);
    } else if (id == c.tokens.video && video < videos.size()) {
      const Grid& g = videos[video].grid;
      copies = g.tokens(merge) / g.t;
      if (++group == g.t) group = 0, ++video;
    }
    out.insert(out.end(), size_t(copies), id);
  }
  return out;
}

template <typename Input>
VisualInput take(Input& input) {
  return {std::make_shared<PatchBuffer>(std::move(input.patches)), input.grid, input.hash, nullptr};
}

}  // namespace

MarkedText expand_stamps(const MarkedText& rendered, std::span<const std::vector<std::string>> stamps, VideoDialect dialect) {
  const std::string_view mark = dialect == VideoDialect::replace_triple ? kTriple : kPad;
  MarkedText out;
  size_t done = 0, video = 0;
  for (size_t at = rendered.view().find(mark); at != std::string_view::npos; at = rendered.view().find(mark, at + mark.size())) {
    if (!by_author(rendered, at, mark.size())) continue;
    if (video == stamps.size()) fail_input("the prompt has placeholders for more clips than were given ({})", stamps.size());
    out.append(rendered.slice(done, at));
    for (const std::string& stamp : stamps[video])
      out.append(stamp + std::string(kTriple), Trust::author);
    ++video;
    done = at + mark.size();
  }
  out.append(rendered.slice(done, rendered.size()));
  return out;
}

Prompt prompt_from_ids(std::vector<int32_t> ids, std::vector<VisualInput> images, std::vector<VisualInput> videos,
                       const ModelConfig& config) {
  auto grids = [](const std::vector<VisualInput>& list) {
    std::vector<Grid> g;
    for (const VisualInput& v : list) g.push_back(v.grid);
    return g;
  };
  Prompt p;
  p.ids = std::move(ids);
  p.runs = find_visual_runs(p.ids, int32_t(config.tokens.image), int32_t(config.tokens.video), grids(images), grids(videos), config.vision.merge_size);
  p.positions = prompt_positions(int64_t(p.ids.size()), p.runs);
  size_t image = 0, video = 0;
  for (size_t r = 0; r < p.runs.size();) {
    bool is_image = p.ids[size_t(p.runs[r].begin)] == int32_t(config.tokens.image);
    p.visuals.push_back(std::move(is_image ? images[image++] : videos[video++]));
    const int64_t groups = p.visuals.back().grid.t;
    for (int64_t row = 0, g = 0; g < groups; ++g, ++r) {
      p.sources.push_back({p.visuals.size() - 1, row});
      row += p.runs[r].tokens();
    }
  }
  return p;
}

Prompt build_prompt(const MarkedText& rendered, PromptMedia media, const Tokenizer& tokenizer, const ModelConfig& config,
                    VideoDialect dialect) {
  std::vector<std::vector<std::string>> stamps;
  for (const VideoInput& v : media.videos) stamps.push_back(v.stamps);
  std::vector<int32_t> ids = tokenizer.encode_prompt(expand_stamps(rendered, stamps, dialect));
  std::vector<VisualInput> images, videos;
  for (ImageInput& i : media.images) images.push_back(take(i));
  for (VideoInput& v : media.videos) videos.push_back(take(v));
  ids = expand_pads(ids, config, images, videos);
  return prompt_from_ids(std::move(ids), std::move(images), std::move(videos), config);
}

}  // namespace vl8
