# Decides whether the CUDA backend is built: VL8_CUDA is ON, OFF or AUTO, VL8_HAVE_CUDA the outcome. Every kernel is built for
# VL8_CUDA_ARCHS except those that need one architecture's own instructions (sm90: 90a).
set(VL8_CUDA_ARCHS "80-real;87-real;89-real;90a-real" CACHE STRING "GPU architectures to build for")
set(VL8_HAVE_CUDA OFF)
if(NOT VL8_CUDA STREQUAL "OFF")
  if(NOT DEFINED CMAKE_CUDA_COMPILER AND EXISTS /usr/local/cuda/bin/nvcc)
    set(CMAKE_CUDA_COMPILER /usr/local/cuda/bin/nvcc CACHE FILEPATH "CUDA compiler")  # NVIDIA's packages do not put it on the PATH
  endif()
  if(CCACHE)
    set(CMAKE_CUDA_COMPILER_LAUNCHER ${CCACHE})
  endif()
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    set(CMAKE_CUDA_ARCHITECTURES ${VL8_CUDA_ARCHS})
    enable_language(CUDA)
    if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake 3.25 does not know that nvcc takes C++20
      set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
      set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
    endif()
    find_package(CUDAToolkit REQUIRED)
    set(VL8_HAVE_CUDA ON)
  elseif(VL8_CUDA STREQUAL "ON")
    message(FATAL_ERROR "VL8_CUDA is ON but no CUDA compiler was found: install the CUDA toolkit (12.9 or newer) or set CMAKE_CUDA_COMPILER")
  endif()
endif()

# vl8_cuda_objects(NAME ARCHS SOURCES..): an object library of kernels. An architecture is a property of a target.
function(vl8_cuda_objects name archs)
  add_library(${name} OBJECT ${ARGN})
  set_target_properties(${name} PROPERTIES CUDA_ARCHITECTURES "${archs}")
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR}/src)
  # The line tables cost nothing at run time and let ncu and compute-sanitizer name the source line.
  target_compile_options(${name} PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:-lineinfo>)
endfunction()
