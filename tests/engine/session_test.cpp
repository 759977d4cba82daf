// Live sessions on the bundled model: a question's answer is that of a fresh conversation about the frames in view, old
// frames leave by policy, and memory stays bounded.
#include "engine/session.h"

#include <gtest/gtest.h>

#include <future>
#include <random>

namespace vl8 {
namespace {
namespace fs = std::filesystem;

std::unique_ptr<Service> nano(bool invariant = true) {
  EngineOptions e;
  e.threads = 2;
  ServiceOptions o;
  o.batch_invariant = invariant;
  return Service::start(Engine::load(fs::path(VL8_SOURCE_DIR) / "assets" / "nano", e), o);
}

Image noise(uint64_t seed, int side = 64) {
  Image image(side, side);
  std::mt19937_64 rng(seed);
  for (size_t i = 0; i < image.bytes(); ++i) image.rgb[i] = uint8_t(rng());
  return image;
}

ImageOverrides small() {
  ImageOverrides o;
  o.min_pixels = 1024, o.max_pixels = 4096;
  return o;
}

struct Reply {
  std::vector<int32_t> tokens;
  GenerationEvent last;
};

Reply ask(Session& s, const std::string& question, int64_t max_tokens = 12) {
  GenerationRequest r;
  r.max_tokens = max_tokens, r.ignore_end = true;
  std::promise<Reply> promise;
  Reply reply;
  s.ask(question, std::move(r), [&](GenerationEvent e) {
    for (const SampledToken& t : e.tokens) reply.tokens.push_back(t.token);
    const bool done = e.done;
    reply.last = std::move(e);
    if (done) promise.set_value(reply);
  });
  return promise.get_future().get();
}

TEST(Session, AnswersAreThoseOfAFreshConversation) {
  auto service = nano();
  SessionOptions o;
  o.window_frames = 4, o.slack_frames = 3, o.key_frames = 1;
  for (int i = 0; i < 40; ++i) o.system += "Watch the block. ";  // more than a page, so that every question finds one
  Session session(*service, o);
  for (int i = 0; i < 17; ++i) {
    SessionFrame f = session_frame(service->engine(), noise(uint64_t(i)), i * 0.5, small());
    f.key = i == 3;
    session.append(std::move(f));
    if (i % 5 != 2 && i != 16) continue;
    session.flush();
    const Reply got = ask(session, "What changed?");
    ASSERT_EQ(got.last.finish, Finish::length);
    EXPECT_GE(got.last.usage.cached_tokens, 64);
    // The same frames, in a service that has never seen them.
    auto other = nano();
    SessionOptions wide = o;
    wide.window_frames = 100;
    Session fresh(*other, wide);
    for (double t : session.times()) fresh.append(session_frame(other->engine(), noise(uint64_t(t * 2)), t, small()));
    EXPECT_EQ(ask(fresh, "What changed?").tokens, got.tokens) << "after frame " << i;
  }
  const SessionStats s = session.stats();
  EXPECT_EQ(s.appended, 17);
  EXPECT_EQ(s.in_view + s.dropped, 17);
  EXPECT_LE(s.in_view, 4 + 3 + 1);
  EXPECT_GT(s.rebuilds, 0);
  EXPECT_EQ(session.times().front(), 1.5);  // the key frame is still there
  EXPECT_EQ(session.times().back(), 8);
}

TEST(Session, AQuestionLeavesTheSessionAsItWas) {
  auto service = nano();
  Session session(*service, {});
  for (int i = 0; i < 6; ++i) session.append(session_frame(service->engine(), noise(uint64_t(i)), i, small()));
  session.flush();
  const int64_t computed = session.stats().computed_tokens;
  const Reply first = ask(session, "Which screw is missing?"), second = ask(session, "What else?"), again = ask(session, "Which screw is missing?");
  EXPECT_EQ(first.tokens, again.tokens);
  EXPECT_EQ(session.stats().computed_tokens, computed);
  EXPECT_EQ(first.last.usage.visuals_encoded, 0);
}

TEST(Session, ChosenTokensKeepTheirPositions) {
  auto service = nano();
  const Engine& e = service->engine();
  // All tokens chosen, with the features the engine made, must be the same as no choice.
  SessionFrame plain = session_frame(e, noise(1), 0, small());
  plain.visual.slot = std::make_shared<FeatureSlot>();
  const int64_t tokens = plain.visual.grid.tokens(2);
  Session one(*service, {});
  SessionFrame copy = plain;
  one.append(std::move(copy));
  one.flush();
  const Reply want = ask(one, "What is it?");
  ASSERT_TRUE(plain.visual.slot->features);
  SessionFrame chosen = plain;
  chosen.visual.patches.reset();
  for (int64_t i = 0; i < tokens; ++i) chosen.kept.push_back(int32_t(i));
  SessionOptions salted;
  salted.salt = "apart";  // nothing may come from the first session's pages
  Session two(*service, salted);
  two.append(chosen);
  EXPECT_EQ(ask(two, "What is it?").tokens, want.tokens);
}

TEST(Session, RefusesFramesThatDoNotFit) {
  auto service = nano();
  const Engine& e = service->engine();
  Session s(*service, {});
  s.append(session_frame(e, noise(1), 5, small()));
  EXPECT_THROW(s.append(session_frame(e, noise(1), 4, small())), Error);  // goes back in time
  SessionFrame f = session_frame(e, noise(1), 6, small());
  f.visual.grid.t = 2;
  EXPECT_THROW(s.append(f), Error);
  f = session_frame(e, noise(1), 6, small());
  f.kept = {3, 1};
  EXPECT_THROW(s.append(f), Error);
  SessionOptions o;
  o.window_frames = 4000;
  Session wide(*service, o);
  EXPECT_THROW(wide.append(session_frame(e, noise(1), 6, small())), Error);  // 4000 frames do not fit the context
  o.window_frames = 0;
  EXPECT_THROW(Session(*service, o), Error);
}

TEST(Session, ManyFramesInBoundedMemory) {
  auto service = nano(false);
  SessionOptions o;
  o.window_frames = 8, o.slack_frames = 8, o.key_frames = 2;
  Session session(*service, o);
  const Image picture = noise(3);
  SessionFrame base = session_frame(service->engine(), picture, 0, small());
  for (int i = 0; i < 300; ++i) {
    SessionFrame f = base;
    f.visual.slot = nullptr;
    f.visual.hash.low += uint64_t(i), f.seconds = i, f.key = i % 50 == 0;
    session.append(std::move(f));
    if (i % 8 == 0) session.flush();
    ASSERT_LE(session.stats().in_view, 18);
  }
  session.flush();
  EXPECT_EQ(ask(session, "When?").last.finish, Finish::length);
  EXPECT_EQ(session.stats().dropped + session.stats().in_view, 300);
}

}  // namespace
}  // namespace vl8
