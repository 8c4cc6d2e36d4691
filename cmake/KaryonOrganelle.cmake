include_guard(GLOBAL)

# karyon_add_organelle(<name> SOURCES <file>... [LIBRARIES <target>...] [DESTINATION <directory>])
#
# A native library that a host loads with karyon::organelle::load: built as the module <name>.so in the current binary directory,
# with a build id, and <name>.so.sha256 beside it, which is written anew whenever the library is linked, and only then. One of
# the sources has KARYON_ORGANELLE_NOTE; what it includes of Karyon is <karyon/organelle/abi.h>.
#
# With DESTINATION both files are installed there, as they are: a library that is stripped or changed afterwards is another one,
# and is refused. So it has no search path for libraries either.
function(karyon_add_organelle name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "DESTINATION" "SOURCES;LIBRARIES")
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "karyon_add_organelle(${name}): unknown arguments: ${arg_UNPARSED_ARGUMENTS}")
  endif()
  set(file "${CMAKE_CURRENT_BINARY_DIR}/${name}.so")
  add_library(${name} MODULE ${arg_SOURCES})
  set_target_properties(${name} PROPERTIES
    PREFIX ""
    SUFFIX ".so"
    LIBRARY_OUTPUT_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}"
    C_VISIBILITY_PRESET hidden
    CXX_VISIBILITY_PRESET hidden
    VISIBILITY_INLINES_HIDDEN ON
    SKIP_BUILD_RPATH ON)
  target_link_options(${name} PRIVATE -Wl,--build-id=sha1 -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack)
  if(TARGET karyon::organelle)  # its header alone: an organelle is not linked with its host
    target_include_directories(${name} PRIVATE $<TARGET_PROPERTY:karyon::organelle,INTERFACE_INCLUDE_DIRECTORIES>)
  else()
    target_include_directories(${name} PRIVATE "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/../include")  # of a source tree
  endif()
  target_link_libraries(${name} PRIVATE ${arg_LIBRARIES})
  # By where this file lies: a variable of the folder that included it is not seen in every folder that calls the function.
  set(checksum_script "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/KaryonChecksum.cmake")
  add_custom_command(OUTPUT "${file}.sha256"
    COMMAND "${CMAKE_COMMAND}" "-DFILE=${file}" -P "${checksum_script}"
    DEPENDS ${name} "${checksum_script}"
    COMMENT "Checksum of ${name}.so"
    VERBATIM)
  add_custom_target(${name}_checksum ALL DEPENDS "${file}.sha256")
  if(arg_DESTINATION)
    install(PROGRAMS "${file}" DESTINATION "${arg_DESTINATION}")
    install(FILES "${file}.sha256" DESTINATION "${arg_DESTINATION}")
  endif()
endfunction()
