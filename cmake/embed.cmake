# vl8_embed(TARGET FILES..): compiles files into TARGET as constant bytes. `embedded_files` (embedded_files.h) lists them by name.
# Files are read when CMake configures, which it does again when one changes.
function(vl8_embed target)
  set(arrays "")
  set(rows "")
  set(index 0)
  foreach(path ${ARGN})
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${path})
    file(READ ${path} hex HEX)
    string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
    string(REGEX REPLACE "((0x..,){32})" "\\1\n" bytes "${bytes}")
    get_filename_component(name ${path} NAME)
    string(APPEND arrays "const unsigned char file_${index}[] = {${bytes}0};\n")
    string(APPEND rows "    {\"${name}\", {reinterpret_cast<const char*>(file_${index}), sizeof file_${index} - 1}},\n")
    math(EXPR index "${index} + 1")
  endforeach()
  set(out ${CMAKE_CURRENT_BINARY_DIR}/${target}_embedded.cpp)
  file(CONFIGURE OUTPUT ${out} CONTENT "// Made by cmake/embed.cmake.
#include \"web/embedded_files.h\"
namespace vl8 {
namespace {
@arrays@const EmbeddedFile kFiles[] = {
@rows@};
}  // namespace
std::span<const EmbeddedFile> embedded_files() { return kFiles; }
}  // namespace vl8
" @ONLY)
  target_sources(${target} PRIVATE ${out})
endfunction()
