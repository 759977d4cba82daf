// Fills a KernelTable from the templates. The last include of an isa_*.cpp.
namespace vl8::cpu {
namespace {

constexpr MatrixKernels kExactKernels = {1,
                                         1,
                                         kTaskRows,
                                         kTaskGroups,
                                         kPanelBytes,
                                         pack_tokens<ExactCore>,
                                         multiply<ExactCore>,
                                         kGemvBlock,
                                         gemv_pack,
                                         gemv<FloatRow>,
                                         kExactGroups * 16,
                                         exact_flash_bytes,
                                         exact_flash,
                                         kGemvTokens};

constexpr KernelTable make_table(const MatrixKernels& exact, const MatrixKernels& bf16,
                                 double (*peak)(int64_t)) {
  return {exact,    bf16,     decode, rms_norm, layer_norm, exact_layer_norm, norm_rope,
          silu_mul, add_rows, axpy,   to_bf16,  to_f32,     read_bytes,       peak};
}

}  // namespace
}  // namespace vl8::cpu
