// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include <karyon/organelle/organelle.hpp>

#include "organelle/elf_image.hpp"
#include "organelle/sealed_file.hpp"

namespace karyon::detail {

/// What organelle_file holds.
struct sealed_organelle {
  std::string path;
  sealed_bytes bytes;
  std::string sha256;
  elf_image image;
  organelle_note note;
};

/// Holds sealed bytes to the options. `path` is for sentences and for the names of the files beside it.
[[nodiscard]] load_result<sealed_organelle> check_sealed(sealed_bytes bytes, const std::string& path,
                                                         const load_options& options);

}  // namespace karyon::detail
