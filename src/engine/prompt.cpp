#include "engine/prompt.h"

#include <algorithm>

#include "engine/gating.h"

namespace vl8 {
namespace {

constexpr std::string_view kTriple = "<|vision_start|><|video_pad|><|vision_end|>";
constexpr std::string_view kPad = "<|video_pad|>";

bool by_author(const MarkedText& text, size_t begin, size_t size) {
  for (size_t i = begin; i < begin + size; ++i)
    if (text.trust_at(i) != Trust::author) return false;
  return true;
}

// Placeholders of a picture, or of frame group t of a clip.
int64_t tokens_of(const VisualInput& v, int64_t merge, int64_t t) {
  const int64_t per_frame = v.grid.tokens(merge) / v.grid.t;
  if (!v.gate) return per_frame;
  const std::vector<int32_t>& kept = v.gate->tokens;
  return std::lower_bound(kept.begin(), kept.end(), int32_t((t + 1) * per_frame)) -
         std::lower_bound(kept.begin(), kept.end(), int32_t(t * per_frame));
}

// Every pad becomes one id per merged patch of its picture or frame group that is kept.
std::vector<int32_t> expand_pads(const std::vector<int32_t>& ids, const ModelConfig& c, const std::vector<VisualInput>& images,
                                 const std::vector<VisualInput>& videos) {
  const int64_t merge = c.vision.merge_size;
  std::vector<int32_t> out;
  size_t image = 0, video = 0;
  int64_t group = 0;
  for (int32_t id : ids) {
    int64_t copies = 1;
    if (id == c.tokens.image && image < images.size()) {
      copies = tokens_of(images[image++], merge, 0);
    } else if (id == c.tokens.video && video < videos.size()) {
      copies = tokens_of(videos[video], merge, group);
      if (++group == videos[video].grid.t) group = 0, ++video;
    }
    out.insert(out.end(), size_t(copies), id);
  }
  return out;
}

template <typename Input>
VisualInput take(Input& input) {
  return {std::make_shared<PatchBuffer>(std::move(input.patches)), input.grid, input.hash, nullptr, nullptr};
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
  auto shapes = [](const std::vector<VisualInput>& list) {
    std::vector<VisualShape> s;
    for (const VisualInput& v : list) s.push_back({v.grid, v.gate ? std::span<const int32_t>(v.gate->tokens) : std::span<const int32_t>()});
    return s;
  };
  Prompt p;
  p.ids = std::move(ids);
  p.runs = find_kept_runs(p.ids, int32_t(config.tokens.image), int32_t(config.tokens.video), shapes(images), shapes(videos), config.vision.merge_size);
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
  for (size_t i = 0; i < images.size(); ++i) gate_visual(images[i], media.sparsity, config, i < media.streams.size() ? media.streams[i].get() : nullptr);
  for (VisualInput& v : videos) gate_visual(v, media.sparsity, config);
  ids = expand_pads(ids, config, images, videos);
  Prompt prompt = prompt_from_ids(std::move(ids), std::move(images), std::move(videos), config);
  note_question(prompt);
  return prompt;
}

}  // namespace vl8
