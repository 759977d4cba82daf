// Chat templates and the messages they are given. Input: a template, a NUL, messages as JSON; without a NUL, messages for a plain
// template.
#include "fuzz.h"
#include "text/chat_template.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace vl8;
  const std::string_view all(reinterpret_cast<const char*>(data), size);
  const size_t nul = all.find('\0');
  const std::string source = nul == all.npos ? "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}" : std::string(all.substr(0, nul));
  const auto messages = nlohmann::ordered_json::parse(nul == all.npos ? all : all.substr(nul + 1), nullptr, false);
  return fuzz::answer([&] {
    const auto t = ChatTemplate::from_source(source, "fuzz");
    ChatOptions options;
    options.now = 1'700'000'000;
    const auto fallback = nlohmann::ordered_json::array({{{"role", "user"}, {"content", "hello"}}});
    t.render(messages.is_discarded() ? fallback : messages, nullptr, options);
  });
}
