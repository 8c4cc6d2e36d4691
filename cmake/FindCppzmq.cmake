# FindCppzmq
#
# Finds cppzmq's header, zmq.hpp. Its own CMake config asks for one of libzmq's, which Debian does not have.
#
# Variables: Cppzmq_FOUND, Cppzmq_INCLUDE_DIR
# Hints:     Cppzmq_ROOT

find_path(Cppzmq_INCLUDE_DIR NAMES zmq.hpp)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Cppzmq REQUIRED_VARS Cppzmq_INCLUDE_DIR)
mark_as_advanced(Cppzmq_INCLUDE_DIR)
