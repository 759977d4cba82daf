// Structured output from its source text: the front door of this room.
//
//   StructuredOutput structured(tokenizer);                                         once per model; any thread
//   auto grammar = structured.compile({OutputKind::json_schema, schema_text});      cached by text
//   request.constraint = grammar->start(end_tokens);                                once per answer
#pragma once
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "grammar/compiled_grammar.h"
#include "grammar/json_schema.h"

namespace vl8 {

enum class OutputKind : uint8_t {
  json_object,  // any JSON object; no source
  json_schema,  // JSON text of a schema
  regex,        // the whole answer matches
  choice,       // JSON text: a list of answers, one of which is given
  grammar,      // GBNF
};

struct OutputFormat {
  OutputKind kind = OutputKind::json_object;
  std::string source;
  JsonSpacing spacing = JsonSpacing::flexible;
  auto operator<=>(const OutputFormat&) const = default;
};

// Calls of functions as Qwen3-VL writes them: <tool_call>, a line of JSON with name and arguments, </tool_call>.
struct ToolCallFormat {
  nlohmann::ordered_json tools;    // as in a chat request: [{"type": "function", "function": {"name", "parameters"?}}, ...]
  std::string only;                // the name of the function to call; empty: any
  bool parallel = true;            // one or more calls; false: one
};

class StructuredOutput {
 public:
  explicit StructuredOutput(const Tokenizer& tokenizer, GrammarLimits limits = {}, size_t kept = 64);
  StructuredOutput(const StructuredOutput& other);  // the same vocabulary, nothing compiled yet

  // Throws Error(input) for a malformed source or one that nothing satisfies, and Error(unsupported) naming what is not
  // supported. The `kept` most recently used grammars stay compiled.
  std::shared_ptr<CompiledGrammar> compile(const OutputFormat& format);
  std::shared_ptr<CompiledGrammar> compile(const ToolCallFormat& format);

  const GrammarLimits& limits() const { return limits_; }

 private:
  std::shared_ptr<CompiledGrammar> remembered(const std::string& key, const std::function<Grammar()>& make);

  GrammarLimits limits_;
  size_t kept_;
  std::shared_ptr<const TokenVocabulary> vocabulary_;
  TokenId call_begin_ = -1, call_end_ = -1;  // -1: the tokenizer has no such control token
  std::mutex mutex_;
  std::list<std::pair<std::string, std::shared_ptr<CompiledGrammar>>> recent_;  // most recent first
};

}  // namespace vl8
