#include "quant/calibration_set.h"

#include <nlohmann/json.hpp>
#include <sstream>

#include "core/error.h"
#include "core/file.h"
#include "media/image.h"
#include "media/processor.h"

namespace vl8 {
namespace {
using Json = nlohmann::ordered_json;

struct ChatReader {
  Tokenizer tokenizer;
  ChatTemplate chat_template;
  ProcessorConfig processor;
  ModelConfig config;

  Prompt read(const Json& chat, const std::filesystem::path& root, const CalibrationLimits& limits) const {
    PromptMedia media;
    ImageOverrides overrides;
    if (limits.max_pixels) overrides.max_pixels = limits.max_pixels;
    for (const Json& name : chat.value("images", Json::array())) {
      const std::filesystem::path path = root / name.get<std::string>();
      const std::string bytes = read_image_file(path);
      media.images.push_back(preprocess_encoded(std::as_bytes(std::span(bytes)), path.string(), processor.image, overrides));
    }
    ChatOptions options;
    options.add_generation_prompt = chat.at("messages").back().at("role") != "assistant";
    return build_prompt(chat_template.render(chat.at("messages"), nullptr, options), std::move(media), tokenizer, config);
  }
};

}  // namespace

std::vector<Prompt> load_chats(const std::filesystem::path& file, const std::filesystem::path& model, const CalibrationLimits& limits) {
  const ChatReader reader{Tokenizer::load(model), ChatTemplate::load(model), ProcessorConfig::load(model), load_model_config(model)};
  std::vector<Prompt> prompts;
  std::istringstream lines(read_file(file));
  std::string line;
  int64_t number = 0, tokens = 0;
  while (std::getline(lines, line)) {
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    try {
      Prompt p = reader.read(Json::parse(line), file.parent_path(), limits);
      if (!prompts.empty() && tokens + int64_t(p.ids.size()) > limits.max_tokens) continue;
      tokens += int64_t(p.ids.size());
      prompts.push_back(std::move(p));
    } catch (const nlohmann::json::exception& e) {
      fail_input("{}:{}: not a chat ({}); write {{\"messages\": [...], \"images\": [\"FILE\"]}}", file.string(), number, e.what());
    } catch (const Error& e) {
      fail(e.kind(), "{}:{}: {}", file.string(), number, e.what());
    }
  }
  if (prompts.empty()) fail_input("{} has no chats", file.string());
  return prompts;
}

}  // namespace vl8
