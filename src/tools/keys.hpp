// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace karyon::tools {

/// What `karyon keys` was asked for on its command line.
struct keys_options {
  enum class act { none, generate, show, rotate };
  act what = act::none;
  std::string file;
  bool finish = false;  // of rotate
};

/// Makes, shows and changes a node's keys. Public keys go to standard output, one line; sentences to standard error. The exit
/// status is 0, 1 if it failed.
[[nodiscard]] int run_keys(const keys_options& options);

}  // namespace karyon::tools
