// The configuration of `vl8 watch`: TOML, every value range-checked, unknown keys refused. docs/watch.toml is an example
// with every key.
#pragma once
#include <array>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "sparse/controller.h"
#include "sparse/frame_gate.h"
#include "sparse/policy.h"
#include "watch/bad_frame.h"
#include "watch/calibration.h"

namespace vl8::watch {

enum class ActionKind : uint8_t { webhook, mqtt, command, out };

// Where events go. Delivery is at least once and in order; the event's id is the same each time.
struct ActionConfig {
  std::string name;
  ActionKind kind = ActionKind::out;
  std::string url, secret;                 // webhook; secret: HMAC-SHA256 over the body
  std::string host = "127.0.0.1", topic = "vl8/events", user, password;  // mqtt
  int port = 1883, qos = 1;
  std::vector<std::string> argv;           // command: the event is its standard input
  int attempts = 8;                        // then it is given up, and counted
  double first_wait_s = 1, timeout_s = 10; // waits double
};

// What in an answer becomes an event. One event per box with `boxes`, one per answer else.
struct RuleConfig {
  std::string name, defect;
  std::string matches;       // regular expression (ECMAScript, case ignored) on the answer; empty: any
  bool boxes = false;        // needs boxes (or points) in the answer
  std::string label;         // of boxes: only these; empty: any
  std::string sentence;      // {defect} {x} {y} {label} {answer} {time} {source}
  double min_interval_s = 0; // the same defect at the same place is not reported again sooner
  std::vector<std::string> actions;
};

enum class Overload : uint8_t { drop_oldest, lower_rate, lower_budget };

struct SourceConfig {
  std::string name, input;        // video file, folder that fills, rtsp:// http:// udp:// address, /dev/videoN
  bool live = true;               // false: every frame is looked at, however long it takes
  double rate = 1;                // looks a second; of a folder of pictures: 0 takes them as they come
  bool repeat = false;            // files: begin again at the end
  std::optional<std::array<int, 4>> roi;  // x, y, width, height in pixels
  std::string question, system;
  int64_t max_tokens = 128, max_pixels = 0;
  Sparsity sparsity;              // off: dense looks, and no frame gate
  FrameGateSettings gate;
  ControllerSettings controller;
  BadFrameSettings bad;
  std::optional<Calibration> calibration;
  std::vector<RuleConfig> rules;
};

struct WatchConfig {
  std::filesystem::path path;
  std::string model, precision = "bf16";
  std::filesystem::path store = "watch.sqlite";
  double keep_days = 30;
  int64_t keep_mb = 2000;
  bool keep_frames = true;
  Overload overload = Overload::drop_oldest;
  double max_latency_s = 2;       // from a frame to its answer; beyond it the overload policy acts
  double report_s = 10;           // counters are logged this often
  std::vector<SourceConfig> sources;
  std::vector<ActionConfig> actions;

  // Error(input) names file, line and key. Secrets may be written as env:NAME.
  static WatchConfig load(const std::filesystem::path& path);
};

// The part that may change while running, of each source by name: sparsity, gate, controller, rate. Read again when the file
// changes; a broken file keeps what was and says so.
}  // namespace vl8::watch
