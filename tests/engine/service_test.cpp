// The service with the bundled model: what many clients get at once is what one gets alone, and the edges hold.
#include "engine/service.h"

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <fstream>
#include <mutex>
#include <random>
#include <thread>

#include <unistd.h>

#include "media/draw.h"

namespace vl8 {
namespace {
namespace fs = std::filesystem;

const fs::path kNano = fs::path(VL8_SOURCE_DIR) / "assets" / "nano";

std::unique_ptr<Engine> load_nano() {
  EngineOptions o;
  o.threads = 2;
  return Engine::load(kNano, o);
}

std::string noise_png(uint64_t seed, int side = 96) {
  Image image(side, side);
  std::mt19937_64 rng(seed);
  for (size_t i = 0; i < image.bytes(); ++i) image.rgb[i] = uint8_t(rng());
  const fs::path file = fs::temp_directory_path() / fmt::format("vl8_service_{}_{}.png", getpid(), seed);
  write_png(file, image);
  std::ifstream in(file, std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(in), {}};
  fs::remove(file);
  return bytes;
}

ChatRequest question(const std::string& text, std::vector<std::string> pictures, float temperature = 0, uint64_t seed = 0, int64_t max_tokens = 24) {
  ChatRequest r;
  auto content = nlohmann::ordered_json::array();
  for (const std::string& p : pictures) {
    content.push_back({{"type", "image"}});
    r.images.push_back({p, "picture"});
  }
  content.push_back({{"type", "text"}, {"text", text}});
  r.messages = {{{"role", "user"}, {"content", content}}};
  r.sampling.temperature = temperature, r.sampling.seed = seed;
  r.max_tokens = max_tokens, r.ignore_end = true;
  return r;
}

GenerationRequest generation(const Engine& engine, const ChatRequest& r) {
  GenerationRequest g;
  PreparedChat chat = engine.prepare(r);
  g.prompt = std::move(chat.prompt), g.starts_thinking = chat.starts_thinking;
  g.sampling = r.sampling, g.stops = r.stops, g.max_tokens = r.max_tokens, g.ignore_end = r.ignore_end;
  return g;
}

// Collects the events of some requests.
class Collector {
 public:
  Service::OnEvent on(size_t slot) {
    std::lock_guard lock(mutex_);
    if (slots_.size() <= slot) slots_.resize(slot + 1);
    return [this, slot](GenerationEvent e) {
      std::lock_guard lock(mutex_);
      for (const SampledToken& t : e.tokens) slots_[slot].tokens.push_back(t.token);
      slots_[slot].done |= e.done;
      slots_[slot].last = std::move(e);
      changed_.notify_all();
    };
  }
  void wait(size_t slot) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return slots_[slot].done; });
  }
  void wait_tokens(size_t slot, size_t n) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return slots_[slot].done || slots_[slot].tokens.size() >= n; });
  }
  std::vector<int32_t> tokens(size_t slot) {
    std::lock_guard lock(mutex_);
    return slots_[slot].tokens;
  }
  GenerationEvent last(size_t slot) {
    std::lock_guard lock(mutex_);
    return slots_[slot].last;
  }

 private:
  struct Slot {
    std::vector<int32_t> tokens;
    GenerationEvent last;
    bool done = false;
  };
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Slot> slots_;
};

TEST(Service, BatchInvariantAnswersAreThoseOfOneAlone) {
  std::vector<ChatRequest> requests;
  std::mt19937 rng(std::random_device{}());
  std::vector<std::string> pictures{noise_png(rng()), noise_png(rng()), noise_png(rng(), 200)};
  for (int i = 0; i < 14; ++i) {
    std::string text = "Which screw is missing? ";
    for (int n = int(rng() % 60); n-- > 0;) text += "and ";
    std::vector<std::string> with;
    for (int n = int(rng() % 3); n-- > 0;) with.push_back(pictures[rng() % 3]);
    requests.push_back(question(text, with, float(i % 2), rng(), 8 + int64_t(rng() % 20)));
  }
  std::vector<std::vector<int32_t>> want;
  {
    auto engine = load_nano();
    for (const ChatRequest& r : requests) {
      want.emplace_back();
      for (const SampledToken& t : engine->chat(r, [](const AnswerDelta&) { return true; }).tokens) want.back().push_back(t.token);
    }
  }
  ServiceOptions o;
  o.batch_invariant = true, o.max_running = 12, o.step_tokens = 100, o.step_target_ms = 0;
  o.kv_bytes = 30 * 64 * 4096;  // few pages, so that some are preempted
  auto service = Service::start(load_nano(), o);
  Collector all;
  for (size_t i = 0; i < requests.size(); ++i) service->submit(generation(service->engine(), requests[i]), all.on(i));
  for (size_t i = 0; i < requests.size(); ++i) {
    all.wait(i);
    EXPECT_EQ(all.tokens(i), want[i]) << i;
  }
  EXPECT_TRUE(service->drain(std::chrono::seconds(1)));
  const ServiceStats s = service->stats();
  EXPECT_GT(s.step_sequences.worst(), 4);
  EXPECT_EQ(s.kv_pages_used, 0);
}

TEST(Service, CancelWithinAStepAndDrain) {
  Collector c;
  auto service = Service::start(load_nano(), {});
  const uint64_t id = service->submit(generation(service->engine(), question("Hello", {}, 0, 0, 3000)), c.on(0));
  c.wait_tokens(0, 5);
  service->cancel(id);
  c.wait(0);
  EXPECT_EQ(c.last(0).finish, Finish::cancelled);
  EXPECT_LT(c.tokens(0).size(), 3000u);
  service->submit(generation(service->engine(), question("Hello", {}, 0, 0, 10)), c.on(1));
  service->submit(generation(service->engine(), question("Hello", {}, 0, 0, 3500)), c.on(2));
  c.wait_tokens(2, 1);
  EXPECT_FALSE(service->drain(std::chrono::milliseconds(1)));
  EXPECT_THROW(service->submit(generation(service->engine(), question("Hello", {})), c.on(3)), Error);
  c.wait(1), c.wait(2);
  EXPECT_EQ(c.last(2).finish, Finish::cancelled);
  EXPECT_TRUE(service->drain(std::chrono::milliseconds(1)));
}

TEST(Service, RefusesWhatCannotBe) {
  ServiceOptions o;
  o.max_running = 1, o.queue_requests = 1, o.kv_bytes = 16 * 64 * 4096;
  Collector c;  // outlives the service, whose last events come while it ends
  auto service = Service::start(load_nano(), o);
  const Engine& e = service->engine();
  auto with = [&](auto change) {
    GenerationRequest g = generation(e, question("Hello", {}));
    change(g);
    return g;
  };
  auto refused = [&](GenerationRequest g) -> std::string {
    try {
      service->submit(std::move(g), c.on(0));
    } catch (const QueueFull& q) {
      return "queue";
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_NE(refused(with([](auto& g) { g.max_tokens = 1 << 30; })).find("context"), std::string::npos);
  EXPECT_NE(refused(with([](auto& g) { g.max_tokens = 2000; })).find("key/value cache has room for 1024"), std::string::npos);
  EXPECT_NE(refused(with([](auto& g) { g.sampling.top_p = 7; })).find("top_p"), std::string::npos);
  EXPECT_NE(refused(with([](auto& g) { g.sampling.logit_bias = {{-5, 1.0f}}; })).find("logit_bias"), std::string::npos);
  EXPECT_NE(refused(with([](auto& g) { g.prompt = {}; })).find("empty"), std::string::npos);
  EXPECT_EQ(refused(with([](auto& g) { g.max_tokens = 900; })), "");
  int queued = 0;
  for (int i = 0; i < 50; ++i) queued += refused(with([](auto& g) { g.max_tokens = 900; })) == "queue";
  EXPECT_GT(queued, 40);
  EXPECT_EQ(service->stats().refused, queued);
}

TEST(Service, EmbeddingsOfPicturesAndText) {
  Collector c;
  auto service = Service::start(load_nano(), {});
  const std::string picture = noise_png(7);
  auto embed = [&](size_t slot, const ChatRequest& r) {
    GenerationRequest g = generation(service->engine(), r);
    g.pooled = true;
    service->submit(std::move(g), c.on(slot));
  };
  embed(0, question("a wooden block", {picture}));
  embed(1, question("a wooden block", {picture}));
  embed(2, question("a wooden block", {noise_png(8)}));
  for (size_t i = 0; i < 3; ++i) c.wait(i);
  auto dot = [&](size_t a, size_t b) {
    const auto x = c.last(a).embedding, y = c.last(b).embedding;
    EXPECT_EQ(x.size(), size_t(service->engine().config().text.hidden_size));
    double sum = 0;
    for (size_t i = 0; i < x.size(); ++i) sum += double(x[i]) * double(y[i]);
    return sum;
  };
  EXPECT_NEAR(dot(0, 0), 1, 1e-5);
  EXPECT_NEAR(dot(0, 1), 1, 1e-2);  // the second takes pages of the first, computed in other company
  EXPECT_LT(dot(0, 2), dot(0, 1));
  EXPECT_EQ(c.last(0).usage.answer_tokens, 0);
}

TEST(Service, ManyThreadsSubmitAndCancel) {
  ServiceOptions o;
  o.queue_requests = 1000;
  auto service = Service::start(load_nano(), o);
  std::atomic<int> done{0}, submitted{0};
  std::vector<std::thread> clients;
  for (int t = 0; t < 6; ++t)
    clients.emplace_back([&, t] {
      std::mt19937 rng{std::random_device{}()};
      for (int i = 0; i < 12; ++i) {
        ++submitted;
        const uint64_t id = service->submit(generation(service->engine(), question("Say " + std::to_string(t), {}, 1, rng(), 12)),
                                            [&](GenerationEvent e) { done += e.done; });
        if (rng() % 3 == 0) service->cancel(id);
        if (rng() % 4 == 0) service->stats();
      }
    });
  for (std::thread& t : clients) t.join();
  EXPECT_TRUE(service->drain(std::chrono::seconds(60)));
  EXPECT_EQ(done, submitted);
  const ServiceStats s = service->stats();
  EXPECT_EQ(s.finished + s.cancelled, submitted);
  EXPECT_EQ(s.failed, 0);
}

}  // namespace
}  // namespace vl8
