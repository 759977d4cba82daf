#include "rival_dnnl.h"

#include <algorithm>
#include <chrono>
#include <vector>

#ifdef VL8_HAVE_DNNL
#include <dnnl.hpp>

double dnnl_bf16_matmul_ms(int64_t m, int64_t n, int64_t k, int repeats) {
  using namespace dnnl;
  engine cpu(engine::kind::cpu, 0);
  stream queue(cpu);
  using Type = memory::data_type;
  using Tag = memory::format_tag;
  // Weights in the layout that oneDNN likes best, packed beforehand: the rival's best case.
  matmul::desc desc(memory::desc({m, k}, Type::bf16, Tag::ab), memory::desc({k, n}, Type::bf16, Tag::any),
                    memory::desc({m, n}, Type::f32, Tag::ab));
  matmul::primitive_desc plan(desc, cpu);
  memory a(plan.src_desc(), cpu), b(plan.weights_desc(), cpu), c(plan.dst_desc(), cpu);
  auto fill = [](memory& x) {
    auto* p = static_cast<uint16_t*>(x.get_data_handle());
    for (size_t i = 0; i < x.get_desc().get_size() / 2; ++i) p[i] = uint16_t(0x3f00 + i % 97);
  };
  fill(a), fill(b);
  matmul product(plan);
  std::vector<double> times;
  for (int i = 0; i < repeats + 1; ++i) {
    auto start = std::chrono::steady_clock::now();
    product.execute(queue, {{DNNL_ARG_SRC, a}, {DNNL_ARG_WEIGHTS, b}, {DNNL_ARG_DST, c}});
    queue.wait();
    times.push_back(
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}
#else
double dnnl_bf16_matmul_ms(int64_t, int64_t, int64_t, int) {
  return 0;
}
#endif
