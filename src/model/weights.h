// The weights of the model and the one list of their names. `each(visitor)` names every tensor once; loading, random
// weights, preparing, byte counts and (later) optimisers and adapters all walk it. Names are those of the checkpoint
// without a leading "model." (spec 2.1, 2.2).
//
// A visitor has: vector(Tensor&, name, n); table(Weight&, name, rows, cols); table_f32(Tensor&, name, rows, cols);
// linear(Linear&, parts, k, bias); experts(Moe&, prefix, experts, hidden, expert_intermediate);
// head(Linear&, name, embeddings, rows, k, tied).
#pragma once
#include <fmt/format.h>

#include <string>
#include <vector>

#include "model/config.h"
#include "ops/weight.h"

namespace vl8 {

struct VisionBlock {
  Tensor norm1, norm1_bias, norm2, norm2_bias;  // [Cv]
  Linear qkv, proj, fc1, fc2;
};

struct Merger {
  Tensor norm, norm_bias;  // [Cv], or [4 Cv] for a DeepStack merger (it normalises after merging)
  Linear fc1, fc2;
};

struct VisionWeights {
  Linear patch_embed;
  Tensor position_table;  // [side * side, Cv]
  std::vector<VisionBlock> blocks;
  Merger merger;
  std::vector<Merger> deepstack;
};

struct TextLayer {
  Tensor input_norm, post_norm, q_norm, k_norm;
  Linear qkv, o;
  Linear gate_up, down;  // dense layer
  Moe moe;               // or experts
  bool is_moe = false;
};

struct ModelWeights {
  VisionWeights vision;
  Weight embed;
  std::vector<TextLayer> layers;
  Tensor norm;
  Linear head;

  template <typename Visitor>
  void each(const ModelConfig& config, Visitor&& visit);
};

namespace detail {
template <typename Visitor>
void each_merger(Merger& m, const VisionConfig& c, const std::string& p, bool norm_after_merge, Visitor& visit) {
  const int64_t wide = c.merged_size();
  visit.vector(m.norm, p + "norm.weight", norm_after_merge ? wide : c.hidden_size);
  visit.vector(m.norm_bias, p + "norm.bias", norm_after_merge ? wide : c.hidden_size);
  visit.linear(m.fc1, {{p + "linear_fc1", wide}}, wide, true);
  visit.linear(m.fc2, {{p + "linear_fc2", c.out_hidden_size}}, wide, true);
}

template <typename Visitor>
void each_vision(VisionWeights& w, const VisionConfig& c, Visitor& visit) {
  visit.linear(w.patch_embed, {{"visual.patch_embed.proj", c.hidden_size}}, c.patch_features(), true);
  visit.table_f32(w.position_table, "visual.pos_embed.weight", c.positions, c.hidden_size);
  w.blocks.resize(size_t(c.depth));
  for (int64_t i = 0; i < c.depth; ++i) {
    VisionBlock& b = w.blocks[size_t(i)];
    const std::string p = fmt::format("visual.blocks.{}.", i);
    visit.vector(b.norm1, p + "norm1.weight", c.hidden_size);
    visit.vector(b.norm1_bias, p + "norm1.bias", c.hidden_size);
    visit.linear(b.qkv, {{p + "attn.qkv", 3 * c.hidden_size}}, c.hidden_size, true);
    visit.linear(b.proj, {{p + "attn.proj", c.hidden_size}}, c.hidden_size, true);
    visit.vector(b.norm2, p + "norm2.weight", c.hidden_size);
    visit.vector(b.norm2_bias, p + "norm2.bias", c.hidden_size);
    visit.linear(b.fc1, {{p + "mlp.linear_fc1", c.intermediate_size}}, c.hidden_size, true);
    visit.linear(b.fc2, {{p + "mlp.linear_fc2", c.hidden_size}}, c.intermediate_size, true);
  }
  each_merger(w.merger, c, "visual.merger.", false, visit);
  w.deepstack.resize(c.deepstack.size());
  for (size_t i = 0; i < w.deepstack.size(); ++i)
    each_merger(w.deepstack[i], c, fmt::format("visual.deepstack_merger_list.{}.", i), true, visit);
}

template <typename Visitor>
void each_layer(TextLayer& l, const TextConfig& c, int64_t index, Visitor& visit) {
  const std::string p = fmt::format("language_model.layers.{}.", index), a = p + "self_attn.";
  visit.vector(l.input_norm, p + "input_layernorm.weight", c.hidden_size);
  visit.linear(l.qkv,
               {{a + "q_proj", c.q_width()}, {a + "k_proj", c.kv_width()}, {a + "v_proj", c.kv_width()}},
               c.hidden_size, false);
  visit.vector(l.q_norm, a + "q_norm.weight", c.head_dim);
  visit.vector(l.k_norm, a + "k_norm.weight", c.head_dim);
  visit.linear(l.o, {{a + "o_proj", c.hidden_size}}, c.q_width(), false);
  visit.vector(l.post_norm, p + "post_attention_layernorm.weight", c.hidden_size);
  l.is_moe = c.is_moe_layer(index);
  if (l.is_moe) {
    l.moe.top_k = c.experts_per_token;
    visit.linear(l.moe.router, {{p + "mlp.gate", c.experts}}, c.hidden_size, false);
    visit.experts(l.moe, p + "mlp", c.experts, c.hidden_size, c.expert_intermediate);
  } else {
    visit.linear(l.gate_up, {{p + "mlp.gate_proj", c.intermediate_size}, {p + "mlp.up_proj", c.intermediate_size}}, c.hidden_size, false);
    visit.linear(l.down, {{p + "mlp.down_proj", c.hidden_size}}, c.intermediate_size, false);
  }
}
}  // namespace detail

template <typename Visitor>
void ModelWeights::each(const ModelConfig& config, Visitor&& visit) {
  const TextConfig& c = config.text;
  detail::each_vision(vision, config.vision, visit);
  visit.table(embed, "language_model.embed_tokens.weight", c.vocab_size, c.hidden_size);
  layers.resize(size_t(c.layers));
  for (int64_t i = 0; i < c.layers; ++i) detail::each_layer(layers[size_t(i)], c, i, visit);
  visit.vector(norm, "language_model.norm.weight", c.hidden_size);
  visit.head(head, "lm_head", embed, c.vocab_size, c.hidden_size, config.tied);
}

}  // namespace vl8
