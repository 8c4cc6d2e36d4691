// SPDX-License-Identifier: Apache-2.0
//
// A node in a process of its own: synapse_helper ENDPOINT NODE INCARNATION SILENCE_MS WINDOW_FRAMES [CALLED]
// synapse_helper half-open: the test of that name, in a network of its own; 77 if it may have none
//
// It counts the frames that it is sent. A line on its standard input is answered by one line: "counts" by what it has been
// told and has counted, "quit" by its end.
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <iostream>
#include <string>

#include "synapse_testing.hpp"

namespace {

using namespace karyon::tests;

constexpr int not_allowed = 77;

/// The loopback of a network that nobody else is in: while it is down, what is sent is lost, and no connection is told so.
bool set_loopback(bool up) {
  const int control = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ifreq request{};
  std::memcpy(request.ifr_name, "lo", sizeof "lo");
  bool done = control >= 0 && ::ioctl(control, SIOCGIFFLAGS, &request) == 0;
  const auto flag = static_cast<short>(IFF_UP);
  request.ifr_flags = static_cast<short>(up ? request.ifr_flags | flag : request.ifr_flags & ~flag);
  done = done && ::ioctl(control, SIOCSIFFLAGS, &request) == 0;
  ::close(control);
  return done;
}

karyon::synapse_options by_tcp() {
  karyon::synapse_options o = patient();
  o.listen = {"tcp://127.0.0.1:*"};
  o.silence_max = std::chrono::milliseconds{2000};
  o.handshake = std::chrono::milliseconds{1000};
  return o;
}

/// 0, or the step that failed.
int half_open() {
  if (::unshare(CLONE_NEWNET) != 0 && ::unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) return not_allowed;
  if (!set_loopback(true)) return not_allowed;
  end a({11, 100}, by_tcp());
  end b({22, 200}, by_tcp());
  if (!a.is_open() || !b.is_open() || !a->connect({b->endpoints().front(), ""})) return 1;
  if (!eventually([&] { return a.sink.is_up() && b.sink.is_up(); })) return 2;
  std::uint64_t accepted = 0;
  const auto send = [&](std::uint64_t number) {
    const bool taken = a.send(b.id, number) == frame_fate::accepted;
    accepted += taken ? 1 : 0;
    return taken;
  };
  // Each again and again: on a loaded machine a link may end at any time.
  if (!eventually([&] { return send(1) && b.sink.entered() != 0; })) return 3;
  if (!eventually([&] { return a.is_settled(accepted); })) return 3;
  const std::size_t downs = b.sink.downs().size();
  if (!set_loopback(false)) return 4;
  for (std::uint64_t i = 0; i < 100; ++i) static_cast<void>(send(1000 + i));
  if (!eventually([&] { return !a.sink.is_up() && !b.sink.is_up(); })) return 5;
  if (a.sink.losses().back() != link_loss::unreachable || b.sink.losses().back() != link_loss::unreachable) return 6;
  if (b.sink.downs().size() == downs || a.send(b.id, 2) != frame_fate::peer_down) return 7;
  if (!set_loopback(true)) return 8;
  if (!eventually([&] { return send(3) && b.sink.numbers().back() == 3; })) return 9;
  // TCP sends again what was lost; none of it is of this link.
  for (const std::uint64_t n : b.sink.numbers()) {
    if (n >= 1000) return 10;
  }
  if (b.sink.out_of_link() != 0 || !eventually([&] { return a.is_settled(accepted); })) return 11;
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && std::string(argv[1]) == "half-open") return half_open();
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
