# FindZeroMQ
#
# Finds libzmq, for which Debian has a .pc file but no CMake config; this module needs no pkg-config on the consumer's machine and
# is installed beside Karyon's config.
#
# Imported target: ZeroMQ::zmq
# Variables:       ZeroMQ_FOUND, ZeroMQ_VERSION, ZeroMQ_INCLUDE_DIR, ZeroMQ_LIBRARY
# Hints:           ZeroMQ_ROOT

find_path(ZeroMQ_INCLUDE_DIR NAMES zmq.h)
find_library(ZeroMQ_LIBRARY NAMES zmq)

set(ZeroMQ_VERSION "")
if(ZeroMQ_INCLUDE_DIR)
  set(parts "")
  foreach(part IN ITEMS MAJOR MINOR PATCH)
    file(STRINGS "${ZeroMQ_INCLUDE_DIR}/zmq.h" version_line REGEX "^#define ZMQ_VERSION_${part} [0-9]+")
    if(version_line MATCHES "([0-9]+)$")
      list(APPEND parts "${CMAKE_MATCH_1}")
    endif()
  endforeach()
  list(JOIN parts "." ZeroMQ_VERSION)
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(ZeroMQ
  REQUIRED_VARS ZeroMQ_LIBRARY ZeroMQ_INCLUDE_DIR
  VERSION_VAR ZeroMQ_VERSION)

if(ZeroMQ_FOUND AND NOT TARGET ZeroMQ::zmq)
  add_library(ZeroMQ::zmq UNKNOWN IMPORTED)
  set_target_properties(ZeroMQ::zmq PROPERTIES
    IMPORTED_LOCATION "${ZeroMQ_LIBRARY}"
    INTERFACE_INCLUDE_DIRECTORIES "${ZeroMQ_INCLUDE_DIR}")
endif()
mark_as_advanced(ZeroMQ_INCLUDE_DIR ZeroMQ_LIBRARY)
