# The matrix products: one object library a family of kernels, because an architecture is a property of a target. Included by
# CMakeLists.txt of this room. Emulation builds the same lists with the host compiler.
set(VL8_CUDA_GEMM_ANY any/gemm/gemm_any.cu sm80/gemm/gemv.cu sm80/gemm/mma_bf16_bf16.cu sm80/gemm/mma_bf16_e4m3.cu
    sm80/gemm/mma_e4m3_e4m3.cu)
set(VL8_CUDA_GEMM_SM90 sm90/attention/flash.cu sm90/gemm/stream_bf16.cu sm90/gemm/stream_e4m3.cu sm90/gemm/tiles_bf16.cu sm90/gemm/tiles_e4m3.cu)
set(VL8_CUDA_GEMM_SOURCES gemm.cpp gemm_tune.cpp cuda_error.cpp sm80/gemm/mma.cpp sm90/tensor_map.cpp)
if(VL8_HAVE_CUDA)
  vl8_cuda_objects(vl8_cuda_gemm_any "${VL8_CUDA_ARCHS}" ${VL8_CUDA_GEMM_ANY})
  vl8_cuda_objects(vl8_cuda_gemm_sm90 "90a-real" ${VL8_CUDA_GEMM_SM90})
  set(VL8_CUDA_GEMM_OBJECTS $<TARGET_OBJECTS:vl8_cuda_gemm_any> $<TARGET_OBJECTS:vl8_cuda_gemm_sm90> cublaslt.cpp)
endif()
