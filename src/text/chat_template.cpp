#include "text/chat_template.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include "core/error.h"
#include "core/file.h"

#include "text/jinja.h"

namespace vl8 {
namespace {
namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
constexpr size_t kMaxConfigBytes = size_t(64) << 20;
constexpr size_t kMaxNamedTemplates = 32;

// What a folder holds: template sources by name, and the variables that the tokenizer's configuration
// defines.
struct Found {
  std::vector<std::pair<std::string, std::string>> templates;  // name, source
  std::string origin;
};

// Not ordered: an object of a file may have any number of keys, and ordered_json looks for each among all
// before it.
nlohmann::json read_json(const fs::path& path) {
  auto json = nlohmann::json::parse(read_file(path, kMaxConfigBytes), nullptr, false);
  if (json.is_discarded()) fail_input("{} is not valid JSON; download the file again", path.string());
  if (!json.is_object()) fail_input("{} must hold a JSON object", path.string());
  return json;
}

// "chat_template": a string, or a list of {"name", "template"}.
Found templates_of(const nlohmann::json& value, const fs::path& path) {
  Found found{{}, path.string()};
  auto bad = [&] {
    fail_input("{}: chat_template must be a string or a list of objects with name and template",
               path.string());
  };
  if (value.is_string()) {
    found.templates.emplace_back("default", value.get<std::string>());
    return found;
  }
  if (!value.is_array() || value.empty() || value.size() > kMaxNamedTemplates) bad();
  for (const auto& entry : value) {
    if (!entry.is_object() || !entry.contains("name") || !entry.contains("template")) bad();
    if (!entry["name"].is_string() || !entry["template"].is_string()) bad();
    found.templates.emplace_back(entry["name"].get<std::string>(), entry["template"].get<std::string>());
  }
  return found;
}

Found find_templates(const fs::path& folder) {
  fs::path jinja = folder / "chat_template.jinja";
  if (is_file(jinja)) return {{{"default", read_file(jinja, kMaxTemplateBytes)}}, jinja.string()};
  for (const char* name : {"chat_template.json", "tokenizer_config.json"}) {
    fs::path path = folder / name;
    if (!is_file(path)) continue;
    auto json = read_json(path);
    if (auto it = json.find("chat_template"); it != json.end() && !it->is_null())
      return templates_of(*it, path);
  }
  fail_input(
      "{} has no chat template: none of chat_template.jinja, chat_template.json and tokenizer_config.json "
      "gives "
      "one; copy it from the model's repository",
      folder.string());
}

// bos_token and its kin, as text or as an object with "content".
JinjaDict special_tokens(const fs::path& folder) {
  JinjaDict tokens;
  fs::path path = folder / "tokenizer_config.json";
  if (!is_file(path)) return tokens;
  auto json = read_json(path);
  for (const char* key :
       {"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"}) {
    auto it = json.find(key);
    if (it == json.end()) continue;
    const auto& value = it->is_object() && it->contains("content") ? (*it)["content"] : *it;
    if (value.is_string()) tokens.set(MarkedText(key), MarkedText(value.get<std::string>()));
  }
  return tokens;
}

// Normalisation of messages

// {"url": U} or U; the payload of a data: URL is of no use to a template.
Json media_reference(const Json& part, const char* key) {
  auto it = part.find(key);
  if (it == part.end()) return "";
  const Json& value = it->is_object() && it->contains("url") ? (*it)["url"] : *it;
  if (value.is_string() && value.get_ref<const std::string&>().starts_with("data:")) return "data:";
  return value;
}

Json normalise_part(const Json& part) {
  auto type = part.is_object() ? part.find("type") : part.end();
  if (!part.is_object() || type == part.end() || !type->is_string()) return part;
  const std::string& t = type->get_ref<const std::string&>();
  auto media = [&](const char* kind, const char* key) {
    return Json{{"type", kind}, {kind, media_reference(part, key)}};
  };
  auto text = [&](const char* key) {
    auto it = part.find(key);
    return Json{{"type", "text"}, {"text", it != part.end() ? *it : Json("")}};
  };
  if (t == "image_url" || t == "input_image") return media("image", "image_url");
  if (t == "video_url" || t == "input_video") return media("video", "video_url");
  if (t == "input_text" || t == "output_text") return text("text");
  if (t == "refusal") return text("refusal");
  if ((t == "image" || t == "video") && part.contains(t)) {
    Json out = part;
    out[t] = media_reference(part, t.c_str());
    return out;
  }
  return part;
}

Json normalise_message(const Json& message, size_t index) {
  auto role = message.is_object() ? message.find("role") : message.end();
  if (!message.is_object() || role == message.end() || !role->is_string())
    fail_input("messages[{}] must be an object with a \"role\"", index);
  Json out = message;
  if (*role == "developer") out["role"] = "system";
  auto content = out.find("content");
  if (content == out.end() || content->is_null()) {
    out["content"] = "";
  } else if (content->is_array()) {
    for (Json& part : *content) part = normalise_part(part);
  } else if (!content->is_string()) {
    fail_input("messages[{}].content must be a string, a list of parts or null", index);
  }
  return out;
}
}  // namespace

Json normalise_messages(const Json& messages) {
  if (!messages.is_array()) fail_input("messages must be an array");
  Json out = Json::array();
  for (size_t i = 0; i < messages.size(); ++i) out.push_back(normalise_message(messages[i], i));
  return out;
}

struct ChatTemplate::State {
  std::string origin;
  std::string source;
  std::vector<std::pair<std::string, JinjaTemplate>> templates;  // the default one first
  JinjaDict special_tokens;

  const JinjaTemplate& choose(bool with_tools) const {
    if (with_tools)
      for (const auto& [name, t] : templates)
        if (name == "tool_use") return t;
    return templates[0].second;
  }
};

namespace {
JinjaValue messages_value(const Json& messages) {
  auto list = std::make_shared<JinjaListObject>();
  for (const Json& message : normalise_messages(messages)) {
    bool assistant = message["role"] == "assistant";
    list->items.push_back(jinja_from_json(message, assistant ? Trust::model : Trust::user, "a message"));
    list->depth = std::max(list->depth, list->items.back().depth() + 1);
  }
  return list;
}
}  // namespace

ChatTemplate::ChatTemplate(std::unique_ptr<State> state) : state_(std::move(state)) {}
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;
ChatTemplate::~ChatTemplate() = default;

ChatTemplate ChatTemplate::load(const fs::path& folder) {
  Found found = find_templates(folder);
  auto state = std::make_unique<State>();
  state->origin = found.origin;
  state->special_tokens = special_tokens(folder);
  // Without one named "default" the first counts as it, which is what a folder with a single named template
  // means.
  std::stable_partition(found.templates.begin(), found.templates.end(),
                        [](const auto& t) { return t.first == "default"; });
  state->source = found.templates[0].second;
  for (const auto& [name, source] : found.templates) {
    std::string origin = found.templates.size() > 1 ? found.origin + " (" + name + ")" : found.origin;
    state->templates.emplace_back(name, JinjaTemplate::parse(source, origin));
  }
  return ChatTemplate(std::move(state));
}

ChatTemplate ChatTemplate::from_source(const std::string& source, const std::string& origin) {
  auto state = std::make_unique<State>();
  state->origin = origin;
  state->source = source;
  state->templates.emplace_back("default", JinjaTemplate::parse(source, origin));
  return ChatTemplate(std::move(state));
}

MarkedText ChatTemplate::render(const Json& messages, const Json& tools, const ChatOptions& options) const {
  if (!tools.is_null() && !tools.is_array()) fail_input("tools must be an array or null");
  if (!options.extra.is_null() && !options.extra.is_object())
    fail_input("the extra variables of a chat template must be an object");
  JinjaDict variables = state_->special_tokens;
  if (options.extra.is_object())
    for (const auto& [key, value] : options.extra.items())
      variables.set(MarkedText(key), jinja_from_json(value, Trust::user, "an extra variable"));
  variables.set(MarkedText("messages"), messages_value(messages));
  variables.set(MarkedText("tools"), jinja_from_json(tools, Trust::user, "tools"));
  variables.set(MarkedText("documents"), JinjaValue::None{});
  variables.set(MarkedText("add_generation_prompt"), options.add_generation_prompt);
  if (options.add_vision_id) variables.set(MarkedText("add_vision_id"), true);
  return state_->choose(tools.is_array() && !tools.empty()).render(variables, options.now);
}

const std::string& ChatTemplate::source() const {
  return state_->source;
}
const std::string& ChatTemplate::origin() const {
  return state_->origin;
}

}  // namespace vl8
