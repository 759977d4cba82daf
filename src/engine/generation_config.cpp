#include "engine/generation_config.h"

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/file.h"

namespace vl8 {

GenerationConfig GenerationConfig::load(const std::filesystem::path& folder) {
  GenerationConfig c;
  const std::filesystem::path path = folder / "generation_config.json";
  if (!is_file(path)) return c;
  nlohmann::json j = nlohmann::json::parse(read_file(path, 1 << 20), nullptr, false);
  if (!j.is_object()) fail_input("{} is not a JSON object", path.string());
  auto number = [&](const char* name, auto& value) {
    if (!j.contains(name) || j[name].is_null()) return;
    if (!j[name].is_number()) fail_input("{}: {} is not a number", path.string(), name);
    value = j[name].get<std::remove_reference_t<decltype(value)>>();
  };
  if (j.value("do_sample", false)) {
    c.sampling.temperature = 1;
    number("temperature", c.sampling.temperature);
    number("top_k", c.sampling.top_k);
    number("top_p", c.sampling.top_p);
    number("min_p", c.sampling.min_p);
  }
  number("repetition_penalty", c.sampling.repetition_penalty);
  number("presence_penalty", c.sampling.presence_penalty);
  if (j.contains("eos_token_id")) {
    nlohmann::json ids = j["eos_token_id"].is_array() ? j["eos_token_id"] : nlohmann::json::array({j["eos_token_id"]});
    for (const auto& id : ids) {
      if (!id.is_number_integer()) fail_input("{}: eos_token_id is neither a token id nor a list of them", path.string());
      c.end_tokens.push_back(id.get<int32_t>());
    }
  }
  c.sampling.validate();
  return c;
}

}  // namespace vl8
