// Two bf16 products a lane into a float32 sum.
namespace vl8::cpu {
namespace {

struct DotOp {
  static constexpr int kPerLane = 2;
  VL8_INLINE F mac(F acc, F w, F x) { return _mm512_dpbf16_ps(acc, (__m512bh)w, (__m512bh)x); }
};
using DotCore = VectorCore<Bf16Units, DotOp>;

}  // namespace
}  // namespace vl8::cpu
