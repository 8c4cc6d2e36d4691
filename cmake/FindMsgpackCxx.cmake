# FindMsgpackCxx
#
# Finds the headers of msgpack for C++, version 4 or later. Its own CMake config has another name in each version.
#
# Variables: MsgpackCxx_FOUND, MsgpackCxx_INCLUDE_DIR
# Hints:     MsgpackCxx_ROOT

find_path(MsgpackCxx_INCLUDE_DIR NAMES msgpack/v3/parse.hpp)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(MsgpackCxx REQUIRED_VARS MsgpackCxx_INCLUDE_DIR)
mark_as_advanced(MsgpackCxx_INCLUDE_DIR)
