// The chat template of a model folder: messages (and tools) -> prompt text with marks of who wrote what.
//
// Where the template is found, first wins: `chat_template.jinja`, `chat_template.json` ("chat_template"),
// then "chat_template" in `tokenizer_config.json`. This is the reference's order: the .jinja file is what
// today's save_pretrained writes and what people edit by hand, the .json belongs to the processor of older
// releases, and the tokenizer's copy is the oldest of all and often text-only. A list of named templates is
// accepted; "tool_use" is taken when there are tools, else "default".
//
// Before rendering, messages are brought to the form that templates expect:
// - parts {"type":"image_url","image_url":{"url":U}|U} and {"type":"input_image","image_url":U} become
//   {"type":"image","image":U}; video_url/input_video the same with "video"; a data: URL is cut to "data:";
// - {"type":"input_text"|"output_text","text":T} becomes {"type":"text","text":T}; {"type":"refusal"} becomes
// its text;
// - content null or absent becomes "" (clients send null with tool_calls); role "developer" becomes "system".
// Tool-call arguments stay as they are, a JSON string or an object.
//
// Trust of the rendered bytes: what comes from messages with role "assistant" is Trust::model, all other
// strings of messages, tools and extra are Trust::user, the template and the folder's bos/eos strings are
// Trust::author.
#pragma once
#include <ctime>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "text/marked_text.h"

namespace vl8 {

struct ChatOptions {
  bool add_generation_prompt = true;
  bool add_vision_id = false;
  nlohmann::ordered_json extra;    // further variables, e.g. {"enable_thinking": false}; null or an object
  std::optional<std::time_t> now;  // for strftime_now; the clock if absent
};

class ChatTemplate {
 public:
  // Throws Error(input) when the folder has no template or it does not parse (naming file and line).
  static ChatTemplate load(const std::filesystem::path& folder);
  static ChatTemplate from_source(const std::string& source, const std::string& origin);

  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;
  ~ChatTemplate();

  // messages: array of objects with "role"; tools: null or an array. Throws Error(input) for malformed
  // messages, for the template's own raise_exception, and for a template that breaks or exceeds its limits,
  // naming the line. Thread-safe.
  MarkedText render(const nlohmann::ordered_json& messages, const nlohmann::ordered_json& tools,
                    const ChatOptions& options = {}) const;
  const std::string& source() const;  // of the default template
  const std::string& origin() const;  // where it came from, for `inspect`

 private:
  struct State;
  explicit ChatTemplate(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// The normalisation described above, also used where the order of pictures in a request is collected.
nlohmann::ordered_json normalise_messages(const nlohmann::ordered_json& messages);

}  // namespace vl8
