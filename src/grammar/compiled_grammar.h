// A grammar made ready for one vocabulary: what answers are constrained with. Compiling is cheap (the automaton grows while it
// is used); its states and masks are shared by all constraints, so that a grammar that is used again is fast from the start.
// Safe to use from any number of threads.
#pragma once
#include <memory>
#include <mutex>
#include <string_view>
#include <vector>

#include "grammar/expr.h"
#include "grammar/token_constraint.h"
#include "grammar/vocabulary.h"

namespace vl8 {

class Network;
class TokenMasks;

class CompiledGrammar : public std::enable_shared_from_this<CompiledGrammar> {
 public:
  // Throws Error(unsupported) beyond a limit and Error(input) where no text satisfies the grammar.
  static std::shared_ptr<CompiledGrammar> make(const Grammar& grammar, std::shared_ptr<const TokenVocabulary> vocabulary,
                                               const GrammarLimits& limits = {});

  // end_tokens: those that end an answer; they are allowed where the text is complete.
  std::unique_ptr<TokenConstraint> start(std::vector<TokenId> end_tokens);

  bool accepts(std::string_view text);         // as a whole
  int64_t shortest_bytes();                    // of the shortest complete text
  size_t cached_bytes();                       // of states and masks
  const TokenVocabulary& vocabulary() const { return *vocabulary_; }

 private:
  friend class GrammarConstraint;
  CompiledGrammar() = default;
  std::shared_ptr<TokenMasks> masks();  // the current ones, fresh ones where they are full; call with the lock held

  std::shared_ptr<const Network> network_;
  std::shared_ptr<const TokenVocabulary> vocabulary_;
  GrammarLimits limits_;
  std::mutex mutex_;
  std::shared_ptr<TokenMasks> masks_;
};

}  // namespace vl8
