// --schema, --regex, --grammar, --choice and --json-object: the form of an answer.
#pragma once
#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

#include "grammar/structured_output.h"

namespace vl8 {

struct StructuredOptions {
  std::string schema_file, regex, grammar_file, spacing = "flexible";
  std::vector<std::string> choices;
  bool json_object = false;

  void add_to(CLI::App& app);
  // Null where the answer is free text.
  std::shared_ptr<CompiledGrammar> compile(const Tokenizer& tokenizer) const;
};

}  // namespace vl8
