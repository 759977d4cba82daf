// Inside media only: messages between vl8 and its decoding process, over one stream socket. A message is a line of JSON
// (the head), raw bytes (pixels, file contents) and, towards the worker, at most one open file.
#pragma once
#include <chrono>
#include <cstdint>
#include <vector>

#include "media/worker.h"

namespace vl8::worker {

struct Message {
  nlohmann::json head;
  std::vector<uint8_t> bytes;
  int fd = -1;  // owned by the receiver; -1: none
};

constexpr size_t kMaxHeadBytes = size_t(1) << 20;
constexpr size_t kMaxBytes = size_t(2) << 30;

// Bytes are sent from `data` so that pixels need no copy. False: the other side is gone.
bool send_message(int socket, const nlohmann::json& head, const void* data, size_t size, int fd = -1);
// `bytes_limit` is checked before memory is taken. deadline: of the whole message.
Receive receive_message(int socket, Message& out, size_t bytes_limit,
                        std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max());

}  // namespace vl8::worker
