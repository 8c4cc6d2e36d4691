# FindCAF
#
# Finds the core library of the C++ Actor Framework. Debian's libcaf-dev carries neither a CMake config nor a .pc file, so
# Karyon brings this module and installs it beside its own config.
#
# Imported target: CAF::core
# Variables:       CAF_FOUND, CAF_VERSION, CAF_INCLUDE_DIR, CAF_CORE_LIBRARY
# Hints:           CAF_ROOT

find_path(CAF_INCLUDE_DIR NAMES caf/config.hpp)
find_library(CAF_CORE_LIBRARY NAMES caf_core)

# caf/config.hpp states the version as major * 10000 + minor * 100 + patch; from 0.18 on a generated header may hold it.
set(CAF_VERSION "")
foreach(header IN ITEMS caf/config.hpp caf/detail/build_config.hpp)
  if(NOT CAF_VERSION AND CAF_INCLUDE_DIR AND EXISTS "${CAF_INCLUDE_DIR}/${header}")
    file(STRINGS "${CAF_INCLUDE_DIR}/${header}" version_line REGEX "^#[ ]*define[ ]+CAF_VERSION[ ]+[0-9]+")
    if(version_line MATCHES "CAF_VERSION[ ]+([0-9]+)")
      math(EXPR major "${CMAKE_MATCH_1} / 10000")
      math(EXPR minor "(${CMAKE_MATCH_1} / 100) % 100")
      math(EXPR patch "${CMAKE_MATCH_1} % 100")
      set(CAF_VERSION "${major}.${minor}.${patch}")
    endif()
  endif()
endforeach()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(CAF
  REQUIRED_VARS CAF_CORE_LIBRARY CAF_INCLUDE_DIR
  VERSION_VAR CAF_VERSION)

if(CAF_FOUND AND NOT TARGET CAF::core)
  find_package(Threads QUIET)
  add_library(CAF::core UNKNOWN IMPORTED)
  set_target_properties(CAF::core PROPERTIES
    IMPORTED_LOCATION "${CAF_CORE_LIBRARY}"
    INTERFACE_INCLUDE_DIRECTORIES "${CAF_INCLUDE_DIR}"
    INTERFACE_LINK_LIBRARIES "Threads::Threads;${CMAKE_DL_LIBS}")
endif()
mark_as_advanced(CAF_INCLUDE_DIR CAF_CORE_LIBRARY)
