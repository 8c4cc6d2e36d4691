// SPDX-License-Identifier: Apache-2.0
#include "tools/keys.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "nerve/security.hpp"

namespace karyon::tools {

namespace {

int complain(const std::string& sentence) {
  std::fprintf(stderr, "karyon: %s\n", sentence.c_str());
  return 1;
}

int complain_of_system(const std::string& what) { return complain(what + ": " + std::strerror(errno)); }

int print(const detail::curve_pair& pair) {
  std::printf("%s\n", detail::to_hex(pair.open).c_str());
  return 0;
}

int generate(const std::string& file) {
  const auto pair = detail::new_pair();
  if (!pair) return complain(pair.error().message());
  if (const auto written = detail::write_pair(*pair, file); !written) return complain(written.error().message());
  return print(*pair);
}

int show(const std::string& file) {
  const auto pair = detail::read_pair(file);
  return pair ? print(*pair) : complain(pair.error().message());
}

/// The new keys take the place of the old ones, which stay beside them until the next time.
int finish_rotation(const std::string& file) {
  const std::string next = file + ".next";
  const std::string previous = file + ".previous";
  for (const std::string& each : {file, next}) {
    if (const auto pair = detail::read_pair(each); !pair) return complain(pair.error().message());
  }
  if (::unlink(previous.c_str()) != 0 && errno != ENOENT) return complain_of_system("Removing " + previous + " failed");
  // At no moment is there no file of the name that the node reads.
  if (::link(file.c_str(), previous.c_str()) != 0) return complain_of_system("Keeping " + previous + " failed");
  if (::rename(next.c_str(), file.c_str()) != 0) return complain_of_system("Renaming " + next + " failed");
  return show(file);
}

}  // namespace

int run_keys(const keys_options& options) {
  switch (options.what) {
    case keys_options::act::generate: return generate(options.file);
    case keys_options::act::show: return show(options.file);
    case keys_options::act::rotate:
      if (options.finish) return finish_rotation(options.file);
      if (const auto now = detail::read_pair(options.file); !now) return complain(now.error().message());
      return generate(options.file + ".next");
    case keys_options::act::none: break;
  }
  return complain("keys: nothing was asked for");
}

}  // namespace karyon::tools
