// Events of `vl8 watch` in SQLite (WAL). What belongs together is one transaction: the frame, its events, their place in the
// outbox of every action, and the mark that the frame has been dealt with. After kill -9 a frame is either done, with all its
// events, or looked at again: no event is lost and none is there twice. Delivery is at least once; the id of an event is the
// same each time, so a receiver can tell.
#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

struct sqlite3;
struct sqlite3_stmt;

namespace vl8::watch {

struct Event {
  int64_t id = 0;             // given by the store
  std::string source, frame;  // the frame's key: file name, or its time in the stream
  std::string rule, defect, label, sentence, answer;
  double unix_s = 0;                    // when the event was made
  double frame_unix_s = 0;              // when its frame was there to be looked at
  double stream_s = 0;                  // the frame's time in its source
  std::optional<double> x_mm, y_mm;     // centre of the box, through the calibration
  double x_px = 0, y_px = 0;            // likewise in pixels of the frame; 0 without a box
  std::array<double, 4> box_px{};       // x1, y1, x2, y2
  bool has_box = false;
  double activation = 1;                // share of visual work that was done
  double latency_ms = 0;                // from the frame to its answer
  nlohmann::ordered_json json() const;  // what actions send and the export writes
  std::vector<std::string> actions;
};

struct Delivery {
  int64_t event = 0;
  std::string action;
  int attempts = 0;  // failed ones so far
  std::string body;  // Event::json() as text
};

class Store {
 public:
  explicit Store(const std::filesystem::path& path);  // made when it is not there. Error(resource | input) names the file
  ~Store();
  Store(const Store&) = delete;

  bool done(const std::string& source, const std::string& frame);
  // The frame with everything that came of it, at once. `jpeg` may be empty. Gives the events their ids. A frame that is
  // done already changes nothing and returns false.
  bool commit(const std::string& source, const std::string& frame, std::vector<Event>& events, const std::string& jpeg);

  // Deliveries of this action that are due, oldest event first. They stay until `delivered` or `failed`.
  std::vector<Delivery> due(const std::string& action, double now_s, int limit);
  void delivered(int64_t event, const std::string& action);
  void failed(int64_t event, const std::string& action, double next_s, bool give_up);

  struct Counts {
    int64_t events = 0, frames = 0, pending = 0, given_up = 0;
  };
  Counts counts();
  // Frames and events older than keep_days, and the oldest ones beyond keep_mb. What is still to be delivered stays.
  // Returns the events removed.
  int64_t retain(double now_s, double keep_days, int64_t keep_mb);

  void each_event(const std::function<void(const nlohmann::ordered_json&)>& f);
  std::string frame_jpeg(const std::string& source, const std::string& frame);

 private:
  class Statement;
  void run(const char* sql);
  sqlite3* db_ = nullptr;
  std::filesystem::path path_;
  std::recursive_mutex lock_;
};

// Every event as one JSON line; returns how many. / One COCO object-detection file: images, annotations (boxes in pixels),
// categories (the defects). Frames that were kept are written beside it as JPEG. Both are written aside and renamed.
int64_t export_jsonl(Store& store, const std::filesystem::path& file);
int64_t export_coco(Store& store, const std::filesystem::path& file);

}  // namespace vl8::watch
