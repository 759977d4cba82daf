// JSON Schemas: handwritten cases, refusals, the published test suite, and random schemas whose random documents an independent
// validator judges.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "core/error.h"
#include "grammar/json_schema.h"
#include "random_schema.h"
#include "support.h"
#include "valid_document.h"

namespace vl8 {
namespace {

using Json = nlohmann::ordered_json;
using test::SmallVocabulary;

const SmallVocabulary& vocabulary() {
  static const SmallVocabulary v({"{\"", "\":", "\": ", "\",", "\", \"", "},", "}]", "}}", "[]", "{}", "true", "false", "null", "12", "-1", ".5", "\\n",
                                  "ab", "the ", " name", "\\u00", "é", "中文", "\xE4\xB8", "  ", "\n ", "0", "00", "e+1"});
  return v;
}

std::shared_ptr<CompiledGrammar> compile(std::string_view schema, JsonSpacing spacing = JsonSpacing::flexible) {
  return CompiledGrammar::make(parse_json_schema(schema, spacing, {}), vocabulary().vocabulary);
}

struct Case {
  const char *schema, *yes, *no;
};

TEST(JsonSchema, Keywords) {
  const Case cases[] = {
      {R"({"type":"string"})", R"("a\n\u00e9\ud83d\ude00")", R"("\ud83d")"},
      {R"({"type":"integer"})", "-12", "1.5"},
      {R"({"type":"number"})", "-1.5e10", "01"},
      {R"({"type":["null","boolean"]})", "true", "0"},
      {R"({"enum":["a",{"b":[1,2]},null]})", R"({"b": [1, 2]})", R"("b")"},
      {R"({"const":"x\"y"})", R"("x\"y")", R"("x")"},
      {R"({"type":"string","enum":["a",1]})", R"("a")", "1"},
      {R"({"type":"integer","minimum":-5,"maximum":120})", "120", "121"},
      {R"({"type":"integer","minimum":-5,"maximum":120})", "-5", "-6"},
      {R"({"type":"integer","exclusiveMinimum":0})", "1", "0"},
      {R"({"type":"number","minimum":0.5,"exclusiveMaximum":2})", "1.99", "2"},
      {R"({"type":"number","minimum":0.5,"exclusiveMaximum":2})", "0.5", "0.49"},
      {R"({"type":"number","maximum":-3.25})", "-3.250", "-3.2"},
      {R"({"type":"integer","multipleOf":7,"minimum":10})", "14", "13"},
      {R"({"type":"number","multipleOf":0.25})", "1.75", "1.8"},
      {R"({"type":"string","minLength":2,"maxLength":3})", R"("a中\n")", R"("abcd")"},
      {R"({"type":"string","minLength":2,"maxLength":300})", R"("ab")", R"("a")"},
      {R"({"type":"string","pattern":"^[A-Z]{2}-\\d+$"})", R"("AB-12")", R"("AB-12x")"},
      {R"({"type":"string","pattern":"a","maxLength":3})", R"("xay")", R"("xxxa")"},
      {R"({"type":"string","pattern":"^a\"\\n$"})", R"("a\"\n")", R"("a\"n")"},
      {R"({"type":"string","format":"date"})", R"("2024-02-29")", R"("2023-02-29")"},
      {R"({"type":"string","format":"date-time"})", R"("2024-02-29T12:00:00Z")", R"("2024-02-29 12:00:00")"},
      {R"({"type":"string","format":"uuid"})", R"("123e4567-e89b-12d3-a456-426614174000")", R"("123e4567")"},
      {R"({"type":"string","format":"ipv4"})", R"("192.168.0.255")", R"("192.168.0.256")"},
      {R"({"type":"string","format":"email"})", R"("a.b@example.org")", R"("a.b@")"},
      {R"({"type":"array","items":{"type":"integer"},"minItems":1,"maxItems":3})", "[1, 2,3]", "[1,2,3,4]"},
      {R"({"type":"array","items":{"type":"integer"},"minItems":1})", "[1]", "[]"},
      {R"({"type":"array","items":false})", "[]", "[1]"},
      {R"({"type":"array","prefixItems":[{"type":"integer"},{"type":"string"}],"items":false})", R"([1, "a"])", R"([1, "a", 2])"},
      {R"({"type":"array","prefixItems":[{"type":"integer"}],"minItems":2})", R"([1, {"x":[]}])", "[1]"},
      {R"({"type":"array","contains":{"const":5},"items":{"type":"integer"}})", "[1,5,2]", "[1,2]"},
      {R"({"type":"array","uniqueItems":true,"items":{"enum":["a","b","c"]}})", R"(["b","a"])", R"(["b","b"])"},
      {R"({"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"string"}},"required":["a"],"additionalProperties":false})", R"({"a": 1})", R"({"b": "x"})"},
      {R"({"type":"object","properties":{"a":{},"b":{}},"additionalProperties":false})", R"({"b": {"c": []}})", R"({"b": 1, "c": 2})"},
      {R"({"type":"object","properties":{"a":{"type":"integer"}},"additionalProperties":{"type":"boolean"}})", R"({"a": 1, "z": true})", R"({"a": 1, "a": true})"},
      {R"({"type":"object","patternProperties":{"^x_":{"type":"integer"}},"additionalProperties":false})", R"({"x_1": 5})", R"({"y_1": 5})"},
      {R"({"type":"object","propertyNames":{"pattern":"^[a-z]+$"},"additionalProperties":{"type":"null"}})", R"({"abc": null})", R"({"aB": null})"},
      {R"({"type":"object","required":["k"]})", R"({"k": [1]})", R"({"j": 1})"},
      {R"({"type":"object","properties":{"a":{},"b":{},"c":{}},"minProperties":2,"maxProperties":2,"additionalProperties":false})", R"({"a":1,"c":2})", R"({"a":1,"b":2,"c":3})"},
      {R"({"type":"object","additionalProperties":{"type":"null"},"minProperties":1,"maxProperties":2})", R"({"a":null,"b":null})", "{}"},
      {R"({"$ref":"#/$defs/n","$defs":{"n":{"type":"object","properties":{"v":{"type":"integer"},"next":{"anyOf":[{"$ref":"#/$defs/n"},{"type":"null"}]}},"required":["v","next"],"additionalProperties":false}}})",
       R"({"v":1,"next":{"v":2,"next":null}})", R"({"v":1,"next":{"v":2}})"},
      {R"({"anyOf":[{"type":"string"},{"type":"integer"}]})", "5", "5.5"},
      {R"({"type":"object","properties":{"k":{"enum":["a","b"]}},"required":["k"],"oneOf":[{"properties":{"k":{"const":"a"},"x":{"type":"integer"}},"required":["k","x"]},{"properties":{"k":{"const":"b"}},"required":["k"]}],"additionalProperties":true})",
       R"({"k":"a","x":1})", R"({"k":"a","x":"1"})"},
      {R"({"oneOf":[{"type":"integer","minimum":5},{"type":"integer","maximum":10}]})", "4", "7"},
      {R"({"allOf":[{"type":"integer","minimum":5},{"maximum":8}]})", "8", "9"},
      {R"({"allOf":[{"properties":{"a":{"type":"integer"}},"required":["a"]},{"properties":{"a":{"minimum":3}}}],"type":"object"})", R"({"a":3})", R"({"a":2})"},
      {R"({"type":"string","not":{"enum":["no","never"]}})", R"("nope")", R"("no")"},
      {R"({"not":{"type":"string"},"type":["string","integer"]})", "3", R"("3")"},
      {R"({"type":"object","properties":{"t":{"enum":["card","cash"]},"n":{"type":"integer"}},"required":["t"],"if":{"properties":{"t":{"const":"card"}},"required":["t"]},"then":{"required":["n"]},"additionalProperties":false})",
       R"({"t":"cash"})", R"({"t":"card"})"},
      {R"({"type":"object","properties":{"a":{},"b":{}},"dependentRequired":{"a":["b"]},"additionalProperties":false})", R"({"a":1,"b":2})", R"({"a":1})"},
      {R"({"type":"string","nullable":true})", "null", "1"},
      {"{}", R"([{"a": {"b": [null, -0.5, "x"]}}])", "[1,]"},
      {R"({"type":"object","properties":{"a b/c~d\"é":{"type":"null"}},"required":["a b/c~d\"é"],"additionalProperties":false})", R"({"a b/c~d\"é": null})", R"({"a": null})"},
  };
  for (const Case& c : cases) {
    auto g = compile(c.schema);
    EXPECT_TRUE(g->accepts(c.yes)) << c.schema << " should accept " << c.yes;
    EXPECT_FALSE(g->accepts(c.no)) << c.schema << " should not accept " << c.no;
  }
}

// Alternatives that are written with copies of the schema must still end in recursion.
TEST(JsonSchema, RecursionThroughConditions) {
  auto g = compile(R"({"type":"object","properties":{"leaf":{"type":"boolean"},"child":{"$ref":"#"}},"required":["leaf"],
    "if":{"properties":{"leaf":{"const":false}},"required":["leaf"]},"then":{"required":["child"]},"else":{"properties":{"child":false}},
    "additionalProperties":false})");
  EXPECT_TRUE(g->accepts(R"({"leaf":false,"child":{"leaf":false,"child":{"leaf":true}}})"));
  EXPECT_FALSE(g->accepts(R"({"leaf":false,"child":{"leaf":false}})"));
  EXPECT_FALSE(g->accepts(R"({"leaf":true,"child":{"leaf":true}})"));
  auto tree = compile(R"({"oneOf":[{"type":"object","properties":{"k":{"const":"n"},"l":{"$ref":"#"},"r":{"$ref":"#"}},"required":["k","l","r"],"additionalProperties":false},
    {"type":"object","properties":{"k":{"const":"v"},"v":{"type":"integer"}},"required":["k","v"],"additionalProperties":false}]})");
  EXPECT_TRUE(tree->accepts(R"({"k":"n","l":{"k":"v","v":1},"r":{"k":"n","l":{"k":"v","v":2},"r":{"k":"v","v":3}}})"));
  EXPECT_FALSE(tree->accepts(R"({"k":"v","l":{"k":"v","v":1}})"));
}

TEST(JsonSchema, Spacing) {
  const char* schema = R"({"type":"object","properties":{"a":{"type":"array","items":{"type":"integer"}}},"required":["a"],"additionalProperties":false})";
  EXPECT_TRUE(compile(schema, JsonSpacing::compact)->accepts(R"({"a":[1,2]})"));
  EXPECT_FALSE(compile(schema, JsonSpacing::compact)->accepts(R"({"a": [1,2]})"));
  EXPECT_TRUE(compile(schema, JsonSpacing::spaced)->accepts(R"({"a": [1, 2]})"));
  EXPECT_FALSE(compile(schema, JsonSpacing::spaced)->accepts(R"({"a":[1,2]})"));
  EXPECT_TRUE(compile(schema)->accepts("{\n  \"a\": [\n    1,\n    2\n  ]\n}"));
  EXPECT_FALSE(compile(schema)->accepts("{\n\n\n\"a\": [1]}"));  // no endless blank lines
}

TEST(JsonSchema, WhatIsNotSupportedIsNamed) {
  auto message = [](const char* schema) -> std::string {
    try {
      compile(schema);
    } catch (const Error& e) {
      return e.what();
    }
    return "accepted";
  };
  using testing::HasSubstr;
  EXPECT_THAT(message(R"({"properties":{"a":{"frobnicate":1}}})"), HasSubstr("/properties/a/frobnicate"));
  EXPECT_THAT(message(R"({"properties":{"a/b":{"$dynamicRef":"#x"}}})"), HasSubstr("/properties/a~1b/$dynamicRef"));
  EXPECT_THAT(message(R"({"items":{"format":"iri"}})"), HasSubstr("/items/format"));
  EXPECT_THAT(message(R"({"items":{"pattern":"(a)\\1"}})"), HasSubstr("/items/pattern"));
  EXPECT_THAT(message(R"({"type":"array","uniqueItems":true})"), HasSubstr("/uniqueItems"));
  EXPECT_THAT(message(R"({"$ref":"https://example.org/x.json"})"), HasSubstr("/$ref"));
  EXPECT_THAT(message(R"({"$ref":"#/$defs/none"})"), HasSubstr("#/$defs/none"));
  EXPECT_THAT(message(R"({"type":"thing"})"), HasSubstr("thing"));
  EXPECT_THAT(message(R"({"type":"object","properties":{"a":false},"required":["a"]})"), HasSubstr("no text satisfies"));
  EXPECT_THAT(message(R"({"type":"integer","minimum":5,"maximum":4})"), HasSubstr("no text satisfies"));
  EXPECT_THAT(message(R"({"$ref":"#"})"), HasSubstr("no text satisfies"));
  EXPECT_THAT(message(R"({"oneOf":[{"$ref":"#"},{"type":"string"}]})"), HasSubstr("refers to itself"));
  EXPECT_THAT(message(R"({"type":"string","pattern":"(?:.{0,900}a){0,900}"})"), HasSubstr("states"));
  EXPECT_THAT(message("{\"type\":"), HasSubstr("not JSON"));
  EXPECT_THAT(message(R"({"oneOf":[{"format":"date"},{"propertyNames":{"minLength":2}}]})"), HasSubstr("negated"));
  EXPECT_THAT(message((std::string(5000, '[') + std::string(5000, ']')).c_str()), HasSubstr("nested deeper"));
  std::string nested;
  for (int i = 0; i < 3000; ++i) nested += R"({"items":)";
  EXPECT_THAT(message((nested + "{}" + std::string(3000, '}')).c_str()), HasSubstr("nested deeper"));
  std::string forks = R"({"allOf":[)";
  for (int i = 0; i < 30; ++i) forks += (i ? "," : "") + std::string(R"({"anyOf":[{"required":["a)") + std::to_string(i) + R"("]},{"required":["b"]}]})";
  EXPECT_THAT(message((forks + "]}").c_str()), HasSubstr("combinations"));
}

// The published suite: what it calls invalid must never be accepted. Valid instances may have another form than the generated
// one (order of properties, 1.0 for 1), so that only most of them must be.
TEST(JsonSchema, PublishedSuite) {
  const std::filesystem::path folder = "/usr/share/json-schema-test-suite/tests/draft7";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "Debian's json-schema-test-suite is not installed";
  int groups = 0, refused = 0, valid = 0, accepted = 0, invalid = 0;
  std::vector<std::string> missed;
  for (auto& file : std::filesystem::directory_iterator(folder)) {
    if (file.path().extension() != ".json") continue;
    for (const Json& group : Json::parse(std::ifstream(file.path()))) {
      ++groups;
      const std::string name = file.path().stem().string() + ": " + group["description"].get<std::string>();
      std::shared_ptr<CompiledGrammar> g;
      bool impossible = false;
      try {
        g = CompiledGrammar::make(json_schema_grammar(group["schema"], JsonSpacing::compact, {}), vocabulary().vocabulary);
      } catch (const Error& e) {
        ASSERT_NE(e.kind(), ErrorKind::internal) << name << ": " << e.what();
        impossible = std::string(e.what()).find("no text satisfies") != std::string::npos;
        if (!impossible) {
          ++refused;
          continue;
        }
      }
      for (const Json& t : group["tests"]) {
        const bool yes = g && g->accepts(t["data"].dump());
        if (!t["valid"].get<bool>()) {
          ++invalid;
          EXPECT_FALSE(yes) << name << " / " << t["description"] << ": " << t["data"];
          continue;
        }
        ++valid;
        accepted += yes;
        if (!yes) missed.push_back(name + " / " + t["description"].get<std::string>() + ": " + t["data"].dump().substr(0, 80));
      }
    }
  }
  fmt::print("draft 7: {} schemas, {} refused by name; {} invalid instances, none accepted; {} of {} valid ones accepted as written\n", groups,
             refused, invalid, accepted, valid);
  if (getenv("VL8_SUITE_VERBOSE"))
    for (auto& m : missed) fmt::print("  {}\n", m);
  EXPECT_GT(groups, 100);
  EXPECT_LT(refused, groups / 5);
  EXPECT_GT(accepted, valid * 9 / 10);
}

// Random answers of random schemas, within a budget, judged by valijson.
TEST(JsonSchema, RandomDocumentsOfRandomSchemasAreValid) {
  const unsigned seed = std::random_device{}();
  std::mt19937 random(seed);
  const auto& v = *vocabulary().vocabulary;
  for (int round = 0; round < 150; ++round) {
    const Json schema = test::random_schema(random);
    auto g = CompiledGrammar::make(json_schema_grammar(schema, JsonSpacing(random() % 3), {}), vocabulary().vocabulary);
    auto c = g->start({vocabulary().end});
    c->set_budget(g->shortest_bytes() + 1 + int64_t(random() % 200));
    std::string text;
    for (;;) {
      const auto got = test::allowed_tokens(*c, v);
      ASSERT_FALSE(got.empty());
      const int32_t t = got[random() % got.size()];
      c->accept(t);
      if (t == vocabulary().end) break;
      text += v.spelling(t);
    }
    nlohmann::json document;
    ASSERT_NO_THROW(document = nlohmann::json::parse(text)) << text << "\nschema " << schema << " seed " << seed;
    ASSERT_TRUE(test::is_valid(schema, document)) << text << "\nschema " << schema << " seed " << seed;
  }
}

}  // namespace
}  // namespace vl8
