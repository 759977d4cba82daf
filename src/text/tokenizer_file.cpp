#include "text/tokenizer_file.h"

#include <simdjson.h>

#include <optional>

#include "core/error.h"
#include "text/byte_alphabet.h"
#include "text/splitter.h"
#include "text/string_ids.h"

namespace vl8 {
namespace {
namespace dom = simdjson::dom;

constexpr std::string_view kGpt2Pattern =  // what ByteLevel splits by when its use_regex is true
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

// A JSON object with its place in the file, for messages.
struct Node {
  dom::object object;
  std::string where;  // "tokenizer.json: model"; of the root "tokenizer.json: "

  std::optional<dom::element> find(std::string_view key) const {
    dom::element e;
    if (object.at_key(key).get(e) || e.is_null()) return std::nullopt;
    return e;
  }
  std::string at(std::string_view key) const {
    return fmt::format("{}{}{}", where, where.ends_with(' ') ? "" : ".", key);
  }
  Node node(std::string_view key) const {
    auto e = find(key);
    dom::object o;
    if (!e || e->get(o)) fail_input("{} must be an object", at(key));
    return {o, at(key)};
  }
  std::string_view text(std::string_view key) const {
    auto e = find(key);
    std::string_view s;
    if (!e || e->get(s)) fail_input("{} must be a string", at(key));
    return s;
  }
  bool flag(std::string_view key, bool absent) const {
    auto e = find(key);
    bool b = absent;
    if (e && e->get(b)) fail_input("{} must be true or false", at(key));
    return b;
  }
};

std::string shown(std::string_view s) {
  return std::string(s.substr(0, 60)) + (s.size() > 60 ? "..." : "");
}

[[noreturn]] void refuse(const std::string& where, std::string_view what) {
  fail(ErrorKind::unsupported,
       "{}: {} is not supported; vl8 reads byte-level BPE tokenizers as Qwen3-VL has them", where, what);
}

TokenId read_id(dom::element e, const std::string& where) {
  int64_t id = -1;
  if (e.get(id) || id < 0 || id > kMaxTokenId)
    fail_input("{} must be an integer from 0 to {}", where, kMaxTokenId);
  return TokenId(id);
}

class Reader {
 public:
  Reader(const Node& root, TokenizerFile& out) : root_(root), out_(out) {}

  void read() {
    Node model = root_.node("model");
    check_model(model);
    read_vocabulary(model);
    read_merges(model);
    read_normalizer();
    read_pre_tokenizer();
    read_decoder();
    read_added();
  }

 private:
  void check_model(const Node& model) {
    if (auto type = model.text("type"); type != "BPE")
      refuse(model.at("type"), fmt::format("\"{}\"", shown(type)));
    for (auto key : {"continuing_subword_prefix", "end_of_word_suffix"})
      if (model.find(key) && !model.text(key).empty()) refuse(model.at(key), "a non-empty value");
    double dropout = 0;
    if (auto e = model.find("dropout"); e && (e->get(dropout) || dropout != 0))
      refuse(model.at("dropout"), "dropout");
    out_.ignore_merges = model.flag("ignore_merges", false);
  }

  void put_token(TokenId id, std::string_view written) {
    if (size_t(id) >= out_.tokens.size()) out_.tokens.resize(size_t(id) + 1);
    TokenBytes& t = out_.tokens[size_t(id)];
    t.offset = uint32_t(out_.blob.size());
    // The decoder maps a token back to bytes only when all of its letters are of the byte alphabet.
    if (!append_bytes_of(written, out_.blob)) out_.blob += written;
    t.size = uint32_t(out_.blob.size() - t.offset);
    t.present = true;
  }

  void read_vocabulary(const Node& model) {
    dom::object vocab;
    auto e = model.find("vocab");
    if (!e || e->get(vocab)) fail_input("{} must be an object of token: id", model.at("vocab"));
    size_t count = vocab.size();
    // simdjson saturates counts at 2^24 - 1; a vocabulary of that size has ids out of range anyway.
    if (count > size_t(kMaxTokenId))
      fail_input("{} has more than {} entries", model.at("vocab"), kMaxTokenId);
    StringIds& ids = vocabulary_.emplace(count);
    out_.tokens.reserve(count);
    written_.reserve(count);
    for (auto [key, value] : vocab) {
      if (key.empty() || key.size() > kMaxTokenLength)
        fail_input("{}: an entry has {} bytes; 1 to {} are accepted", model.at("vocab"), key.size(),
                   kMaxTokenLength);
      int64_t number = -1;
      if (value.get(number) || number < 0 || number > kMaxTokenId)
        fail_input("{}: the id of \"{}\" must be an integer from 0 to {}", model.at("vocab"), shown(key),
                   kMaxTokenId);
      TokenId id = TokenId(number);
      if (size_t(id) < out_.tokens.size() && out_.tokens[size_t(id)].present)
        fail_input("{}: id {} occurs twice, the second time for \"{}\"", model.at("vocab"), id, shown(key));
      if (!ids.add(key, id)) fail_input("{}: \"{}\" occurs twice", model.at("vocab"), shown(key));
      if (size_t(id) >= written_.size()) written_.resize(size_t(id) + 1);
      written_[size_t(id)] = key;
      put_token(id, key);
    }
    out_.base_tokens = count;
    for (int b = 0; b < 256; ++b) {
      out_.byte_ids[size_t(b)] = ids.find(written_byte(uint8_t(b)));
      if (out_.byte_ids[size_t(b)] < 0)
        fail_input("{}: the token of byte 0x{:02X} (\"{}\") is missing, so the vocabulary is not byte-level",
                   model.at("vocab"), b, written_byte(uint8_t(b)));
    }
  }

  // A merge on its way: the table of the vocabulary is larger than the caches, so its lines are asked for
  // ahead of use.
  struct Pending {
    std::string_view left, right;
    uint64_t left_hash, right_hash;
  };

  void read_merges(const Node& model) {
    dom::array merges;
    auto e = model.find("merges");
    if (!e || e->get(merges)) fail_input("{} must be an array", model.at("merges"));
    if (merges.size() > kMaxMerges) fail_input("{} has more than {} entries", model.at("merges"), kMaxMerges);
    out_.merges.reserve(merges.size());
    std::vector<Pending> batch;
    size_t index = 0;
    for (dom::element entry : merges) {
      auto [left, right] = merge_parts(model, entry, index++);
      batch.push_back({left, right, hash_bytes(left), hash_bytes(right)});
      vocabulary_->prefetch(batch.back().left_hash);
      vocabulary_->prefetch(batch.back().right_hash);
      if (batch.size() == 32) finish(model, batch);
    }
    finish(model, batch);
    check_distinct(model);
  }

  void finish(const Node& model, std::vector<Pending>& batch) {
    for (const Pending& p : batch) {
      joined_.assign(p.left).append(p.right);
      Merge m{vocabulary_->find(p.left, p.left_hash), vocabulary_->find(p.right, p.right_hash), -1};
      // As a rule each merge makes the token after that of the merge before.
      size_t next = out_.merges.empty() ? written_.size() : size_t(out_.merges.back().result) + 1;
      m.result =
          next < written_.size() && written_[next] == joined_ ? TokenId(next) : vocabulary_->find(joined_);
      if (m.left < 0 || m.right < 0 || m.result < 0)
        fail_input("{}[{}]: \"{}\" is not in the vocabulary", model.at("merges"), out_.merges.size(),
                   shown(m.left < 0    ? p.left
                         : m.right < 0 ? p.right
                                       : std::string_view(joined_)));
      out_.merges.push_back(m);
    }
    batch.clear();
  }

  std::pair<std::string_view, std::string_view> merge_parts(const Node& model, dom::element entry,
                                                            size_t index) const {
    std::string_view s;
    dom::array pair;
    if (!entry.get(s)) {
      size_t blank = s.find(' ');
      if (blank != std::string_view::npos && s.find(' ', blank + 1) == std::string_view::npos)
        return {s.substr(0, blank), s.substr(blank + 1)};
    } else if (!entry.get(pair) && pair.size() == 2) {
      std::string_view left, right;
      if (!pair.at(0).get(left) && !pair.at(1).get(right)) return {left, right};
    }
    fail_input("{}[{}] must be \"a b\" or [\"a\", \"b\"]", model.at("merges"), index);
  }

  void check_distinct(const Node& model) const {
    std::vector<uint64_t> slots(std::bit_ceil(out_.merges.size() * 2 + 16), ~uint64_t(0));
    uint64_t mask = slots.size() - 1;
    for (size_t i = 0; i < out_.merges.size(); ++i) {
      const Merge& m = out_.merges[i];
      uint64_t key = uint64_t(m.left) << 32 | uint64_t(m.right);
      uint64_t at = mix(key, key) & mask;
      for (; slots[at] != ~uint64_t(0); at = (at + 1) & mask)
        if (slots[at] == key) fail_input("{}[{}] repeats an earlier merge", model.at("merges"), i);
      slots[at] = key;
    }
  }

  void read_normalizer() {
    if (!root_.find("normalizer")) return;
    Node n = root_.node("normalizer");
    each_step(n, "normalizers", [&](const Node& step, std::string_view type) {
      if (type != "NFC") refuse(step.where, fmt::format("the normalizer \"{}\"", shown(type)));
      out_.nfc = true;
    });
  }

  void read_pre_tokenizer() {
    if (!root_.find("pre_tokenizer")) refuse(root_.at("pre_tokenizer"), "having none");
    bool byte_level = false;
    each_step(root_.node("pre_tokenizer"), "pretokenizers", [&](const Node& step, std::string_view type) {
      if (byte_level) refuse(step.where, "a step after ByteLevel");
      if (type == "ByteLevel") {
        byte_level = true;
        if (step.flag("add_prefix_space", true)) refuse(step.at("add_prefix_space"), "true");
        if (step.flag("use_regex", true)) out_.splits.push_back({std::string(kGpt2Pattern), false});
      } else if (type == "Split") {
        out_.splits.push_back(read_split(step));
      } else {
        refuse(step.where, fmt::format("the pre-tokenizer \"{}\"", shown(type)));
      }
    });
    if (!byte_level) refuse(root_.at("pre_tokenizer"), "having no ByteLevel step");
  }

  static SplitStep read_split(const Node& step) {
    if (step.text("behavior") != "Isolated" || step.flag("invert", false))
      refuse(step.where, "a Split that is not Isolated");
    Node pattern = step.node("pattern");
    bool literal = pattern.find("String").has_value();
    return {std::string(pattern.text(literal ? "String" : "Regex")), literal};
  }

  void read_decoder() const {
    if (root_.find("decoder")) {
      Node d = root_.node("decoder");
      if (d.text("type") != "ByteLevel")
        refuse(d.where, fmt::format("the decoder \"{}\"", shown(d.text("type"))));
    } else {
      refuse(root_.at("decoder"), "having none");
    }
    if (!root_.find("post_processor")) return;
    Node p = root_.node("post_processor");
    if (p.text("type") != "ByteLevel")
      refuse(p.where, fmt::format("the post-processor \"{}\" (it adds tokens)", shown(p.text("type"))));
  }

  // A step by itself, or the steps of a "Sequence" (not nested).
  template <typename F>
  static void each_step(const Node& n, const char* list_key, F&& f) {
    std::string_view type = n.text("type");
    if (type != "Sequence") return f(n, type);
    auto e = n.find(list_key);
    dom::array steps;
    if (!e || e->get(steps)) fail_input("{} must be an array", n.at(list_key));
    if (steps.size() > 16) fail_input("{} has {} steps; 16 are accepted", n.at(list_key), steps.size());
    size_t i = 0;
    for (dom::element step : steps) {
      dom::object o;
      std::string where = fmt::format("{}[{}]", n.at(list_key), i++);
      if (step.get(o)) fail_input("{} must be an object", where);
      Node inner{o, where};
      f(inner, inner.text("type"));
    }
  }

  void read_added() {
    auto e = root_.find("added_tokens");
    if (!e) return;
    dom::array list;
    if (e->get(list)) fail_input("{} must be an array", root_.at("added_tokens"));
    if (list.size() > kMaxAddedTokens)
      fail_input("{} has {} entries; {} are accepted", root_.at("added_tokens"), list.size(),
                 kMaxAddedTokens);
    StringIds contents(list.size());
    for (dom::element entry : list) {
      std::string where = fmt::format("{}[{}]", root_.at("added_tokens"), out_.added.size());
      dom::object o;
      if (entry.get(o)) fail_input("{} must be an object", where);
      Node node{o, where};
      std::string_view content = node.text("content");
      if (!contents.add(content, TokenId(out_.added.size())))
        fail_input("{}: \"{}\" occurs twice", where, shown(content));
      read_added_token(node, content);
    }
  }

  void read_added_token(const Node& node, std::string_view content) {
    AddedToken t;
    auto id = node.find("id");
    if (!id) fail_input("{} is missing", node.at("id"));
    t.id = read_id(*id, node.at("id"));
    if (content.empty() || content.size() > kMaxTokenLength)
      fail_input("{} has {} bytes; 1 to {} are accepted", node.at("content"), content.size(),
                 kMaxTokenLength);
    t.content = content;
    t.single_word = node.flag("single_word", false);
    t.lstrip = node.flag("lstrip", false);
    t.rstrip = node.flag("rstrip", false);
    t.special = node.flag("special", false);
    t.normalized = node.flag("normalized", !t.special);
    std::string bytes;
    if (!append_bytes_of(content, bytes)) bytes = content;
    if (TokenId other = vocabulary_->find(content); other >= 0 && other != t.id)
      fail_input("{}: \"{}\" has id {} here and {} in the vocabulary", node.where, shown(content), t.id,
                 other);
    bool known = size_t(t.id) < out_.tokens.size() && out_.tokens[size_t(t.id)].present;
    if (!known) {
      put_token(t.id, content);
    } else if (auto [offset, size, _] = out_.tokens[size_t(t.id)]; out_.blob.substr(offset, size) != bytes) {
      fail_input("{}: id {} of \"{}\" belongs to another token", node.where, t.id, shown(content));
    }
    out_.added.push_back(std::move(t));
  }

  const Node& root_;
  TokenizerFile& out_;
  std::optional<StringIds> vocabulary_;    // as written in the file
  std::vector<std::string_view> written_;  // the same by id
  std::string joined_;
};
}  // namespace

TokenizerFile parse_tokenizer_file(std::string_view json, const std::string& origin) {
  if (json.size() > kMaxTokenizerBytes)
    fail_input("{} has more than {} bytes, the limit for a tokenizer", origin, kMaxTokenizerBytes);
  dom::parser parser;
  dom::element root;
  if (auto error = parser.parse(json.data(), json.size()).get(root))
    fail_input("{} is not valid JSON ({}); download the file again", origin, simdjson::error_message(error));
  dom::object object;
  if (root.get(object)) fail_input("{} must hold a JSON object", origin);
  TokenizerFile out;
  out.origin = origin;
  Node node{object, origin + ": "};
  Reader(node, out).read();
  return out;
}

}  // namespace vl8
