#include "model/positions.h"

#include <algorithm>

namespace vl8 {

Positions prompt_positions(int64_t tokens, std::span<const VisualRun> runs) {
  Positions p;
  p.axes.resize(size_t(3 * tokens));
  int32_t *t = p.axes.data(), *h = t + tokens, *w = h + tokens;
  int64_t at = 0;
  auto text_to = [&](int64_t end) {
    for (; at < end; ++at) t[at] = h[at] = w[at] = p.next++;
  };
  for (const VisualRun& run : runs) {
    check(run.begin >= at && run.begin + run.tokens() <= tokens, "visual run {}+{} in a prompt of {}", run.begin, run.tokens(),
          tokens);
    text_to(run.begin);
    for (int64_t r = 0; r < run.h; ++r)
      for (int64_t c = 0; c < run.w; ++c, ++at)
        t[at] = p.next, h[at] = p.next + int32_t(r), w[at] = p.next + int32_t(c);
    p.next += int32_t(std::max(run.h, run.w));
  }
  text_to(tokens);
  return p;
}

std::vector<VisualRun> find_visual_runs(std::span<const int32_t> ids, int32_t image_id, int32_t video_id,
                                        std::span<const Grid> images, std::span<const Grid> videos, int64_t merge) {
  std::vector<VisualRun> runs;
  size_t image = 0, video = 0;
  int64_t group = 0;  // frame group of the current clip
  for (int64_t i = 0; i < int64_t(ids.size());) {
    bool is_image = ids[size_t(i)] == image_id;
    if (!is_image && ids[size_t(i)] != video_id) {
      ++i;
      continue;
    }
    const char* kind = is_image ? "picture" : "clip";
    if (is_image ? image == images.size() : video == videos.size())
      fail_input("the prompt has placeholders for more {}s than were given ({})", kind, is_image ? images.size() : videos.size());
    const Grid& grid = is_image ? images[image] : videos[video];
    VisualRun run{i, grid.h / merge, grid.w / merge};
    // Two pictures may stand side by side without a token between them, so a run's length comes from its grid.
    int64_t end = i;
    while (end < int64_t(ids.size()) && end < i + run.tokens() && ids[size_t(end)] == ids[size_t(i)]) ++end;
    if (end - i != run.tokens())
      fail_input("the prompt has {} placeholders at token {} where {} {} needs {}", end - i, i, kind,
                 is_image ? image : video, run.tokens());
    runs.push_back(run);
    i = end;
    if (is_image || ++group == grid.t) group = 0, ++(is_image ? image : video);
  }
  if (image != images.size() || video != videos.size() || group != 0)
    fail_input("the prompt has placeholders for {} pictures and {} clips, but {} and {} were given", image, video, images.size(),
               videos.size());
  return runs;
}

}  // namespace vl8
