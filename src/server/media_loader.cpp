#include "server/media_loader.h"

#include <atomic>
#include <map>

#include "media/video.h"

namespace vl8 {
namespace {

// One source on its way.
struct Slot {
  ApiRequest* request;
  size_t source;
  std::string bytes;
  DecoderPool::Picture picture;
  std::shared_ptr<FrameSource> clip;
};

struct Load : std::enable_shared_from_this<Load> {
  Load(ServerState& s, std::shared_ptr<std::vector<ApiRequest>> r, std::function<void(std::exception_ptr)> d) : server(s), requests(std::move(r)), done(std::move(d)) {}

  ServerState& server;
  std::shared_ptr<std::vector<ApiRequest>> requests;
  std::function<void(std::exception_ptr)> done;
  std::vector<Slot> slots;
  std::atomic<size_t> left{0};
  std::atomic<bool> failed{false};
  std::mutex mutex;
  std::exception_ptr fault;

  const MediaSource& source(const Slot& s) const { return s.request->media[s.source]; }

  void start() {
    for (ApiRequest& r : *requests)
      for (size_t i = 0; i < r.media.size(); ++i) slots.push_back({&r, i, {}, {}, {}});
    left = slots.size();
    for (Slot& s : slots) {
      const bool remote = is_remote(source(s));
      if (remote) ++server.counters.remote_media;
      run(remote ? server.fetchers : server.media, [this, &s, remote] {
        s.bytes = read_media(source(s), server.fetch_policy());
        if (remote) run(server.media, [this, &s] { return decode(s); });
        else decode(s);
        return !remote;
      });
    }
  }

  // f returns whether its slot is complete; what it throws ends the whole load.
  void run(WorkerPool& pool, std::function<bool()> f) {
    const bool queued = pool.submit([self = shared_from_this(), f = std::move(f)] {
      bool complete = true;
      try {
        if (!self->failed) complete = f();
      } catch (...) {
        self->fail_with(std::current_exception());
      }
      if (complete) self->count_down();
    });
    if (!queued) throw overloaded("too many pictures are waiting to be read", 1);
  }
  void fail_with(std::exception_ptr e) {
    std::lock_guard lock(mutex);
    if (!failed.exchange(true)) fault = e;
  }

  bool decode(Slot& s) {
    if (source(s).kind == MediaSource::Kind::image) s.picture = server.decoders.decode(s.bytes, source(s).param);
    else s.clip = open_video(s.bytes, source(s).param);
    s.bytes = {};
    return true;
  }

  // The clip has a decoder process of its own; its frames are decoded when the prompt is prepared.
  std::shared_ptr<FrameSource> open_video(const std::string& bytes, const std::string& param) {
    const auto config = server.config();
    VideoLimits limits;
    limits.frame.max_pixels = config->media.max_pixels;
    limits.max_bytes = config->media.max_video_bytes;
    limits.worker.memory_bytes = size_t(config->media.decoder_memory_bytes);
    limits.worker.call_seconds = config->media.decode_timeout_s;
    try {
      return std::make_shared<VideoFile>(std::as_bytes(std::span(bytes)), param, std::nullopt, limits);
    } catch (const Error& e) {
      if (e.kind() == ErrorKind::resource) throw;
      throw ApiError(400, "invalid_request_error", e.what(), param, e.kind() == ErrorKind::unsupported ? "unsupported" : "");
    }
  }

  void count_down() {
    if (--left > 0) return;
    if (!failed) try {
        collect();
      } catch (...) {
        fail_with(std::current_exception());
      }
    done(fault);
  }

  void collect() {
    const auto config = server.config();
    for (Slot& s : slots) {
      ChatRequest& chat = s.request->chat;
      if (s.clip) {
        ++server.counters.videos;
        chat.videos.push_back(std::move(s.clip));
        continue;
      }
      int64_t& pixels = pixels_[s.request];
      pixels += s.picture.pixels;
      if (pixels > config->media.max_request_pixels) fail_field(source(s).param, "the pictures of this request have more than {} pixels together", config->media.max_request_pixels);
      ++server.counters.images;
      server.counters.image_pixels += s.picture.pixels;
      chat.images.push_back({std::move(s.picture.pnm), source(s).param});
    }
  }
  std::map<ApiRequest*, int64_t> pixels_;
};

}  // namespace

void load_media(ServerState& server, std::shared_ptr<std::vector<ApiRequest>> requests, std::function<void(std::exception_ptr)> done) {
  auto load = std::make_shared<Load>(server, std::move(requests), std::move(done));
  load->start();
}

}  // namespace vl8
