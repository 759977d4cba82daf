#include "dump_text.h"

#include <istream>
#include <nlohmann/json.hpp>
#include <ostream>

#include "core/error.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace vl8 {
namespace {
using Json = nlohmann::ordered_json;
constexpr size_t kMaxLineBytes = size_t(64) << 20;

template <typename T>
T option(const Json& row, const char* key, T absent) {
  auto it = row.find(key);
  if (it == row.end() || it->is_null()) return absent;
  if (!it->is_boolean()) fail_input("{} must be true or false", key);
  return it->get<T>();
}

// Reads a line of at most kMaxLineBytes; false at the end.
bool read_line(std::istream& in, std::string& line) {
  line.clear();
  for (int c; (c = in.get()) != std::istream::traits_type::eof();) {
    if (c == '\n') return true;
    line.push_back(char(c));
    if (line.size() > kMaxLineBytes) fail_input("the line has more than {} bytes", kMaxLineBytes);
  }
  return !line.empty();
}

template <typename F>
void each_line(std::istream& in, std::ostream& out, F&& answer) {
  std::string line;
  for (size_t number = 1;; ++number) {
    try {
      if (!read_line(in, line)) break;
      if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
      Json row = Json::parse(line, nullptr, false);
      if (!row.is_object()) fail_input("a JSON object is expected");
      out << answer(row).dump() << "\n";
    } catch (const Error& e) {
      fail(e.kind(), "line {}: {}", number, e.what());
    }
  }
  out.flush();
  if (!out) fail(ErrorKind::resource, "the output cannot be written");
}
}  // namespace

void dump_tokens(const std::filesystem::path& model, std::istream& in, std::ostream& out) {
  Tokenizer tokenizer = Tokenizer::load(model);
  each_line(in, out, [&](const Json& row) {
    auto it = row.find("text");
    if (it == row.end() || !it->is_string()) fail_input("\"text\" must be a string");
    auto ids = tokenizer.encode(it->get_ref<const std::string&>());
    return Json{{"ids", ids}, {"decoded", tokenizer.decode(ids)}};
  });
}

void dump_prompt(const std::filesystem::path& model, std::istream& in, std::ostream& out) {
  Tokenizer tokenizer = Tokenizer::load(model);
  ChatTemplate chat = ChatTemplate::load(model);
  each_line(in, out, [&](const Json& row) {
    if (!row.contains("messages")) fail_input("\"messages\" is missing");
    ChatOptions options;
    options.add_generation_prompt = option(row, "add_generation_prompt", true);
    options.add_vision_id = option(row, "add_vision_id", false);
    if (row.contains("extra")) options.extra = row["extra"];
    MarkedText prompt = chat.render(row["messages"], row.contains("tools") ? row["tools"] : Json(), options);
    bool literal = option(row, "literal_specials", false);
    auto ids = literal ? tokenizer.encode_prompt(prompt) : tokenizer.encode(prompt.view());
    return Json{{"rendered", prompt.str()}, {"ids", ids}};
  });
}

}  // namespace vl8
