// A live session: a conversation that grows frame by frame, for as long as a camera runs, and can be asked at any time.
//
// The frames in view are one clip at the beginning of the user's turn, each with its time as text in front, as the model was
// trained. Appending a frame computes keys and values for it alone: everything before it is in the engine's prefix cache.
// A question is a branch: it reads the session's pages and leaves them as they were.
// Old frames leave in batches: when `slack_frames` more than the window are there, all but the window (and the key frames)
// go, and what is left is computed again with the positions of a fresh conversation. So an answer is always exactly the
// one that `vl8 run` gives for a clip of the frames in view, positions never run out, and the price is at most
// window / slack more frames through the language model for each one appended. Features of frames are kept by the session,
// so nothing goes through the vision tower twice. Memory is bounded by window + slack + key frames.
#pragma once
#include <deque>
#include <mutex>

#include "engine/service.h"

namespace vl8 {

struct SessionOptions {
  std::string system;         // system prompt; empty: none
  int64_t window_frames = 32; // newest frames that always stay in view
  int64_t slack_frames = 32;  // so many more may gather before the oldest leave
  int64_t key_frames = 8;     // frames marked as key stay beyond the window, at most so many (the newest)
  ChatOptions template_options;
  std::string salt;           // sessions with different salts share no cache entry
  int32_t priority = 0;       // of computing frames; a question has its own
  void validate(const Engine& engine) const;  // Error(usage) naming the option and its range
};

// One frame group in time. Its features are made by the engine unless they are given (gated attention makes its own).
struct SessionFrame {
  double seconds = 0;          // since the session began; not before the frame before it
  VisualInput visual;          // one frame group (grid.t = 1); hash names its content and must differ where features do
  std::vector<int32_t> kept;   // merged tokens (row * grid.w / merge + column) that enter the language model, ascending, at
                               // least one; their features are the rows of visual.slot in this order. Empty: all
  bool key = false;            // stays in view longer (SessionOptions::key_frames)
};

// A picture of a stream as a frame; settings and overrides as for a still picture.
SessionFrame session_frame(const Engine& engine, const Image& image, double seconds, const ImageOverrides& overrides = {});

struct SessionStats {
  int64_t appended = 0, in_view = 0, dropped = 0;  // frames
  int64_t rebuilds = 0;        // times that old frames left
  int64_t tokens = 0;          // of the frames in view, with their times and the system prompt
  int64_t computed_tokens = 0; // keys and values computed for frames since the session began
  double oldest_s = 0, newest_s = 0;  // times of the frames in view
  int64_t pending = 0;         // frames appended whose keys and values are not computed yet
  bool failed = false;         // the engine refused a frame: `error`
  std::string error;
};

class Session {
 public:
  // The service must outlive the session.
  Session(Service& service, SessionOptions options);
  ~Session();  // waits for its last step
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Thread-safe. Returns at once; keys and values follow in the background, one request at a time. Throws Error(usage)
  // for a frame that does not fit the model, is out of order, or would not fit the context with the window full.
  void append(SessionFrame frame);

  // Asks about the frames in view now. `request` has everything but the prompt. Returns the request's id, for cancel.
  uint64_t ask(const std::string& question, GenerationRequest request, Service::OnEvent on_event);

  // Waits until all frames appended before the call are computed.
  void flush();
  void clear();  // forgets all frames; times may begin anew

  // Takes effect with the next frame.
  void set_window(int64_t window_frames, int64_t slack_frames, int64_t key_frames);

  SessionStats stats() const;
  std::vector<double> times() const;  // of the frames in view, ascending

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace vl8
