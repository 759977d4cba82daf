// Templates in the style of other model families, and a list of short ones, against the records of two
// interpreters:
// @huggingface/jinja (jinja_npm/render.mjs) and Jinja2 set up as transformers does it
// (jinja_npm/jinja_python.py).
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/file.h"
#include "text/jinja.h"

namespace vl8 {
namespace {
using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

const fs::path kFolder = fs::path(VL8_SOURCE_DIR) / "tests" / "text" / "jinja_npm";

void expect_as_recorded(const std::string& source, const std::string& origin, const Json& context,
                        const Json& row) {
  JinjaDict variables;
  for (const auto& [key, value] : context.items())
    variables.set(MarkedText(key), jinja_from_json(value, Trust::user, "context"));
  try {
    std::string rendered = JinjaTemplate::parse(source, origin).render(variables).str();
    if (row.contains("error"))
      ADD_FAILURE() << source << "\nrendered " << rendered << "\nrecorded " << row["error"];
    else
      EXPECT_EQ(rendered, row["rendered"].get<std::string>()) << source;
  } catch (const Error& e) {
    EXPECT_NE(e.kind(), ErrorKind::internal) << e.what();
    EXPECT_EQ(std::string(e.what()).rfind(origin + ":", 0), 0u) << "the place is named: " << e.what();
    if (!row.contains("error")) ADD_FAILURE() << source << "\nfailed: " << e.what();
  }
}

void expect_records(const char* file, size_t at_least) {
  Json contexts = Json::parse(read_file(kFolder / "contexts.json"));
  Json rows = Json::parse(read_file(kFolder / file));
  EXPECT_GE(rows.size(), at_least);
  for (const Json& row : rows) {
    if (row.contains("source")) {
      expect_as_recorded(row["source"], "snippet", Json::object(), row);
      continue;
    }
    std::string name = row["template"].get<std::string>() + ".jinja";
    expect_as_recorded(read_file(kFolder / "templates" / name), name,
                       contexts[row["context"].get<std::string>()], row);
  }
}

TEST(JinjaForeign, AsTheNpmInterpreter) {
  expect_records("expected.json", 90);
}
TEST(JinjaForeign, AsJinja2) {
  expect_records("expected_python.json", 200);
}

}  // namespace
}  // namespace vl8
