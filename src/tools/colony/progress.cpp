// SPDX-License-Identifier: Apache-2.0
#include "tools/colony/progress.hpp"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "tools/colony/text.hpp"

namespace karyon::tools {

namespace {

constexpr std::size_t bar_cells = 30;
constexpr const char* erase_line = "\r\033[K";

}  // namespace

progress progress::for_standard_error(bool quiet) {
  const char* const terminal = std::getenv("TERM");
  if (::isatty(STDERR_FILENO) != 0 && terminal != nullptr && std::string_view(terminal) != "dumb") {
    return progress(style::bar);
  }
  return progress(quiet ? style::silent : style::lines);
}

void progress::begin(std::string what) {
  what_ = std::move(what);
  if (style_ == style::lines) {
    std::fprintf(stderr, "%s ...\n", what_.c_str());
  }
}

void progress::update(std::uint64_t done, std::uint64_t total, std::uint64_t signals) {
  if (style_ != style::bar || total == 0) {
    return;
  }
  const auto filled = static_cast<std::size_t>(static_cast<double>(done) / static_cast<double>(total) * bar_cells);
  const std::string bar = std::string(filled, '#') + std::string(bar_cells - filled, '.');
  std::fprintf(stderr, "%s%s [%s] %s of %s, %s", erase_line, what_.c_str(), bar.c_str(), with_commas(done).c_str(),
               counted(total, "file").c_str(), counted(signals, "signal").c_str());
  std::fflush(stderr);
}

void progress::end() {
  if (style_ == style::bar) {
    std::fputs(erase_line, stderr);
    std::fflush(stderr);
  }
}

}  // namespace karyon::tools
