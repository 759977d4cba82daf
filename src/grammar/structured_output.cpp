#include "grammar/structured_output.h"

#include <algorithm>

#include "core/error.h"
#include "grammar/gbnf.h"
#include "grammar/regex.h"
#include "text/utf8.h"

namespace vl8 {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kMostBytes = size_t(512) << 20;  // of states and masks of all grammars that are kept

Grammar single_rule(const char* name, ExprPtr e) {
  Grammar g;
  g.add(name, std::move(e));
  return g;
}

Grammar choice_grammar(const std::string& source, const GrammarLimits& limits) {
  if (source.size() > limits.source_bytes)
    fail(ErrorKind::unsupported, "the list of choices has {} bytes, the limit is {}", source.size(), limits.source_bytes);
  const Json j = Json::parse(source, nullptr, false);
  if (!j.is_array() || j.empty()) fail_input("choices must be a JSON list of texts that is not empty");
  std::vector<ExprPtr> parts;
  for (const Json& c : j) {
    if (!c.is_string()) fail_input("choices must be texts; {} is none", c.dump());
    parts.push_back(literal(c.get<std::string>()));
  }
  return single_rule("choice", choice(std::move(parts)));
}

Grammar make_grammar(const OutputFormat& f, const GrammarLimits& limits) {
  switch (f.kind) {
    case OutputKind::json_object: return json_object_grammar(f.spacing);
    case OutputKind::json_schema: return parse_json_schema(f.source, f.spacing, limits);
    case OutputKind::regex: return single_rule("regex", parse_regex(f.source, RegexMatch::full, limits, "the regular expression"));
    case OutputKind::choice: return choice_grammar(f.source, limits);
    case OutputKind::grammar: return parse_gbnf(f.source, limits);
  }
  return {};
}

ExprPtr control(TokenId id, const char* spelled) { return id >= 0 ? token_literal(id) : literal(spelled); }

Grammar tool_call_grammar(const ToolCallFormat& f, TokenId begin, TokenId end, const GrammarLimits& limits) {
  if (!f.tools.is_array() || f.tools.empty()) fail_input("tools must be a list of functions that is not empty");
  Grammar g;
  std::vector<ExprPtr> calls;
  for (size_t i = 0; i < f.tools.size(); ++i) {
    const Json& tool = f.tools[i];
    const Json& function = tool.is_object() && tool.contains("function") ? tool["function"] : tool;
    if (!function.is_object() || !function.contains("name") || !function["name"].is_string())
      fail_input("tools[{}]: a function with a name is needed", i);
    if (!f.only.empty() && function["name"] != f.only) continue;
    Json parameters = function.contains("parameters") && !function["parameters"].is_null() ? function["parameters"] : Json{{"type", "object"}};
    const int32_t arguments = add_json_schema(g, parameters, JsonSpacing::flexible, limits);
    calls.push_back(sequence({literal("{\"name\": " + function["name"].dump() + ", \"arguments\": "), rule_ref(arguments), literal("}")}));
  }
  if (calls.empty()) fail_input("tool_choice: there is no function named '{}' in tools", f.only);
  ExprPtr call = sequence({control(begin, "<tool_call>"), literal("\n"), choice(std::move(calls)), literal("\n"), control(end, "</tool_call>")});
  const int32_t one = g.add("tool call", call);
  g.start = g.add("tool calls", f.parallel ? sequence({rule_ref(one), repeat(sequence({literal("\n"), rule_ref(one)}), 0, kUnlimited)})
                                           : rule_ref(one));
  return g;
}

}  // namespace

StructuredOutput::StructuredOutput(const Tokenizer& tokenizer, GrammarLimits limits, size_t kept)
    : limits_(limits), kept_(kept), vocabulary_(std::make_shared<const TokenVocabulary>(tokenizer)) {
  call_begin_ = tokenizer.find_added("<tool_call>").value_or(-1);
  call_end_ = tokenizer.find_added("</tool_call>").value_or(-1);
}

StructuredOutput::StructuredOutput(const StructuredOutput& o)
    : limits_(o.limits_), kept_(o.kept_), vocabulary_(o.vocabulary_), call_begin_(o.call_begin_), call_end_(o.call_end_) {}

std::shared_ptr<CompiledGrammar> StructuredOutput::compile(const OutputFormat& format) {
  const std::string key = fmt::format("{} {} {}", int(format.kind), int(format.spacing), format.source);
  return remembered(key, [&] { return make_grammar(format, limits_); });
}

std::shared_ptr<CompiledGrammar> StructuredOutput::compile(const ToolCallFormat& format) {
  if (!is_valid_utf8(format.only)) fail_input("tool_choice: the name is not valid UTF-8");
  const std::string key = fmt::format("tools {} {} {}", format.parallel, format.only, format.tools.dump());
  return remembered(key, [&] { return tool_call_grammar(format, call_begin_, call_end_, limits_); });
}

// Compiling happens outside the lock: a large schema must not hold up other requests.
std::shared_ptr<CompiledGrammar> StructuredOutput::remembered(const std::string& key, const std::function<Grammar()>& make) {
  auto find = [&]() -> std::shared_ptr<CompiledGrammar> {
    auto it = std::find_if(recent_.begin(), recent_.end(), [&](auto& r) { return r.first == key; });
    if (it == recent_.end()) return nullptr;
    recent_.splice(recent_.begin(), recent_, it);
    return it->second;
  };
  {
    std::lock_guard lock(mutex_);
    if (auto known = find()) return known;
  }
  auto made = CompiledGrammar::make(make(), vocabulary_, limits_);
  std::lock_guard lock(mutex_);
  if (auto known = find()) return known;
  recent_.emplace_front(key, made);
  size_t bytes = 0;
  for (auto it = recent_.begin(); it != recent_.end(); ++it) bytes += it->second->cached_bytes();
  for (; recent_.size() > 1 && (recent_.size() > kept_ || bytes > kMostBytes); recent_.pop_back())
    bytes -= std::min(bytes, recent_.back().second->cached_bytes());
  return made;
}

}  // namespace vl8
