# Syntax trees need libtree-sitter and the grammars of C and C++, which no Debian package has: npm fetches their packages into
# the build folder. Their contents are pinned by SHA-512: others are refused. Sets KARYON_HAS_GRAMMARS, and makes the target
# rhizome_grammars.
set(KARYON_GRAMMARS AUTO CACHE STRING
  "tree-sitter's grammars of C and C++, for syntax trees: AUTO (where libtree-sitter and npm are there), ON (required), OFF")
set_property(CACHE KARYON_GRAMMARS PROPERTY STRINGS AUTO ON OFF)
set(KARYON_HAS_GRAMMARS OFF)
set(grammars_folder "${CMAKE_CURRENT_BINARY_DIR}/grammars")
# ABI 14, the newest that libtree-sitter 0.20 reads; those from 0.24 on have ABI 15.
set(grammars_wanted
  "tree-sitter-c|0.23.4|869df162e59bb9305a9c7130ac0c4e0610e3770883d64deed97a559a9164e46749263ecdda3adc178e6162b64f730b808cd5dd2f4d58146ed348b7663e2da5ca"
  "tree-sitter-cpp|0.23.4|a91e6a503ca16798c9e95f3fba6881c689116def3d6c21a672afdd93de3023890df3aa9f755f24d061c850429aa9681cbb8db029a97913decb2a92de556f2c2b")

# Sets `missing` to a sentence when the grammar can not be had.
function(karyon_fetch_grammar name version sha512)
  set(tarball "${grammars_folder}/${name}-${version}.tgz")
  if(NOT EXISTS "${tarball}")
    if(NOT NPM_PROGRAM)
      set(missing "npm (Debian package npm), which fetches ${name} ${version}" PARENT_SCOPE)
      return()
    endif()
    file(MAKE_DIRECTORY "${grammars_folder}")
    execute_process(
      COMMAND "${NPM_PROGRAM}" pack "${name}@${version}" --silent --fetch-retries=0 --pack-destination "${grammars_folder}"
      WORKING_DIRECTORY "${grammars_folder}"
      TIMEOUT 60
      RESULT_VARIABLE failed OUTPUT_QUIET ERROR_QUIET)
    if(failed OR NOT EXISTS "${tarball}")
      file(REMOVE "${tarball}")  # a part of it, perhaps
      set(missing "the npm package ${name} ${version}: npm pack could not fetch it" PARENT_SCOPE)
      return()
    endif()
  endif()
  file(SHA512 "${tarball}" found)
  if(NOT found STREQUAL sha512)
    file(REMOVE "${tarball}")
    message(FATAL_ERROR "${name} ${version} is not what it was: its package has the SHA-512 ${found}, not ${sha512}")
  endif()
  if(NOT EXISTS "${grammars_folder}/${name}/package/src/parser.c")
    file(ARCHIVE_EXTRACT INPUT "${tarball}" DESTINATION "${grammars_folder}/${name}" PATTERNS "package/src/*")
  endif()
  set(missing "" PARENT_SCOPE)
endfunction()

if(NOT KARYON_GRAMMARS STREQUAL "OFF")
  find_path(TREE_SITTER_INCLUDE_DIR tree_sitter/api.h)
  find_library(TREE_SITTER_LIBRARY tree-sitter)
  find_program(NPM_PROGRAM npm)
  mark_as_advanced(TREE_SITTER_INCLUDE_DIR TREE_SITTER_LIBRARY NPM_PROGRAM)
  set(missing "")
  if(NOT TREE_SITTER_INCLUDE_DIR OR NOT TREE_SITTER_LIBRARY)
    set(missing "libtree-sitter (Debian package libtree-sitter-dev)")
  endif()
  foreach(grammar IN LISTS grammars_wanted)
    if(NOT missing)
      string(REPLACE "|" ";" grammar "${grammar}")
      list(GET grammar 0 name)
      list(GET grammar 1 version)
      list(GET grammar 2 sha512)
      karyon_fetch_grammar(${name} ${version} ${sha512})
    endif()
  endforeach()
  if(NOT missing)
    set(KARYON_HAS_GRAMMARS ON)
  elseif(KARYON_GRAMMARS STREQUAL "AUTO")
    message(STATUS "Syntax trees are left out of the rhizome engine; missing: ${missing}")
  else()
    message(FATAL_ERROR "KARYON_GRAMMARS is ${KARYON_GRAMMARS}, but this is missing: ${missing}")
  endif()
endif()

if(KARYON_HAS_GRAMMARS)
  enable_language(C)
  # 20 MB of tables that a machine wrote: no warnings, no sanitizers. Levels of optimisation take as long.
  add_library(rhizome_grammars STATIC
    "${grammars_folder}/tree-sitter-c/package/src/parser.c"
    "${grammars_folder}/tree-sitter-cpp/package/src/parser.c"
    "${grammars_folder}/tree-sitter-cpp/package/src/scanner.c")
  set_target_properties(rhizome_grammars PROPERTIES POSITION_INDEPENDENT_CODE ON C_STANDARD 11 C_VISIBILITY_PRESET hidden)
  target_compile_options(rhizome_grammars PRIVATE -w -O2 -g0)
  # Each package brings the header that its tables were written for.
  foreach(name IN ITEMS c cpp)
    file(GLOB sources "${grammars_folder}/tree-sitter-${name}/package/src/*.c")
    set_source_files_properties(${sources} PROPERTIES
      COMPILE_OPTIONS "-I${grammars_folder}/tree-sitter-${name}/package/src")
  endforeach()
endif()
