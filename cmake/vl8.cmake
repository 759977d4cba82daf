# vl8_room(NAME SOURCES.. [LINK libs..]): the static library vl8_NAME from the files of one folder of src/.
function(vl8_room name)
  cmake_parse_arguments(arg "" "" "LINK;PRIVATE_LINK" ${ARGN})
  add_library(vl8_${name} STATIC ${arg_UNPARSED_ARGUMENTS})
  target_include_directories(vl8_${name} PUBLIC ${CMAKE_SOURCE_DIR}/src)
  target_link_libraries(vl8_${name} PUBLIC ${arg_LINK} PRIVATE ${arg_PRIVATE_LINK})
endfunction()

# vl8_test(NAME SOURCES.. LINK libs.. [LABELS labels..] [DEPENDS targets..]): a GoogleTest program. Each of its cases becomes a
# ctest test. DEPENDS names programs that it starts.
# The label release_only keeps it out of sanitizer runs.
function(vl8_test name)
  cmake_parse_arguments(arg "" "" "LINK;LABELS;DEPENDS" ${ARGN})
  if(VL8_SANITIZE AND "release_only" IN_LIST arg_LABELS)
    return()
  endif()
  add_executable(${name} ${arg_UNPARSED_ARGUMENTS})
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests)
  target_link_libraries(${name} PRIVATE ${arg_LINK} GTest::gtest GTest::gmock GTest::gtest_main)
  target_compile_definitions(${name} PRIVATE VL8_SOURCE_DIR="${CMAKE_SOURCE_DIR}" VL8_BINARY_DIR="${CMAKE_BINARY_DIR}")
  add_dependencies(vl8_tests ${name})
  if(arg_DEPENDS)
    add_dependencies(${name} ${arg_DEPENDS})
  endif()
  gtest_discover_tests(${name} DISCOVERY_TIMEOUT 120 PROPERTIES TIMEOUT 900 LABELS "${arg_LABELS}")
endfunction()
