// Fills the pictures and clips of requests in, in the pools that may wait: remote files first, then decoding.
#pragma once
#include <functional>
#include <memory>
#include <vector>

#include "server/server_state.h"

namespace vl8 {

// Calls done(nullptr) once every source of every request is in request.chat.images and videos, or done(fault) with the first
// fault; on some pool's thread, exactly once. `requests` must live until then.
void load_media(ServerState& server, std::shared_ptr<std::vector<ApiRequest>> requests, std::function<void(std::exception_ptr)> done);

}  // namespace vl8
