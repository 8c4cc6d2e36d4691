# What every target of this project is compiled and linked with, and nothing that reaches a consumer.
include_guard(GLOBAL)
include(CheckCXXCompilerFlag)
include(CheckCXXSourceCompiles)
include(CheckLinkerFlag)
include(CheckPIESupported)

if(PROJECT_IS_TOP_LEVEL)
  if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
    set(CMAKE_BUILD_TYPE Release CACHE STRING "Debug, Release, RelWithDebInfo or MinSizeRel" FORCE)
  endif()
  set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
  find_program(CCACHE_PROGRAM ccache)
  if(CCACHE_PROGRAM AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
    # The sloppiness is what ccache's manual asks for where a precompiled header is used.
    set(CMAKE_CXX_COMPILER_LAUNCHER "${CMAKE_COMMAND}" -E env CCACHE_SLOPPINESS=pch_defines,time_macros "${CCACHE_PROGRAM}")
  endif()
  find_program(MOLD_PROGRAM mold)
  if(MOLD_PROGRAM)
    check_linker_flag(CXX "-fuse-ld=mold" KARYON_HAS_MOLD)
    if(KARYON_HAS_MOLD)
      add_link_options(-fuse-ld=mold)
    endif()
  endif()
endif()

set(KARYON_WARNING_FLAGS -Wall -Wextra -Wconversion -Wshadow)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # g++ 12 sees overlapping copies inside libstdc++ wherever "text" + std::string is inlined (GCC bug 105329).
  list(APPEND KARYON_WARNING_FLAGS -Wno-restrict)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  # Newer clang with libstdc++ 12 blames std::stable_sort's callers for a deprecated function that libstdc++ itself calls.
  set(CMAKE_REQUIRED_FLAGS "-std=c++20 -Wall -Werror")
  check_cxx_source_compiles(
    "#include <algorithm>\nint main() { int a[2] = {2, 1}; std::stable_sort(a, a + 2); return a[0] - 1; }"
    KARYON_STABLE_SORT_IS_CLEAN)
  unset(CMAKE_REQUIRED_FLAGS)
  if(NOT KARYON_STABLE_SORT_IS_CLEAN)
    list(APPEND KARYON_WARNING_FLAGS -Wno-deprecated-declarations)
  endif()
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND KARYON_SANITIZE)
  # The sanitizers' own instrumentation sets off this one (GCC's manual says so, at -fsanitize=).
  list(APPEND KARYON_WARNING_FLAGS -Wno-maybe-uninitialized)
endif()

# For targets whose sources are read several at a time (a unity build): a name is not hidden that another source has for itself; builds of
# single sources (dev, release) tell the true ones.
set(KARYON_UNITY_WARNING_FLAGS -Wno-shadow)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  list(APPEND KARYON_UNITY_WARNING_FLAGS -Wno-subobject-linkage)  # local types are those of an included file
endif()
if(CMAKE_UNITY_BUILD)
  list(APPEND KARYON_WARNING_FLAGS ${KARYON_UNITY_WARNING_FLAGS})
endif()

# -ffile-prefix-map would hide where a crash came from; these are the flags of the OpenSSF compiler hardening guide that
# cost little and change no result. The sanitizers bring stronger checks of their own and do not go with _FORTIFY_SOURCE.
set(KARYON_HARDENING_COMPILE_FLAGS "")
set(KARYON_HARDENING_LINK_FLAGS "")
if(KARYON_HARDENING AND NOT KARYON_SANITIZE)
  foreach(flag IN ITEMS -fstack-protector-strong -fstack-clash-protection -fcf-protection=full)
    string(MAKE_C_IDENTIFIER "KARYON_HAS${flag}" has_flag)
    check_cxx_compiler_flag("${flag} -Werror" ${has_flag})
    if(${has_flag})
      list(APPEND KARYON_HARDENING_COMPILE_FLAGS ${flag})
    endif()
  endforeach()
  list(APPEND KARYON_HARDENING_COMPILE_FLAGS -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 -D_GLIBCXX_ASSERTIONS)
  set(KARYON_HARDENING_LINK_FLAGS -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack)
endif()

if(PROJECT_IS_TOP_LEVEL)
  check_pie_supported(LANGUAGES CXX)
endif()

# karyon_apply_flags(<target>): warnings, hardening (optimised builds only: _FORTIFY_SOURCE needs the optimiser),
# sanitizers, hidden visibility and position-independent code. Everything is private to the target.
function(karyon_apply_flags target)
  set(optimised "$<NOT:$<CONFIG:Debug>>")
  target_compile_features(${target} PUBLIC cxx_std_20)
  set_target_properties(${target} PROPERTIES
    CXX_EXTENSIONS OFF
    CXX_VISIBILITY_PRESET hidden
    VISIBILITY_INLINES_HIDDEN ON
    POSITION_INDEPENDENT_CODE ON)
  target_compile_options(${target} PRIVATE ${KARYON_WARNING_FLAGS}
    "$<${optimised}:${KARYON_HARDENING_COMPILE_FLAGS}>"
    $<$<BOOL:${KARYON_WARNINGS_AS_ERRORS}>:-Werror>)
  target_link_options(${target} PRIVATE "$<${optimised}:${KARYON_HARDENING_LINK_FLAGS}>")
  if(KARYON_SANITIZE)
    target_compile_options(${target} PRIVATE -fsanitize=${KARYON_SANITIZE} -fno-sanitize-recover=all
      -fno-omit-frame-pointer)
    # Public: whoever links a static room of such a build needs the sanitizer's runtime as well.
    target_link_options(${target} PUBLIC -fsanitize=${KARYON_SANITIZE})
  endif()
endfunction()

# karyon_compile_alone(<file>...): sources of the calling folder's targets that have a local name in common with others of their target,
# or need a translation unit of their own for another reason. Of the tests with KARYON_QUICK_TESTS, and of everything in a unity build
# (CMAKE_UNITY_BUILD, as the sanitizer presets have it), CMake reads the other sources of a target eight at a time, which takes half the
# time: headers are parsed, and templates made, once.
function(karyon_compile_alone)
  set_source_files_properties(${ARGN} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
endfunction()

# karyon_apply_test_flags(<target>): as everything else, but with KARYON_QUICK_TESTS without optimiser and checks for undefined behaviour
# (AddressSanitizer stays), which take most of a test's compile time and find nothing about the library, compiled for itself.
function(karyon_apply_test_flags target)
  karyon_apply_flags(${target})
  if(KARYON_QUICK_TESTS)
    target_compile_options(${target} PRIVATE -O0 -U_FORTIFY_SOURCE)
    if(KARYON_SANITIZE MATCHES "undefined")
      target_compile_options(${target} PRIVATE -fno-sanitize=undefined)
    endif()
  endif()
endfunction()
