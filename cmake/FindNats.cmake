# FindNats
#
# Finds nats.c. Debian's CMake config of it names a static library that Debian does not ship; this module needs neither that nor
# pkg-config, and is installed beside Karyon's config.
#
# Imported target: Nats::nats
# Variables:       Nats_FOUND, Nats_VERSION, Nats_INCLUDE_DIR, Nats_LIBRARY
# Hints:           Nats_ROOT

find_path(Nats_INCLUDE_DIR NAMES nats/nats.h)
find_library(Nats_LIBRARY NAMES nats)

set(Nats_VERSION "")
if(Nats_INCLUDE_DIR AND EXISTS "${Nats_INCLUDE_DIR}/nats/version.h")
  file(STRINGS "${Nats_INCLUDE_DIR}/nats/version.h" version_line REGEX "^#define[ ]+NATS_VERSION_STRING[ ]+\"")
  if(version_line MATCHES "\"([0-9.]+)")
    set(Nats_VERSION "${CMAKE_MATCH_1}")
  endif()
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Nats
  REQUIRED_VARS Nats_LIBRARY Nats_INCLUDE_DIR
  VERSION_VAR Nats_VERSION)

if(Nats_FOUND AND NOT TARGET Nats::nats)
  add_library(Nats::nats UNKNOWN IMPORTED)
  set_target_properties(Nats::nats PROPERTIES
    IMPORTED_LOCATION "${Nats_LIBRARY}"
    INTERFACE_INCLUDE_DIRECTORIES "${Nats_INCLUDE_DIR}")
endif()
mark_as_advanced(Nats_INCLUDE_DIR Nats_LIBRARY)
