include_guard(GLOBAL)

# One main for every test binary, compiled once; Catch2 2.13 (header only) and 3 (a library) both work. It is 20,000 lines of
# Catch2 2.13 and nothing under test, so it goes without optimiser and sanitizers, which would take most of a minute.
add_library(karyon_test_support OBJECT "${PROJECT_SOURCE_DIR}/tests/support/catch_main.cpp")
karyon_apply_flags(karyon_test_support)
target_compile_options(karyon_test_support PRIVATE -O0 -g0 -U_FORTIFY_SOURCE -fno-sanitize=all)
target_link_libraries(karyon_test_support PUBLIC Catch2::Catch2)

# Catch2 and what of the standard library most tests include, parsed once for all of them. Nothing of this project: what a test uses,
# it includes.
add_library(karyon_test_headers OBJECT "${PROJECT_SOURCE_DIR}/tests/support/headers.cpp")
karyon_apply_test_flags(karyon_test_headers)
set_target_properties(karyon_test_headers PROPERTIES POSITION_INDEPENDENT_CODE OFF)  # compiled as programs are, for which it is
target_compile_options(karyon_test_headers PRIVATE -fPIE)
target_link_libraries(karyon_test_headers PRIVATE Catch2::Catch2)
target_precompile_headers(karyon_test_headers PRIVATE "${PROJECT_SOURCE_DIR}/tests/support/catch.hpp"
  <algorithm> <array> <atomic> <chrono> <functional> <map> <memory> <mutex> <string> <thread> <vector>)

# Everything that can be built under ThreadSanitizer; the tsan presets build this and nothing else.
add_custom_target(karyon_tsan_tests)

# karyon_add_test(<name> SOURCES <file>... [DEPS <target>...] [LABELS <label>...] [TIMEOUT <seconds>] [TSAN]
#                 [TEMPLATES])
#
# One Catch2 binary and one ctest entry, both named <name>, for example unit_sched. It sees src/ (private headers),
# tests/ ("support/catch.hpp") and what DEPS brings. TSAN marks a test whose code under test uses no library that was
# compiled without ThreadSanitizer (CAF, hwloc, spdlog): only such tests tell the truth under it. TEMPLATES marks a test whose
# subject is templates that it instantiates itself: it is then compiled as the library is, whatever KARYON_QUICK_TESTS says, but
# that under a sanitizer it goes without optimiser.
function(karyon_add_test name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "TSAN;TEMPLATES" "TIMEOUT" "SOURCES;DEPS;LABELS")
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "karyon_add_test(${name}): unknown arguments: ${arg_UNPARSED_ARGUMENTS}")
  endif()
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 120)
  endif()
  if(arg_TSAN)
    list(APPEND arg_LABELS tsan)
  endif()
  add_executable(${name} ${arg_SOURCES} $<TARGET_OBJECTS:karyon_test_support>)
  if(arg_TEMPLATES)
    karyon_apply_flags(${name})
    if(KARYON_SANITIZE AND KARYON_QUICK_TESTS)
      target_compile_options(${name} PRIVATE -O0 -U_FORTIFY_SOURCE)  # a minute's work for the optimiser
    endif()
  else()
    karyon_apply_test_flags(${name})
    target_precompile_headers(${name} REUSE_FROM karyon_test_headers)
  endif()
  if(KARYON_QUICK_TESTS)
    set_target_properties(${name} PROPERTIES UNITY_BUILD ON)
    target_compile_options(${name} PRIVATE ${KARYON_UNITY_WARNING_FLAGS})
  endif()
  target_include_directories(${name} PRIVATE "${PROJECT_SOURCE_DIR}/src" "${PROJECT_SOURCE_DIR}/tests")
  target_link_libraries(${name} PRIVATE ${arg_DEPS} Catch2::Catch2)
  add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY "${PROJECT_SOURCE_DIR}")
  set_tests_properties(${name} PROPERTIES LABELS "${arg_LABELS}" TIMEOUT ${arg_TIMEOUT})
  if(arg_TSAN)
    add_dependencies(karyon_tsan_tests ${name})
  endif()
endfunction()

# karyon_add_compile_failure(<name> SOURCE <file> MESSAGE <regex> [DEPS <target>...])
#
# Shows that a mistake does not compile and that the compiler's output says why. The same file with KARYON_CONTROL defined,
# which leaves the mistake out, must compile: so the failure is due to the mistake and to nothing else.
function(karyon_add_compile_failure name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "SOURCE;MESSAGE" "DEPS")
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "karyon_add_compile_failure(${name}): unknown arguments: ${arg_UNPARSED_ARGUMENTS}")
  endif()
  foreach(target IN ITEMS ${name} ${name}_control)
    add_library(${target} OBJECT EXCLUDE_FROM_ALL "${arg_SOURCE}")
    karyon_apply_flags(${target})
    set_target_properties(${target} PROPERTIES UNITY_BUILD OFF)
    target_link_libraries(${target} PRIVATE ${arg_DEPS})
    add_test(NAME ${target} COMMAND "${CMAKE_COMMAND}" --build "${PROJECT_BINARY_DIR}" --target ${target})
    set_tests_properties(${target} PROPERTIES LABELS "check;compile" TIMEOUT 120 RESOURCE_LOCK build_tree)
  endforeach()
  target_compile_definitions(${name}_control PRIVATE KARYON_CONTROL)
  set_tests_properties(${name} PROPERTIES PASS_REGULAR_EXPRESSION "${arg_MESSAGE}")
endfunction()

# karyon_add_fuzzer(<name> CORPUS <folder> SOURCES <file>... [DEPS <target>...] [RUNS <number>])
#
# With clang, which brings a fuzzer: the program fuzz_<name>, whose sources (the code under test among them) are compiled for it, and a
# test that lets it try some inputs, from the corpus on; for more, run it by hand: fuzz_<name> FOLDER CORPUS. Else nothing.
function(karyon_add_fuzzer name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "CORPUS;RUNS" "SOURCES;DEPS")
  if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang" OR KARYON_SANITIZE)
    return()
  endif()
  include(CheckCXXSourceCompiles)
  set(CMAKE_REQUIRED_FLAGS "-fsanitize=fuzzer,address,undefined")
  check_cxx_source_compiles(
    "#include <cstddef>\n#include <cstdint>\nextern \"C\" int LLVMFuzzerTestOneInput(const std::uint8_t*, std::size_t) { return 0; }"
    KARYON_HAS_FUZZER)
  if(NOT KARYON_HAS_FUZZER)
    return()
  endif()
  if(NOT arg_RUNS)
    set(arg_RUNS 20000)
  endif()
  add_executable(fuzz_${name} ${arg_SOURCES})
  target_compile_features(fuzz_${name} PRIVATE cxx_std_20)
  target_compile_options(fuzz_${name} PRIVATE -g1 -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined)
  target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer,address,undefined)
  target_link_libraries(fuzz_${name} PRIVATE ${arg_DEPS})
  set(found "${CMAKE_CURRENT_BINARY_DIR}/fuzz_${name}_found")
  file(MAKE_DIRECTORY "${found}")
  add_test(NAME fuzz_${name}_smoke
    COMMAND fuzz_${name} -seed=1 -runs=${arg_RUNS} -max_total_time=20 -max_len=4096 -verbosity=0
      "-artifact_prefix=${found}/" "${found}" "${arg_CORPUS}")
  set_tests_properties(fuzz_${name}_smoke PROPERTIES LABELS fuzz TIMEOUT 120)
endfunction()
