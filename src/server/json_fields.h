// Request bodies: parsed with limits, and read field by field with errors that name the field.
#pragma once
#include <cstdint>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "server/api_error.h"

namespace vl8 {

using Json = nlohmann::ordered_json;

inline constexpr int kMaxJsonDepth = 64;  // nesting of a request body; schemas of people stay below 20

// ApiError(400) with the place of the fault. Of equal keys the last counts. Invalid UTF-8 is refused.
Json parse_json(std::string_view text, const std::string& what = "the body");

// An object of a request. Readers return nothing where the field is absent or null; a field of the wrong type or out of
// its range is ApiError(400) naming it.
class Fields {
 public:
  Fields(const Json& object, std::string path);  // fails unless it is an object; path "" is the body itself

  const Json* find(std::string_view key) const;  // nullptr: absent or null
  bool has(std::string_view key) const { return find(key) != nullptr; }
  std::optional<int64_t> integer(std::string_view key, int64_t low, int64_t high) const;
  std::optional<double> number(std::string_view key, double low, double high) const;
  std::optional<bool> boolean(std::string_view key) const;
  std::optional<std::string> string(std::string_view key) const;
  std::optional<std::string> one_of(std::string_view key, std::initializer_list<std::string_view> values) const;
  const Json* array(std::string_view key) const;
  std::optional<Fields> object(std::string_view key) const;
  std::string need_string(std::string_view key) const;
  const Json& need(std::string_view key) const;
  const Json& need_array(std::string_view key) const;
  Fields need_object(std::string_view key) const;

  std::string path(std::string_view key) const;  // "messages[0].role"
  const std::string& path() const { return path_; }
  const Json& json() const { return *object_; }

  // Refuses a field that vl8 knows and cannot honour, rather than ignoring it.
  void refuse(std::string_view key, std::string_view why) const;

 private:
  const Json* object_;
  std::string path_;
};

std::string at(const std::string& path, size_t index);  // "path[index]"
std::string_view json_type(const Json& value);          // "a string", "an object", ...

}  // namespace vl8
