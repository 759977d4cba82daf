// A decorator that keeps copies of named intermediates. Names are the reference's module names ("layers.3.mlp",
// "visual.merger"); a second value of one name becomes "name#1", a third "name#2".
#pragma once
#include <map>
#include <string>

#include "ops/forward_ops.h"

namespace vl8 {

struct ProbedTensor {
  Shape shape;
  std::vector<float> values;
};

class ProbeOps : public ForwardOps {
 public:
  // glob: `*` matches any run of characters, `?` one; several patterns are separated by commas.
  ProbeOps(Ops& inner, std::string glob) : ForwardOps(inner), glob_(std::move(glob)) {}
  bool taps() const override { return !stopped_; }
  void stop() { stopped_ = true; }  // keeps nothing from now on
  void tap(std::string_view name, const Tensor& value) override;
  Tensor step(const BatchView& batch, KvCache& kv, const std::function<Tensor()>& forward) override {
    return stopped_ ? ForwardOps::step(batch, kv, forward) : forward();  // a replayed step would show nothing
  }
  const std::map<std::string, ProbedTensor>& probed() const { return probed_; }

 private:
  std::string glob_;
  bool stopped_ = false;
  std::map<std::string, int> calls_;
  std::map<std::string, ProbedTensor> probed_;
};

}  // namespace vl8
