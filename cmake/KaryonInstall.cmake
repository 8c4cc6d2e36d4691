# The installed package: libraries, headers, karyonConfig.cmake, and the Find modules that a static library needs again.
include_guard(GLOBAL)
include(CMakePackageConfigHelpers)

set(config_dir "${CMAKE_INSTALL_LIBDIR}/cmake/karyon")
list(TRANSFORM KARYON_ROOMS PREPEND "karyon_" OUTPUT_VARIABLE room_libraries)

install(TARGETS ${room_libraries} karyon_karyon karyon_interop_caf
  EXPORT karyonTargets
  RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}"
  LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}"
  ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}"
  INCLUDES DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
install(EXPORT karyonTargets NAMESPACE karyon:: DESTINATION "${config_dir}")
install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/karyon" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}"
  FILES_MATCHING PATTERN "*.hpp" PATTERN "*.h")

set(KARYON_PACKAGE_IS_STATIC ON)
if(BUILD_SHARED_LIBS)
  set(KARYON_PACKAGE_IS_STATIC OFF)
  if(TARGET karyon_command)
    file(RELATIVE_PATH bin_to_lib "${CMAKE_INSTALL_FULL_BINDIR}" "${CMAKE_INSTALL_FULL_LIBDIR}")
    set_target_properties(karyon_command PROPERTIES INSTALL_RPATH "$ORIGIN/${bin_to_lib}")
  endif()
endif()
list(JOIN KARYON_ROOMS ", " karyon_components)
string(APPEND karyon_components ", interop_caf")
configure_package_config_file(
  "${PROJECT_SOURCE_DIR}/cmake/karyonConfig.cmake.in" "${PROJECT_BINARY_DIR}/karyonConfig.cmake"
  INSTALL_DESTINATION "${config_dir}"
  NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file("${PROJECT_BINARY_DIR}/karyonConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(FILES
  "${PROJECT_BINARY_DIR}/karyonConfig.cmake"
  "${PROJECT_BINARY_DIR}/karyonConfigVersion.cmake"
  "${PROJECT_SOURCE_DIR}/cmake/FindCAF.cmake"
  "${PROJECT_SOURCE_DIR}/cmake/FindHwloc.cmake"
  "${PROJECT_SOURCE_DIR}/cmake/FindZeroMQ.cmake"
  "${PROJECT_SOURCE_DIR}/cmake/FindNats.cmake"
  "${PROJECT_SOURCE_DIR}/cmake/KaryonChecksum.cmake"
  "${PROJECT_SOURCE_DIR}/cmake/KaryonOrganelle.cmake"
  DESTINATION "${config_dir}")
install(FILES "${PROJECT_SOURCE_DIR}/LICENSE" DESTINATION "${CMAKE_INSTALL_DOCDIR}")
