#include "structured_options.h"

#include "core/file.h"

namespace vl8 {

void StructuredOptions::add_to(CLI::App& app) {
  auto* group = app.add_option_group("Form of the answer");
  group->require_option(0, 1);
  group->add_option("--schema", schema_file, "file with a JSON Schema that the answer satisfies");
  group->add_flag("--json-object", json_object, "the answer is any JSON object");
  group->add_option("--regex", regex, "the answer matches this regular expression as a whole");
  group->add_option("--choice", choices, "the answer is one of these; repeat the option")
      ->expected(1)
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  group->add_option("--grammar", grammar_file, "file with a grammar (GBNF) that the answer follows");
  app.add_option("--json-spacing", spacing, "white space of JSON answers: flexible (as the model likes, within reason), compact or spaced")
      ->check(CLI::IsMember({"flexible", "compact", "spaced"}))
      ->capture_default_str();
}

std::shared_ptr<CompiledGrammar> StructuredOptions::compile(const Tokenizer& tokenizer) const {
  OutputFormat f;
  f.spacing = spacing == "compact" ? JsonSpacing::compact : spacing == "spaced" ? JsonSpacing::spaced : JsonSpacing::flexible;
  const size_t most = GrammarLimits{}.source_bytes;
  if (!schema_file.empty()) f.kind = OutputKind::json_schema, f.source = read_file(schema_file, most);
  else if (!grammar_file.empty()) f.kind = OutputKind::grammar, f.source = read_file(grammar_file, most);
  else if (!regex.empty()) f.kind = OutputKind::regex, f.source = regex;
  else if (!choices.empty()) f.kind = OutputKind::choice, f.source = nlohmann::json(choices).dump();
  else if (!json_object) return nullptr;
  return StructuredOutput(tokenizer).compile(f);
}

}  // namespace vl8
