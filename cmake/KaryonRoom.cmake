include_guard(GLOBAL)

# karyon_add_room(<room> SOURCES <file>... [PUBLIC_DEPS <target>...] [PRIVATE_DEPS <target>...])
#
# One library per room: target karyon_<room>, alias karyon::<room>, exported under that name. Sources are listed one by
# one. A room sees its own and its left neighbours' private headers as "<room>/file.hpp" and all public ones as
# <karyon/<room>/file.hpp>; tests/checks/rooms refuses an include to the right. As a shared library a room is linked with
# --no-undefined, so a call to the right does not link either. PUBLIC_DEPS are the rooms (and tl::expected) whose headers
# the room's public headers include; everything else is private.
function(karyon_add_room room)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;PUBLIC_DEPS;PRIVATE_DEPS")
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "karyon_add_room(${room}): unknown arguments: ${arg_UNPARSED_ARGUMENTS}")
  endif()
  set(target karyon_${room})
  add_library(${target} ${arg_SOURCES})
  add_library(karyon::${room} ALIAS ${target})
  karyon_apply_flags(${target})
  set_target_properties(${target} PROPERTIES
    EXPORT_NAME ${room}
    VERSION ${PROJECT_VERSION}
    SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR}
    # The rooms find each other wherever the prefix lies.
    INSTALL_RPATH "$ORIGIN"
    # No <target>_EXPORTS macro: an object is the same in both flavours, so the second one comes from the compiler cache.
    DEFINE_SYMBOL "")
  if(BUILD_SHARED_LIBS AND KARYON_BUILD_TESTS)
    # Unit tests call private functions; only a build that has them opens the library. The consumer checks build without
    # tests and so hold the exported set to what KARYON_API marks.
    set_target_properties(${target} PROPERTIES CXX_VISIBILITY_PRESET default VISIBILITY_INLINES_HIDDEN OFF)
  endif()
  target_include_directories(${target}
    PUBLIC
      "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>"
      "$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>"
    PRIVATE
      "${PROJECT_SOURCE_DIR}/src")
  target_link_libraries(${target} PUBLIC ${arg_PUBLIC_DEPS} PRIVATE ${arg_PRIVATE_DEPS})
  if(BUILD_SHARED_LIBS AND NOT KARYON_SANITIZE)  # clang leaves a sanitizer's runtime undefined in shared libraries
    target_link_options(${target} PRIVATE -Wl,--no-undefined)
  endif()
  set_property(DIRECTORY "${PROJECT_SOURCE_DIR}" APPEND PROPERTY KARYON_ROOMS ${room})
endfunction()
