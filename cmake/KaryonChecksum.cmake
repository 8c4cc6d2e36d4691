# cmake -DFILE=<path> -P KaryonChecksum.cmake: writes <path>.sha256 as sha256sum would, run beside the file.
file(SHA256 "${FILE}" digest)
get_filename_component(name "${FILE}" NAME)
file(WRITE "${FILE}.sha256" "${digest}  ${name}\n")
