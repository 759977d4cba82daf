#include "server/tool_calls.h"

#include <algorithm>
#include <optional>

#include "server/json_fields.h"

namespace vl8 {
namespace {

constexpr std::string_view kOpen = "<tool_call>", kClose = "</tool_call>", kBlank = " \t\r\n";

// Length of the longest end of `text` that is a proper beginning of `word`.
size_t begun(std::string_view text, std::string_view word) {
  for (size_t n = std::min(text.size(), word.size() - 1); n > 0; --n)
    if (text.ends_with(word.substr(0, n))) return n;
  return 0;
}

enum class HeaderMatch : uint8_t { yes, no, more };  // of a header

// Reads `{"name": "...", "arguments": {` from the beginning of a block.
struct HeaderReader {
  std::string_view text;
  size_t pos = 0;

  void blanks() { pos = std::min(text.find_first_not_of(kBlank, pos), text.size()); }
  HeaderMatch literal(std::string_view word) {
    blanks();
    std::string_view rest = text.substr(pos);
    if (rest.starts_with(word)) return pos += word.size(), HeaderMatch::yes;
    return word.starts_with(rest) ? HeaderMatch::more : HeaderMatch::no;
  }
  HeaderMatch string(std::string& out) {
    blanks();
    if (pos >= text.size()) return HeaderMatch::more;
    if (text[pos] != '"') return HeaderMatch::no;
    size_t end = pos + 1;
    while (end < text.size() && text[end] != '"') end += text[end] == '\\' ? 2 : 1;
    if (end >= text.size()) return HeaderMatch::more;
    Json value = Json::parse(text.substr(pos, end + 1 - pos), nullptr, false);
    if (!value.is_string()) return HeaderMatch::no;
    out = value.get<std::string>();
    pos = end + 1;
    return HeaderMatch::yes;
  }
  // yes: pos stands on the brace that opens the arguments.
  HeaderMatch header(std::string& name) {
    for (std::string_view word : {"{", "\"name\"", ":"})
      if (HeaderMatch m = literal(word); m != HeaderMatch::yes) return m;
    if (HeaderMatch m = string(name); m != HeaderMatch::yes) return m;
    for (std::string_view word : {",", "\"arguments\"", ":"})
      if (HeaderMatch m = literal(word); m != HeaderMatch::yes) return m;
    HeaderMatch m = literal("{");
    if (m == HeaderMatch::yes) --pos;
    return m;
  }
};

}  // namespace

void ToolCallParser::begin_call(std::string name, Out& out) {
  dropped_ = calls_ >= max_calls_;
  blanks_.clear();
  if (dropped_) return;
  out.push_back({AnswerPiece::Kind::call_begin, calls_++, std::move(name)});
}

void ToolCallParser::arguments(std::string_view text, Out& out) {
  if (!dropped_ && !text.empty()) out.push_back({AnswerPiece::Kind::call_arguments, calls_ - 1, std::string(text)});
}

void ToolCallParser::push(std::string_view text, Out& out) {
  held_ += text;
  while (step(out, false)) {}
}

void ToolCallParser::finish(Out& out) {
  while (step(out, true)) {}
  if (!blanks_.empty() && calls_ == 0) out.push_back({AnswerPiece::Kind::text, 0, std::move(blanks_)});
  blanks_.clear();
}

bool ToolCallParser::step(Out& out, bool last) {
  if (held_.empty()) return false;
  switch (state_) {
    case State::text: return take_text(out, last);
    case State::block: return take_block(out, last);
    case State::arguments: return take_arguments(out);
    case State::tail: break;
  }
  return take_tail(last);
}

bool ToolCallParser::take_text(Out& out, bool last) {
  const size_t open = held_.find(kOpen);
  const size_t end = open != std::string::npos ? open : held_.size() - (last ? 0 : begun(held_, kOpen));
  std::string text = std::move(blanks_) + held_.substr(0, end);
  held_.erase(0, end);
  blanks_.clear();
  const size_t solid = text.find_last_not_of(kBlank) + 1;  // 0 where all is blank
  blanks_ = text.substr(solid);
  text.resize(solid);
  if (!text.empty()) out.push_back({AnswerPiece::Kind::text, 0, std::move(text)});
  if (open == std::string::npos) return false;
  held_.erase(0, kOpen.size());
  state_ = State::block;
  return true;
}

bool ToolCallParser::take_block(Out& out, bool last) {
  HeaderReader reader{held_};
  std::string name;
  if (HeaderMatch m = reader.header(name); m == HeaderMatch::yes) {
    held_.erase(0, reader.pos);
    begin_call(std::move(name), out);
    state_ = State::arguments;
    depth_ = 0;
    in_string_ = escaped_ = false;
    return true;
  }
  // Another order of the keys, or not a call at all: decided when the block is complete.
  const size_t close = held_.find(kClose);
  if (close == std::string::npos && !last) return false;
  whole_block(std::string_view(held_).substr(0, close), out, close != std::string::npos);
  held_.erase(0, close == std::string::npos ? held_.size() : close + kClose.size());
  state_ = State::text;
  return true;
}

void ToolCallParser::whole_block(std::string_view block, Out& out, bool closed) {
  Json call = Json::parse(block, nullptr, false);
  if (call.is_object() && call.contains("name") && call["name"].is_string()) {
    Json arguments_json = call.contains("arguments") ? call["arguments"] : call.value("parameters", Json::object());
    begin_call(call["name"].get<std::string>(), out);
    arguments(arguments_json.is_string() ? arguments_json.get<std::string>() : arguments_json.dump(), out);
    return;
  }
  std::string raw = std::move(blanks_);
  blanks_.clear();
  raw += kOpen;
  raw += block;
  if (closed) raw += kClose;
  out.push_back({AnswerPiece::Kind::text, 0, std::move(raw)});
}

bool ToolCallParser::take_arguments(Out& out) {
  size_t i = 0;
  bool complete = false;
  for (; i < held_.size() && !complete; ++i) {
    const char c = held_[i];
    if (escaped_) escaped_ = false;
    else if (in_string_) {
      escaped_ = c == '\\';
      in_string_ = c != '"';
    } else if (c == '"') in_string_ = true;
    else if (c == '{' || c == '[') ++depth_;
    else if (c == '}' || c == ']') complete = --depth_ == 0;
  }
  arguments(std::string_view(held_).substr(0, i), out);
  held_.erase(0, i);
  if (complete) state_ = State::tail;
  return complete;
}

bool ToolCallParser::take_tail(bool last) {
  const size_t close = held_.find(kClose);
  if (close != std::string::npos) {
    held_.erase(0, close + kClose.size());
    state_ = State::text;
    return true;
  }
  held_.erase(0, last ? held_.size() : held_.size() - begun(held_, kClose));
  return false;
}

}  // namespace vl8
