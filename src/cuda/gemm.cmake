# The matrix products: one object library a family of kernels. Included by CMakeLists.txt of this room.
vl8_cuda_objects(vl8_cuda_gemm_any "${VL8_CUDA_ARCHS}" any/gemm/gemm_any.cu)
set(VL8_CUDA_GEMM_OBJECTS $<TARGET_OBJECTS:vl8_cuda_gemm_any>)
set(VL8_CUDA_GEMM_SOURCES gemm.cpp cuda_error.cpp)
