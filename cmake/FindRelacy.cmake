# FindRelacy
#
# Finds Relacy, the model checker of the lock-free protocols (headers only; used by the tests alone).
#
# Imported target: Relacy::relacy
# Variables:       Relacy_FOUND, Relacy_INCLUDE_DIR

find_path(Relacy_INCLUDE_DIR NAMES relacy/relacy.hpp)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Relacy REQUIRED_VARS Relacy_INCLUDE_DIR)

if(Relacy_FOUND AND NOT TARGET Relacy::relacy)
  add_library(Relacy::relacy INTERFACE IMPORTED)
  set_target_properties(Relacy::relacy PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${Relacy_INCLUDE_DIR}")
endif()
mark_as_advanced(Relacy_INCLUDE_DIR)
