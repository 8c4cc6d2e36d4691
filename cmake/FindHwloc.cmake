# FindHwloc
#
# Finds hwloc, which has a .pc file but no CMake config; this module needs no pkg-config on the consumer's machine and is
# installed beside Karyon's config.
#
# Imported target: Hwloc::hwloc
# Variables:       Hwloc_FOUND, Hwloc_VERSION, Hwloc_INCLUDE_DIR, Hwloc_LIBRARY
# Hints:           Hwloc_ROOT

find_path(Hwloc_INCLUDE_DIR NAMES hwloc.h)
find_library(Hwloc_LIBRARY NAMES hwloc)

# Debian keeps the generated header in the architecture's include folder, apart from hwloc.h.
find_file(Hwloc_CONFIG_HEADER NAMES hwloc/autogen/config.h)

set(Hwloc_VERSION "")
if(Hwloc_CONFIG_HEADER)
  file(STRINGS "${Hwloc_CONFIG_HEADER}" version_line REGEX "^#define[ ]+HWLOC_VERSION[ ]+\"")
  if(version_line MATCHES "\"([0-9.]+)")
    set(Hwloc_VERSION "${CMAKE_MATCH_1}")
  endif()
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Hwloc
  REQUIRED_VARS Hwloc_LIBRARY Hwloc_INCLUDE_DIR
  VERSION_VAR Hwloc_VERSION)

if(Hwloc_FOUND AND NOT TARGET Hwloc::hwloc)
  add_library(Hwloc::hwloc UNKNOWN IMPORTED)
  set_target_properties(Hwloc::hwloc PROPERTIES
    IMPORTED_LOCATION "${Hwloc_LIBRARY}"
    INTERFACE_INCLUDE_DIRECTORIES "${Hwloc_INCLUDE_DIR}")
endif()
mark_as_advanced(Hwloc_CONFIG_HEADER Hwloc_INCLUDE_DIR Hwloc_LIBRARY)
