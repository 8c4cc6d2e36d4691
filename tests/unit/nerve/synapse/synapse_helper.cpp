// SPDX-License-Identifier: Apache-2.0
//
// A node in a process of its own: synapse_helper ENDPOINT NODE INCARNATION SILENCE_MS WINDOW_FRAMES [CALLED]
//
// It counts the frames that it is sent. A line on its standard input is answered by one line: "counts" by what it has been
// told and has counted, "quit" by its end.
#include <cstdlib>
#include <iostream>
#include <string>

#include "synapse_testing.hpp"

int main(int argc, char** argv) {
  using namespace karyon::tests;
  if (argc < 6) return 2;
  karyon::synapse_options options = patient();
  options.listen = {argv[1]};
  options.silence_max = std::chrono::milliseconds{std::atoi(argv[4])};
  options.window_frames = static_cast<std::uint32_t>(std::atoi(argv[5]));
  if (argc > 6) options.peers = {{argv[6], ""}};
  end me({std::strtoull(argv[2], nullptr, 10), std::strtoull(argv[3], nullptr, 10)}, options);
  if (!me.is_open()) {
    std::cerr << me.why_not() << '\n';
    return 1;
  }
  std::cout << me->endpoints().front() << std::endl;
  for (std::string line; std::getline(std::cin, line) && line != "quit";) {
    const auto stats = me->stats();
    const auto numbers = me.sink.numbers();
    std::cout << numbers.size() << ' ' << (numbers.empty() ? 0 : numbers.front()) << ' '
              << (numbers.empty() ? 0 : numbers.back()) << ' ' << stats.stale << ' ' << stats.expired_in_flight << ' '
              << me.sink.out_of_link() << std::endl;
  }
  me->close();
  return 0;
}
