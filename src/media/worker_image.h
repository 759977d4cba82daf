// Inside media only: pictures across the border of a worker.
#pragma once
#include "media/worker.h"
#include "media/worker_wire.h"

namespace vl8::worker {

nlohmann::json image_head(const Image& image);
// What comes from a worker is as little trusted as the file. Error(input) when head and bytes do not fit.
Image image_from_reply(const Worker::Reply& reply, std::string_view name);

// A worker's work: one object for its life, one handle() a call. Throws Error.
class Task {
 public:
  virtual ~Task() = default;
  // Fills `head`; the bytes of the answer stay valid until the next call.
  virtual std::span<const uint8_t> handle(const Message& request, nlohmann::json& head) = 0;
  // Whether the process may still open files and connections after its first call.
  virtual bool needs_system() const { return false; }
};

}  // namespace vl8::worker
