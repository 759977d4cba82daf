#include "server/json_fields.h"

#include <simdjson.h>

#include <cmath>

namespace vl8 {
namespace {

namespace sj = simdjson::dom;

[[noreturn]] void too_deep(const std::string& what) {
  throw ApiError(400, "invalid_request_error", fmt::format("{} is nested deeper than {} levels", what, kMaxJsonDepth), {}, "invalid_json");
}

Json convert(const sj::element& e) {
  switch (e.type()) {
    case sj::element_type::OBJECT: {
      Json out = Json::object();
      for (auto field : sj::object(e)) out[std::string(field.key)] = convert(field.value);
      return out;
    }
    case sj::element_type::ARRAY: {
      Json out = Json::array();
      for (sj::element item : sj::array(e)) out.push_back(convert(item));
      return out;
    }
    case sj::element_type::STRING: return std::string(std::string_view(e));
    case sj::element_type::INT64: return int64_t(e);
    case sj::element_type::UINT64: return uint64_t(e);
    case sj::element_type::DOUBLE: return double(e);
    case sj::element_type::BOOL: return bool(e);
    case sj::element_type::NULL_VALUE: break;
  }
  return nullptr;
}

// simdjson says little about what is wrong: the slower parser is asked where, and settles numbers beyond 64 bits.
Json parse_slowly(std::string_view text, const std::string& what) {
  bool deep = false;
  auto guard = [&deep](int depth, Json::parse_event_t, Json&) {
    if (depth > kMaxJsonDepth) deep = true;
    return !deep;
  };
  try {
    Json out = Json::parse(text, guard);
    if (deep) too_deep(what);
    return out;
  } catch (const Json::parse_error& e) {
    if (deep) too_deep(what);
    std::string why = e.what();  // "[json.exception.parse_error.101] parse error at line 1, column 5: ...; last read: '...'"
    why = why.substr(std::min(why.size(), why.find("] ") + 2));
    if (size_t last = why.find("; last read"); last != std::string::npos) why.resize(last);  // repeats what was sent
    throw ApiError(400, "invalid_request_error", fmt::format("{} is not valid JSON: {}", what, why), {}, "invalid_json");
  }
}

}  // namespace

Json parse_json(std::string_view text, const std::string& what) {
  if (text.find_first_not_of(" \t\r\n") == std::string_view::npos)
    throw ApiError(400, "invalid_request_error", what + " is empty; a JSON object is needed", {}, "invalid_json");
  thread_local sj::parser parser;
  parser.set_max_capacity(SIZE_MAX >> 1);
  if (parser.allocate(text.size(), kMaxJsonDepth) != simdjson::SUCCESS) throw std::bad_alloc();
  sj::element root;
  auto error = parser.parse(text.data(), text.size()).get(root);
  if (error == simdjson::DEPTH_ERROR) too_deep(what);
  Json out = error == simdjson::SUCCESS ? convert(root) : parse_slowly(text, what);
  if (text.size() > (size_t(1) << 20)) parser = sj::parser();  // a large body's tape is not kept for the next small one
  return out;
}

std::string at(const std::string& path, size_t index) { return fmt::format("{}[{}]", path, index); }

std::string_view json_type(const Json& v) {
  if (v.is_null()) return "null";
  if (v.is_boolean()) return "a boolean";
  if (v.is_number_integer()) return "an integer";
  if (v.is_number()) return "a number";
  if (v.is_string()) return "a string";
  return v.is_array() ? "an array" : "an object";
}

Fields::Fields(const Json& object, std::string path) : object_(&object), path_(std::move(path)) {
  if (object.is_object()) return;
  if (path_.empty()) throw ApiError(400, "invalid_request_error", fmt::format("the body must be a JSON object, not {}", json_type(object)), {}, "invalid_json");
  fail_field(path_, "must be an object, not {}", json_type(object));
}

std::string Fields::path(std::string_view key) const { return path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key); }

const Json* Fields::find(std::string_view key) const {
  auto it = object_->find(key);
  return it == object_->end() || it->is_null() ? nullptr : &*it;
}

std::optional<int64_t> Fields::integer(std::string_view key, int64_t low, int64_t high) const {
  const Json* v = find(key);
  if (!v) return std::nullopt;
  int64_t value = 0;
  if (v->is_number_unsigned()) {
    const uint64_t u = v->get<uint64_t>();
    value = u > uint64_t(INT64_MAX) ? INT64_MAX : int64_t(u);
    if (u > uint64_t(high)) fail_field(path(key), "must be at most {}, not {}", high, u);
  } else if (v->is_number_integer()) {
    value = v->get<int64_t>();
  } else if (double d = v->is_number_float() ? v->get<double>() : 0.5; d == std::floor(d) && std::abs(d) < 9e15) {
    value = int64_t(d);  // 16.0 from languages without integers
  } else {
    fail_field(path(key), "must be an integer, not {}", json_type(*v));
  }
  if (value < low || value > high) fail_field(path(key), "must be from {} to {}, not {}", low, high, value);
  return value;
}

std::optional<double> Fields::number(std::string_view key, double low, double high) const {
  const Json* v = find(key);
  if (!v) return std::nullopt;
  if (!v->is_number()) fail_field(path(key), "must be a number, not {}", json_type(*v));
  const double value = v->get<double>();
  if (!(value >= low && value <= high)) fail_field(path(key), "must be from {} to {}, not {}", low, high, value);
  return value;
}

std::optional<bool> Fields::boolean(std::string_view key) const {
  const Json* v = find(key);
  if (!v) return std::nullopt;
  if (!v->is_boolean()) fail_field(path(key), "must be true or false, not {}", json_type(*v));
  return v->get<bool>();
}

std::optional<std::string> Fields::string(std::string_view key) const {
  const Json* v = find(key);
  if (!v) return std::nullopt;
  if (!v->is_string()) fail_field(path(key), "must be a string, not {}", json_type(*v));
  return v->get<std::string>();
}

std::optional<std::string> Fields::one_of(std::string_view key, std::initializer_list<std::string_view> values) const {
  auto value = string(key);
  if (!value) return value;
  std::string names;
  for (std::string_view v : values) {
    if (*value == v) return value;
    names += (names.empty() ? "" : ", ") + std::string(v);
  }
  fail_field(path(key), "'{}' is not known; there are {}", value->substr(0, 60), names);
}

const Json* Fields::array(std::string_view key) const {
  const Json* v = find(key);
  if (v && !v->is_array()) fail_field(path(key), "must be an array, not {}", json_type(*v));
  return v;
}

std::optional<Fields> Fields::object(std::string_view key) const {
  const Json* v = find(key);
  if (!v) return std::nullopt;
  return Fields(*v, path(key));
}

const Json& Fields::need(std::string_view key) const {
  const Json* v = find(key);
  if (!v) fail_field(path(key), "is missing");
  return *v;
}

std::string Fields::need_string(std::string_view key) const {
  need(key);
  return *string(key);
}

const Json& Fields::need_array(std::string_view key) const {
  need(key);
  return *array(key);
}

Fields Fields::need_object(std::string_view key) const { return Fields(need(key), path(key)); }

void Fields::refuse(std::string_view key, std::string_view why) const {
  const Json* v = find(key);
  if (!v || (v->is_boolean() && !v->get<bool>()) || (v->is_array() && v->empty())) return;
  throw ApiError(400, "invalid_request_error", fmt::format("{}: {}", path(key), why), path(key), "unsupported");
}

}  // namespace vl8
