// The parts of vl8 watch that need no model: configuration, calibration, rules, bad frames, the store and its outbox.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <random>
#include <set>

#include "core/error.h"
#include "core/file.h"
#include "media/draw.h"
#include "watch/watcher.h"

namespace vl8::watch {
namespace {
namespace fs = std::filesystem;
using ::testing::HasSubstr;

class WatchTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / fmt::format("vl8_watch_{}_{}", getpid(), ::testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  std::string refusal(const std::string& toml) {
    std::ofstream(folder_ / "c.toml") << toml;
    try {
      WatchConfig::load(folder_ / "c.toml");
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::input);
      return e.what();
    }
    return "";
  }
  fs::path folder_;
};

TEST_F(WatchTest, TheExampleConfigurationIsSound) {
  WatchConfig c = WatchConfig::load(fs::path(VL8_SOURCE_DIR) / "docs/watch.toml");
  ASSERT_EQ(c.sources.size(), 1u);
  EXPECT_EQ(c.sources[0].rules[0].actions, (std::vector<std::string>{"log", "arm"}));
  EXPECT_EQ(c.sources[0].sparsity.mode, GateMode::automatic);
  // the file shows the defaults
  EXPECT_EQ(c.sources[0].gate.refresh_s, FrameGateSettings().refresh_s);
  EXPECT_EQ(c.sources[0].controller.floor, ControllerSettings().floor);
  EXPECT_EQ(c.sources[0].bad.tear_ratio, BadFrameSettings().tear_ratio);
}

TEST_F(WatchTest, MistakesNameLineAndKey) {
  const std::string good = "[[source]]\nname='a'\ninput='x'\nquestion='q'\n";
  EXPECT_EQ(refusal(good), "");
  EXPECT_THAT(refusal(""), HasSubstr("no [[source]]"));
  EXPECT_THAT(refusal("[[source]\n"), HasSubstr("c.toml:1"));
  EXPECT_THAT(refusal(good + "colour=1\n"), HasSubstr("c.toml:5: source.colour is not a key here"));
  EXPECT_THAT(refusal(good + "rate='fast'\n"), HasSubstr("source.rate must be a number"));
  EXPECT_THAT(refusal(good + "roi=[1,2]\n"), HasSubstr("must be 4 numbers"));
  EXPECT_THAT(refusal(good + "sparsity='much'\n"), HasSubstr("sparsity"));
  EXPECT_THAT(refusal(good + "[source.gate]\nopen_share=0.1\nclose_share=0.5\n"), HasSubstr("close_share"));
  EXPECT_THAT(refusal(good + "[[source.rule]]\nname='r'\nmatches='('\n"), HasSubstr("no regular expression"));
  EXPECT_THAT(refusal(good + "[[source.rule]]\nname='r'\nboxes=true\nactions=['x']\n"), HasSubstr("'x', which is not there"));
  EXPECT_THAT(refusal(good + "[[action]]\nname='w'\nkind='webhook'\nurl='ftp://x'\n"), HasSubstr("http://"));
  EXPECT_THAT(refusal(good + "[[action]]\nname='w'\nkind='pigeon'\n"), HasSubstr("webhook, mqtt, command, stdout"));
  EXPECT_THAT(refusal(good + "[source.calibration]\norigin=[0,0]\n"), HasSubstr("exactly one of them"));
  EXPECT_THAT(refusal(good + good), HasSubstr("two sources are called 'a'"));
  EXPECT_THAT(refusal("overload='panic'\n" + good), HasSubstr("drop_oldest, lower_rate, lower_budget"));
}

TEST(Calibration, ScaleAndFourPoints) {
  auto [x, y] = Calibration::scale(5, 100, 50).to_mm(350, 300);
  EXPECT_NEAR(x, 50, 1e-9);
  EXPECT_NEAR(y, 50, 1e-9);
  // A camera at an angle: corners of a 200 x 100 mm plate, and the crossing of its diagonals, which every view keeps.
  const std::vector<double> p{100, 80, 0, 0, 520, 60, 200, 0, 600, 400, 200, 100, 40, 380, 0, 100};
  Calibration c = Calibration::four_points(p);
  for (size_t i = 0; i < 4; ++i) {
    auto [u, v] = c.to_mm(p[i * 4], p[i * 4 + 1]);
    EXPECT_NEAR(u, p[i * 4 + 2], 1e-6);
    EXPECT_NEAR(v, p[i * 4 + 3], 1e-6);
  }
  const double ax = 100, ay = 80, bx = 600, by = 400, cx = 520, cy = 60, dx = 40, dy = 380;
  const double t = ((cx - ax) * (dy - cy) - (cy - ay) * (dx - cx)) / ((bx - ax) * (dy - cy) - (by - ay) * (dx - cx));
  auto [u, v] = c.to_mm(ax + t * (bx - ax), ay + t * (by - ay));
  EXPECT_NEAR(u, 100, 1e-6);
  EXPECT_NEAR(v, 50, 1e-6);
  EXPECT_THROW(Calibration::four_points(std::vector<double>{0, 0, 0, 0, 1, 1, 1, 0, 2, 2, 1, 1, 5, 0, 0, 1}), Error);
}

TEST(Rules, BoxesBecomeEventsInMillimetres) {
  SourceConfig s;
  s.name = "line";
  s.calibration = Calibration::scale(2, 0, 0);
  s.rules.push_back({.name = "screw", .defect = "screw missing", .boxes = true, .label = "missing", .sentence = "M3螺钉缺失,位置X={x},Y={y}"});
  s.rules.push_back({.name = "says so", .defect = "bad", .matches = "\\bscratch\\b"});
  const std::string answer = R"([{"bbox_2d": [100, 200, 300, 400], "label": "missing"}, {"bbox_2d": [0, 0, 10, 10], "label": "screw"}])";
  std::vector<Event> e = events_of(s, answer, {500, 1000}, 20, 30);
  ASSERT_EQ(e.size(), 1u);
  EXPECT_NEAR(e[0].x_px, 220, 0.51);  // (100 + 300) / 2 of 1000 on 1000 pixels, plus the region's corner
  EXPECT_NEAR(e[0].y_px, 180, 0.51);
  EXPECT_NEAR(*e[0].x_mm, 110, 0.3);
  EXPECT_THAT(e[0].sentence, HasSubstr("M3螺钉缺失,位置X=110.0,Y=90.0"));
  EXPECT_EQ(e[0].json()["defect"], "screw missing");
  EXPECT_EQ(e[0].json()["unit"], "mm");
  EXPECT_EQ(events_of(s, "A Scratch near the edge", {10, 10}, 0, 0).size(), 1u);
  EXPECT_EQ(events_of(s, "scratches", {10, 10}, 0, 0).size(), 0u);
}

Image scene(std::mt19937& rng, int shift = 0, int noise = 4) {
  Image i(320, 240);
  for (int y = 0; y < 240; ++y)
    for (int x = 0; x < 320; ++x)
      for (int c = 0; c < 3; ++c)
        i.row(y)[3 * x + c] = uint8_t(std::clamp(((x + shift) / 20 + y / 20) % 2 * 90 + 60 + int(rng() % uint64_t(2 * noise + 1)) - noise, 0, 255));
  return i;
}

TEST(BadFrames, EachKindIsRecognisedAndGoodOnesPass) {
  std::mt19937 rng(std::random_device{}());
  FrameJudge judge;
  double t = 0;
  for (int n = 0; n < 5; ++n) ASSERT_EQ(judge.judge(scene(rng, n), ++t), FrameFault::none);
  auto filled = [](int v) {
    Image i(320, 240);
    std::fill_n(i.rgb.get(), i.bytes(), uint8_t(v));
    return i;
  };
  EXPECT_EQ(judge.judge(filled(3), ++t), FrameFault::covered);
  EXPECT_EQ(judge.judge(filled(120), ++t), FrameFault::covered);
  EXPECT_EQ(judge.judge(filled(254), ++t), FrameFault::over_exposed);
  Image blurred(320, 240);  // the same scene out of focus
  const Image sharp = scene(rng);
  for (int y = 0; y < 240; ++y)
    for (int x = 0; x < 320; ++x)
      for (int c = 0; c < 3; ++c) {
        int sum = 0, n = 0;
        for (int b = std::max(0, y - 6); b <= std::min(239, y + 6); b += 2)
          for (int a = std::max(0, x - 6); a <= std::min(319, x + 6); a += 2) sum += sharp.row(b)[3 * a + c], ++n;
        blurred.row(y)[3 * x + c] = uint8_t(sum / n);
      }
  EXPECT_EQ(judge.judge(blurred, ++t), FrameFault::blurred);
  // a smooth picture whose lower part is another one; an edge that was there before is the scene's own
  auto smooth = [](int border) {
    Image i(320, 240);
    for (int y = 0; y < 240; ++y)
      for (int x = 0; x < 320; ++x)
        for (int c = 0; c < 3; ++c) i.row(y)[3 * x + c] = uint8_t(y < border ? 60 + x / 4 : 230 - x / 4);
    return i;
  };
  FrameJudge other;
  EXPECT_EQ(other.judge(smooth(240), 0), FrameFault::none);
  EXPECT_EQ(other.judge(smooth(130), 1), FrameFault::torn);
  FrameJudge shelf;
  EXPECT_EQ(shelf.judge(smooth(130), 0), FrameFault::none);
  EXPECT_EQ(shelf.judge(smooth(131), 1), FrameFault::none);
  EXPECT_EQ(judge.judge(scene(rng, 9), ++t), FrameFault::none);
  const Image still = scene(rng, 3);
  EXPECT_EQ(judge.judge(still, 100), FrameFault::none);
  EXPECT_EQ(judge.judge(still, 105), FrameFault::none);
  EXPECT_EQ(judge.judge(still, 111), FrameFault::frozen);
  EXPECT_EQ(judge.judge(scene(rng, 4), 112), FrameFault::none);
}

Event make_event(double unix_s, std::vector<std::string> actions) {
  Event e;
  e.source = "s", e.rule = "r", e.defect = "d", e.answer = "a", e.unix_s = unix_s, e.has_box = true, e.box_px = {1, 2, 11, 22};
  e.actions = std::move(actions);
  return e;
}

TEST_F(WatchTest, AFrameIsCommittedOnce) {
  Store store(folder_ / "w.sqlite");
  std::vector<Event> events{make_event(1000, {"x", "y"}), make_event(1000, {})};
  EXPECT_FALSE(store.done("s", "1"));
  EXPECT_TRUE(store.commit("s", "1", events, "jpeg"));
  EXPECT_GT(events[0].id, 0);
  EXPECT_TRUE(store.done("s", "1"));
  std::vector<Event> again{make_event(1000, {"x"})};
  EXPECT_FALSE(store.commit("s", "1", again, ""));
  EXPECT_EQ(store.counts().events, 2);
  EXPECT_EQ(store.due("x", 1e12, 10).size(), 1u);
  store.failed(events[0].id, "x", 50, false);
  EXPECT_EQ(store.due("x", 49, 10).size(), 0u);
  ASSERT_EQ(store.due("x", 51, 10).size(), 1u);
  EXPECT_EQ(store.due("x", 51, 10)[0].attempts, 1);
  store.delivered(events[0].id, "x");
  EXPECT_EQ(store.due("x", 1e12, 10).size(), 0u);
  store.failed(events[0].id, "y", 0, true);
  EXPECT_EQ(store.counts().given_up, 1);
  EXPECT_EQ(store.counts().pending, 0);
  EXPECT_THROW(Store{folder_}, Error);
}

TEST_F(WatchTest, RetentionByAgeAndSize) {
  Store store(folder_ / "w.sqlite");
  for (int i = 0; i < 10; ++i) {
    std::vector<Event> e{make_event(1e6 + i * 86400, i == 1 ? std::vector<std::string>{"x"} : std::vector<std::string>{})};
    store.commit("s", std::to_string(i), e, std::string(300000, 'j'));
  }
  EXPECT_EQ(store.retain(1e6 + 10 * 86400, 6.5, 1000), 3);  // 0..3 are old; 1 is still to be delivered
  EXPECT_EQ(store.counts().events, 7);
  EXPECT_TRUE(store.frame_jpeg("s", "2").empty());
  store.retain(1e6 + 10 * 86400, 100, 1);  // 1 MB holds three of them, the newest
  EXPECT_TRUE(store.frame_jpeg("s", "6").empty());
  EXPECT_FALSE(store.frame_jpeg("s", "9").empty());
  EXPECT_TRUE(store.done("s", "0"));  // forgotten, but never looked at twice
}

TEST_F(WatchTest, ExportsAreWhole) {
  Store store(folder_ / "w.sqlite");
  std::vector<Event> e{make_event(1, {}), make_event(1, {})};
  e[1].defect = "other";
  store.commit("s", "a.jpg", e, "jpeg");
  EXPECT_EQ(export_jsonl(store, folder_ / "e.jsonl"), 2);
  EXPECT_EQ(export_coco(store, folder_ / "coco.json"), 2);
  const auto coco = nlohmann::json::parse(read_file(folder_ / "coco.json"));
  EXPECT_EQ(coco["images"].size(), 1u);
  EXPECT_EQ(coco["categories"].size(), 2u);
  EXPECT_EQ(coco["annotations"][0]["bbox"], (nlohmann::json{1.0, 2.0, 10.0, 20.0}));
  EXPECT_EQ(read_file(folder_ / coco["images"][0]["file_name"].get<std::string>()), "jpeg");
}

// A process that commits frames one after another is killed at random moments, again and again: in the end every frame is
// there once, with all of its events and deliveries.
TEST_F(WatchTest, NothingIsLostOrDoubledAcrossKill) {
  const fs::path path = folder_ / "w.sqlite";
  { Store make(path); }
  constexpr int kFrames = 120;
  std::mt19937 rng(std::random_device{}());
  int kills = 0;
  for (int round = 0; round < 200; ++round) {
    const pid_t pid = fork();
    if (pid == 0) {
      Store store(path);
      for (int i = 0; i < kFrames; ++i) {
        if (store.done("s", std::to_string(i))) continue;
        std::vector<Event> e{make_event(i, {"x"}), make_event(i, {"x", "y"})};
        store.commit("s", std::to_string(i), e, std::string(20000, 'j'));
      }
      _exit(0);
    }
    usleep(useconds_t(2000 + rng() % 30000));
    kill(pid, SIGKILL);
    int status = 0;
    waitpid(pid, &status, 0);
    if (WIFEXITED(status)) break;
    ++kills;
  }
  Store store(path);
  EXPECT_GT(kills, 0);
  EXPECT_EQ(store.counts().frames, kFrames);
  EXPECT_EQ(store.counts().events, 2 * kFrames);
  EXPECT_EQ(store.counts().pending, 3 * kFrames);
  std::set<int64_t> ids;
  for (const Delivery& d : store.due("x", 1e12, 100000)) EXPECT_TRUE(ids.insert(d.event).second);
  EXPECT_EQ(ids.size(), size_t(2 * kFrames));
}

TEST_F(WatchTest, CommandsConfirmByTheirExitCode) {
  ActionConfig a;
  a.kind = ActionKind::command;
  a.argv = {"sh", "-c", "cat > " + (folder_ / "got").string()};
  make_sender(a)->send({1, "a", 0, "{\"x\":1}"});
  EXPECT_EQ(read_file(folder_ / "got"), "{\"x\":1}");
  a.argv = {"false"};
  EXPECT_THROW(make_sender(a)->send({1, "a", 0, "{}"}), Error);
  a.argv = {"/nowhere/program"};
  EXPECT_THROW(make_sender(a)->send({1, "a", 0, "{}"}), Error);
  a.argv = {"sleep", "30"};
  a.timeout_s = 0.2;
  EXPECT_THAT([&] { make_sender(a)->send({1, "a", 0, "{}"}); }, ::testing::ThrowsMessage<Error>(HasSubstr("more than 0.2 seconds")));
}

// RFC 4231, test case 2.
TEST(Signature, IsHmacSha256) {
  EXPECT_EQ(sign_body("Jefe", "what do ya want for nothing?"), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

}  // namespace
}  // namespace vl8::watch
