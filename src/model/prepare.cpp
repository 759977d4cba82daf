#include "model/model.h"

namespace vl8 {
namespace {
// Walks the list of weights and hands each matrix to the backend. The tied head shares the embeddings' bytes but is
// used as a linear, so it is prepared too.
struct PrepareVisitor {
  Ops& op;
  void vector(Tensor& t, const std::string&, int64_t) { op.prepare_vector(t); }
  void table_f32(Tensor& t, const std::string&, int64_t, int64_t) { op.prepare_vector(t); }
  void table(Weight& w, const std::string&, int64_t, int64_t) { op.prepare(w); }
  void linear(Linear& l, std::initializer_list<LinearPart>, int64_t, bool) {
    op.prepare(l.weight);
    if (!l.bias.empty()) op.prepare_vector(l.bias);
  }
  void experts(Moe& m, const std::string&, int64_t, int64_t, int64_t) { op.prepare_experts(m); }
  void head(Linear& l, const std::string&, const Weight&, int64_t, int64_t, bool) { op.prepare(l.weight); }
};
}  // namespace

void prepare(Ops& op, const ModelConfig& config, ModelWeights& weights) { weights.each(config, PrepareVisitor{op}); }

}  // namespace vl8
