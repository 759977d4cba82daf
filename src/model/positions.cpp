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
    for (int64_t i = 0; i < run.tokens(); ++i, ++at) {
      const int64_t place = run.kept.empty() ? i : run.kept[size_t(i)];
      t[at] = p.next, h[at] = p.next + int32_t(place / run.w), w[at] = p.next + int32_t(place % run.w);
    }
    p.next += int32_t(std::max(run.h, run.w));
  }
  text_to(tokens);
  return p;
}

namespace {

std::vector<VisualShape> whole(std::span<const Grid> grids) {
  std::vector<VisualShape> shapes;
  for (const Grid& g : grids) shapes.push_back({g, {}});
  return shapes;
}

// The kept places of frame group t, counted from its own first.
std::vector<int32_t> kept_in_frame(std::span<const int32_t> kept, int64_t t, int64_t per_frame) {
  auto first = std::lower_bound(kept.begin(), kept.end(), int32_t(t * per_frame)),
       last = std::lower_bound(first, kept.end(), int32_t((t + 1) * per_frame));
  std::vector<int32_t> places(first, last);
  for (int32_t& p : places) p -= int32_t(t * per_frame);
  check(kept.empty() || !places.empty(), "nothing is kept of frame group {}", t);
  return int64_t(places.size()) == per_frame ? std::vector<int32_t>() : places;
}

}  // namespace

std::vector<VisualRun> find_visual_runs(std::span<const int32_t> ids, int32_t image_id, int32_t video_id,
                                        std::span<const Grid> images, std::span<const Grid> videos, int64_t merge) {
  return find_kept_runs(ids, image_id, video_id, whole(images), whole(videos), merge);
}

std::vector<VisualRun> find_kept_runs(std::span<const int32_t> ids, int32_t image_id, int32_t video_id,
                                      std::span<const VisualShape> images, std::span<const VisualShape> videos, int64_t merge) {
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
    const VisualShape& shape = is_image ? images[image] : videos[video];
    const Grid& grid = shape.grid;
    VisualRun run{i, grid.h / merge, grid.w / merge, {}};
    run.kept = kept_in_frame(shape.kept, is_image ? 0 : group, run.h * run.w);
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
