// SPDX-License-Identifier: Apache-2.0
#include "tools/colony/progress.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "tools/colony/text.hpp"

namespace karyon::tools {

namespace {

constexpr std::size_t bar_cells_max = 30;
constexpr std::size_t usual_columns = 80;  // of a terminal that does not say
constexpr const char* erase_line = "\r\033[K";

// Asked each time, since windows change. The last column stays free: some terminals go on to the next line with it.
std::size_t line_cells() {
  winsize size{};
  const bool known = ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return (known ? size.ws_col : usual_columns) - 1;
}

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
  const std::string before = what_ + " [";
  const std::string after =
      "] " + with_commas(done) + " of " + counted(total, "file") + ", " + counted(signals, "signal");
  // Only one line can be erased: first the bar gives way, then the end of the text.
  const std::size_t cells = line_cells();
  const std::size_t left = cells - std::min(cells, before.size() + after.size());
  const std::size_t bar = std::min(left, bar_cells_max);
  const auto filled =
      static_cast<std::size_t>(static_cast<double>(done) / static_cast<double>(total) * static_cast<double>(bar));
  const std::string line = before + std::string(filled, '#') + std::string(bar - filled, '.') + after;
  std::fprintf(stderr, "%s%s", erase_line, line.substr(0, cells).c_str());
  std::fflush(stderr);
}

void progress::end() {
  if (style_ == style::bar) {
    std::fputs(erase_line, stderr);
    std::fflush(stderr);
  }
}

}  // namespace karyon::tools
