// The one internal form of every constraint: rules of expressions over code points. Schemas, patterns and grammars are read
// into it, automata are built from it. Expressions are immutable and shared.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "grammar/code_points.h"

namespace vl8 {

class CharDfa;
struct Expr;
using ExprPtr = std::shared_ptr<const Expr>;

// How a character is written: as itself, or as inside a JSON string (RFC 8259, section 7) in its shortest form, so that
// quotes, backslashes and controls are escaped and nothing else is.
enum class Spelling : uint8_t { plain, json };

struct Expr {
  enum class Kind : uint8_t { never, empty, chars, bytes, token, sequence, choice, repeat, rule, automaton };
  Kind kind = Kind::never;
  Spelling spelling = Spelling::plain;        // chars, automaton
  CodePoints set;                             // chars: one member
  std::string text;                           // bytes: valid UTF-8, not empty
  int32_t id = 0;                             // token: a control token; rule: its index
  std::vector<ExprPtr> parts;                 // sequence, choice; repeat: one
  int64_t min = 0, max = 0;                   // repeat; max < 0: no limit
  std::shared_ptr<const CharDfa> dfa;         // automaton
};

inline constexpr int64_t kUnlimited = -1;

// Builders. They fold the trivial cases: a sequence with `never` is never, a choice drops it.
ExprPtr never();
ExprPtr nothing();  // the empty text
ExprPtr chars(CodePoints set, Spelling spelling = Spelling::plain);
ExprPtr literal(std::string_view text);                 // valid UTF-8
ExprPtr token_literal(int32_t token);                   // a control token of the vocabulary, which has no spelling
ExprPtr sequence(std::vector<ExprPtr> parts);
ExprPtr choice(std::vector<ExprPtr> parts);
ExprPtr repeat(ExprPtr body, int64_t min, int64_t max);
ExprPtr optional_of(ExprPtr body);
ExprPtr rule_ref(int32_t rule);
ExprPtr automaton(std::shared_ptr<const CharDfa> dfa, Spelling spelling);
ExprPtr with_spelling(const ExprPtr& e, Spelling spelling);  // of everything in it; rules are not followed

struct Rule {
  std::string name;  // for messages
  ExprPtr body;      // null until defined
};

struct Grammar {
  std::vector<Rule> rules;
  int32_t start = 0;
  int32_t add(std::string name, ExprPtr body = nullptr) {
    rules.push_back({std::move(name), std::move(body)});
    return int32_t(rules.size()) - 1;
  }
};

// What a constraint may cost; compiling and matching refuse with Error(unsupported) beyond it, naming the limit.
struct GrammarLimits {
  size_t source_bytes = 1 << 20;      // of a schema, pattern or grammar
  size_t depth = 128;                 // nesting of a schema, pattern or grammar
  size_t rules = 50'000;
  size_t states = 400'000;            // of the automaton before it is determinised
  size_t character_states = 50'000;   // of every automaton of patterns, lengths and excluded names
  size_t items = 20'000;              // ways in which a text may be read at one point
  size_t cache_bytes = size_t(96) << 20;  // of determinised states and masks per grammar; recomputed beyond it
};

// `text` as it stands inside a JSON string, without quotes.
std::string json_escaped(std::string_view text);

}  // namespace vl8
