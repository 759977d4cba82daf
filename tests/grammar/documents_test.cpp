// The bundled model under random schemas: every answer is a valid document, whatever the model would like to say.
// VL8_DOCUMENTS=1000 makes that many (a few minutes); a smaller number otherwise.
#include <gtest/gtest.h>

#include "engine/engine.h"
#include "grammar/structured_output.h"
#include "random_schema.h"
#include "valid_document.h"

namespace vl8 {
namespace {

TEST(ModelDocuments, OfRandomSchemasAreValid) {
  const char* asked = getenv("VL8_DOCUMENTS");
  const int documents = asked ? std::atoi(asked) : 12;
  auto engine = Engine::load(std::string(VL8_SOURCE_DIR) + "/assets/nano", {});
  StructuredOutput structured(engine->tokenizer());
  const unsigned seed = std::random_device{}();
  std::mt19937 random(seed);
  int64_t tokens = 0, cut = 0;
  for (int i = 0; i < documents; ++i) {
    const auto schema = test::random_schema(random);
    ChatRequest r;
    r.messages = nlohmann::ordered_json::array();
    r.messages.push_back({{"role", "user"}, {"content", "Describe a wooden block with four screws as JSON."}});
    r.structure = structured.compile({OutputKind::json_schema, schema.dump(), JsonSpacing(i % 3)});
    r.max_tokens = r.structure->shortest_bytes() + 64 + int64_t(random() % 128);
    r.sampling.temperature = i % 2 ? 1.0f : 0.0f;
    r.sampling.seed = random();
    const Answer a = engine->chat(r, [](const AnswerDelta&) { return true; });
    tokens += int64_t(a.tokens.size());
    cut += a.finish != Finish::stop;
    nlohmann::json document;
    ASSERT_NO_THROW(document = nlohmann::json::parse(a.text)) << a.text << "\nschema " << schema << " seed " << seed;
    ASSERT_TRUE(test::is_valid(schema, document)) << a.text << "\nschema " << schema << " seed " << seed;
  }
  EXPECT_EQ(cut, 0);
  fmt::print("{} documents, {} tokens, all valid\n", documents, tokens);
}

}  // namespace
}  // namespace vl8
