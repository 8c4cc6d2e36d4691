// SPDX-License-Identifier: Apache-2.0

// The suite `nerve`: cells in two processes of one machine that send each other 64 bytes. The scenarios are defined in
// bench/README.md.

#include "harness/karyon_driver.hpp"
#include "suites/longest_call.hpp"
#include "suites/two_processes.hpp"

#include <karyon/nerve/node.hpp>

#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>

namespace {

using namespace karyon::bench;
using namespace std::chrono_literals;

struct ball {
  std::array<std::uint64_t, 8> words{};
};

class near_side;
class far_side;
/// The far side's cell, told whom to answer.
struct partner {
  karyon::child<near_side> of;
};
struct begin_rally {
  std::uint64_t round_trips;
};
struct begin_stream {
  std::uint64_t items;
};
/// To whom each ball goes as well, whatever becomes of it there.
struct also_to {
  karyon::child<far_side> cell;
};
struct go_on {};
struct all_there {
  std::uint64_t sum;
};

KARYON_SIGNAL(ball, words)
KARYON_SIGNAL(partner, of)
KARYON_SIGNAL(all_there, sum)

/// Sends each ball back, or counts balls until it has as many as the first one says.
class far_side : public karyon::cell {
public:
  using accepts = karyon::signals<partner, ball>;
  void on(partner const& p);
  void on(ball const& b);

private:
  karyon::child<near_side> near_;
  std::uint64_t sum_ = 0;
  std::uint64_t seen_ = 0;
};

std::vector<std::int64_t> rally_times;

class near_side : public karyon::cell {
public:
  using accepts = karyon::signals<begin_rally, begin_stream, also_to, go_on, ball, all_there>;
  explicit near_side(karyon::child<far_side> far) : far_(far) {}

  void on(begin_rally asked) {
    left_ = asked.round_trips;
    hit();
  }
  void on(also_to other) { other_ = other.cell; }
  void on(ball const&) {
    rally_times.push_back(now_ns() - hit_at_ns_);
    if (--left_ == 0) {
      all_arrived.arrive();
    } else {
      hit();
    }
  }

  void on(begin_stream asked) {
    items_ = asked.items;
    next_ = 0;
    on(go_on{});
  }
  void on(go_on) {
    // A turn's worth at a time; what is refused for want of credit is sent when this cell has its next turn.
    for (int i = 0; i < 256 && next_ < items_; ++i) {
      auto const sent = far_.send(ball{{next_, items_}});
      if (sent == karyon::send_result::no_credit) break;
      verify(sent == karyon::send_result::accepted, "an item was refused");
      ++next_;
    }
    if (next_ < items_) self(this).send(go_on{});
  }
  void on(all_there const& there) {
    verify(there.sum == items_ * (items_ - 1) / 2, "items were lost");
    all_arrived.arrive();
  }

private:
  void hit() {
    if (other_) other_->send(ball{});
    hit_at_ns_ = now_ns();
    verify(far_.send(ball{}) == karyon::send_result::accepted, "the ball was refused");
  }

  karyon::child<far_side> far_;
  std::optional<karyon::child<far_side>> other_;
  std::uint64_t left_ = 0;
  std::uint64_t items_ = 0;
  std::uint64_t next_ = 0;
  std::int64_t hit_at_ns_ = 0;
};

void far_side::on(partner const& p) { near_ = p.of; }
void far_side::on(ball const& b) {
  if (b.words[1] == 0) {
    near_.send(b);
    return;
  }
  sum_ += b.words[0];
  if (++seen_ == b.words[1]) {
    near_.send(all_there{sum_});
    seen_ = sum_ = 0;
  }
}

enum class way { ipc, tcp, curve };

std::string run_and_hear(std::string const& command) {
  std::FILE* const out = ::popen(command.c_str(), "r");
  verify(out != nullptr, "no process");
  char line[256] = "";
  auto const* const got = std::fgets(line, sizeof line, out);
  verify(::pclose(out) == 0 && got != nullptr, "`karyon keys` failed");
  return std::string{line}.substr(0, 64);
}

/// The pair of keys of each process, by the command that users have for it.
struct keys {
  std::string a;
  std::string b;
};
keys make_keys(private_folder const& folder) {
  // The driver lies in build/.../bench/bin, the command in build/.../src/tools.
  auto const here = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  auto const command = (here / "../../src/tools/karyon").string();
  keys made;
  made.a = run_and_hear(command + " keys generate " + folder.path("a.key"));
  made.b = run_and_hear(command + " keys generate " + folder.path("b.key"));
  std::ofstream{folder.path("a.allow")} << made.b << " b\n";
  std::ofstream{folder.path("b.allow")} << made.a << " a\n";
  return made;
}

karyon::node_options node_at(char const* name, way by, private_folder const& folder, work const& asked) {
  karyon::node_options options;
  options.name = name;
  auto& synapse = options.synapse;
  synapse.listen = {by == way::ipc ? "ipc://" + folder.path(name) : std::string{"tcp://127.0.0.1:*"}};
  if (by == way::curve) {
    synapse.key_file = folder.path((std::string{name} + ".key").c_str());
    synapse.allow_file = folder.path((std::string{name} + ".allow").c_str());
  }
  synapse.silence_max = 10s;  // the machine may have much else to do
  synapse.handshake = 5s;
  synapse.spin = std::chrono::microseconds{asked.option("spin", 50)};
  synapse.shared_bytes = static_cast<std::uint32_t>(asked.option("shared_kib", 512)) << 10U;
  return options;
}

/// Another process, with the far side's cell in a node of its own.
class far_process {
public:
  /// Before this process has threads.
  far_process(char const* name, way by, work const& asked, private_folder const& folder, keys const& made)
      : name_{name}, process_{begin_process([&] {
          endpoint_.only_hear();
          end_.only_hear();
          auto& rt = start_runtime(asked);
          karyon::node there{rt, node_at(name, by, folder, asked)};
          auto tissue = rt.supervise({});
          there.publish("far", tissue.start<far_side>());
          auto const connected = there.connect({endpoint_.hear(), made.a});
          verify(connected.has_value(), "the other process can not be called");
          static_cast<void>(end_.hear());
        })} {
    endpoint_.only_say();
    end_.only_say();
  }
  /// Its cell, once it is connected with `here`.
  karyon::child<far_side> meet(karyon::node& here) const {
    endpoint_.say(here.endpoints().front());
    verify(here.wait_connected(name_, 30s), "no link");
    auto far = here.find<far_side>(name_, "far", 30s);
    for (int i = 0; !far && i < 100; ++i) {
      std::this_thread::sleep_for(50ms);
      far = here.find<far_side>(name_, "far", 30s);
    }
    verify(far.has_value(), "the other process's cell can not be found");
    return *far;
  }
  void signal(int what) const { verify(::kill(process_, what) == 0, "the other process can not be signalled"); }
  /// Lets it end, if it has not.
  void end() const {
    if (::kill(process_, 0) == 0 && ::waitpid(process_, nullptr, WNOHANG) == 0) end_.say("over");
  }

private:
  char const* name_;
  line_pipe endpoint_;
  line_pipe end_;
  pid_t process_;
};

/// Both processes, up to the moment where each side's cell knows the other's; then `measure` with both. With `third`, one more.
template <class Measure>
figure between_processes(way by, work const& asked, Measure const& measure, bool third = false) {
  private_folder const folder;
  auto const made = by == way::curve ? make_keys(folder) : keys{};
  far_process const other{"b", by, asked, folder, made};
  std::optional<far_process> one_more;
  if (third) one_more.emplace("c", by, asked, folder, made);
  auto& rt = start_runtime(asked);
  karyon::node here{rt, node_at("a", by, folder, asked)};
  auto const far = other.meet(here);
  auto tissue = rt.supervise({});
  auto const near = tissue.start<near_side>(far);
  verify(far.send(partner{near}) == karyon::send_result::accepted, "no acquaintance");
  if (one_more) {
    near.send(also_to{one_more->meet(here)});
    one_more->signal(SIGSTOP);
  }
  auto const measured = measure(near, far, other);
  if (one_more) one_more->signal(SIGKILL);
  other.end();
  return measured;
}

figure roundtrip(way by, work const& asked, std::uint64_t percent, bool third = false) {
  auto const rally = [&](karyon::child<near_side> const& near, auto const&...) {
    rally_times.reserve(asked.operations + asked.operations / 10 + 1);
    for (auto const round_trips : {asked.operations / 10 + 1, asked.operations}) {
      rally_times.clear();
      all_arrived.arm(1);
      near.send(begin_rally{round_trips});
      all_arrived.await();
    }
    return figure{"us", percentile(rally_times, percent) / 1000};
  };
  return between_processes(by, asked, rally, third);
}

figure rate_of(way by, work const& asked) {
  return between_processes(by, asked, [&](karyon::child<near_side> const& near, auto const&...) {
    std::int64_t begin = 0;
    for (auto const items : {asked.operations / 10 + 1, asked.operations}) {
      all_arrived.arm(1);
      begin = now_ns();
      near.send(begin_stream{items});
      all_arrived.await();
    }
    return figure{"/s", 1e9 / per(now_ns() - begin, asked.operations)};
  });
}

enum class measured { sends, nothing };
/// As many as the thread can send, whatever becomes of them. Measured is each send; or, to tell what of that is the machine's own, a
/// microsecond of nothing behind each.
class ceaseless_sender {
public:
  ceaseless_sender(karyon::child<far_side> const& far, measured what) : far_{far}, what_{what} {}
  void make_for(std::chrono::nanoseconds time) {
    auto const send = [&] { ++(karyon::ok(far_.send(ball{{1, ~std::uint64_t{0}}})) ? accepted_ : refused_); };
    auto const wait = [] {
      for (auto const end = now_ns() + 1000; now_ns() < end;) {
      }
    };
    auto const end = now_ns() + time.count();
    while (now_ns() < end) {
      if (what_ == measured::sends) {
        calls_.make(send);
      } else {
        send();
        calls_.make(wait);
      }
    }
  }
  [[nodiscard]] std::uint64_t accepted() const { return accepted_; }
  [[nodiscard]] std::uint64_t refused() const { return refused_; }
  [[nodiscard]] figure longest() const { return calls_.longest(); }

private:
  karyon::child<far_side> const& far_;
  measured what_;
  longest_call calls_;
  std::uint64_t accepted_ = 0;
  std::uint64_t refused_ = 0;
};

/// To a process that is there, stopped, there again, and killed.
figure longest_send(way by, work const& asked, measured what) {
  auto const try_all = [&](auto const&, karyon::child<far_side> const& far, far_process const& other) {
    ceaseless_sender sender{far, what};
    std::chrono::milliseconds const phase{asked.operations / 4};
    sender.make_for(phase);
    for (int const sent : {SIGSTOP, SIGCONT, SIGKILL}) {
      other.signal(sent);
      sender.make_for(phase);
    }
    verify(sender.refused() != 0, "a process that is not there took everything");
    return sender.longest();
  };
  return between_processes(by, asked, try_all);
}

/// The loopback of this process's own network: while it is down all that is sent is lost, and no connection is told so.
void set_loopback(bool up) {
  auto const control = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ifreq request{};
  std::memcpy(request.ifr_name, "lo", sizeof "lo");
  request.ifr_flags = static_cast<short>(up ? IFF_UP : 0);
  auto const done = control >= 0 && ::ioctl(control, SIOCSIFFLAGS, &request) == 0;
  ::close(control);
  verify(done, "the loopback of a network of its own can not be set");
}

/// By a path that again and again loses all for a moment, and at last for good.
figure longest_send_lossy(work const& asked) {
  if (::unshare(CLONE_NEWNET) != 0 && ::unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) {
    verify(errno == EPERM || errno == ENOSPC || errno == ENOSYS, "a network of one's own was asked for in a wrong way");
    throw not_here{"this machine allows no network of one's own"};
  }
  set_loopback(true);
  auto const try_all = [&](auto const&, karyon::child<far_side> const& far, far_process const&) {
    ceaseless_sender sender{far, measured::sends};
    std::chrono::milliseconds const turn{asked.operations / 8};
    // Between two losses there must be time for TCP to send again what was lost, for which it waits 200 ms and more.
    auto const lost = turn / 10;
    sender.make_for(turn - lost);
    std::uint64_t before = 0;
    for (int i = 0; i < 7; ++i) {
      set_loopback(false);
      sender.make_for(lost);
      if (i == 0) before = sender.accepted();
      set_loopback(true);
      sender.make_for(turn - lost);
    }
    verify(sender.accepted() > before, "nothing was accepted between two losses");
    set_loopback(false);
    auto const refused = sender.refused();
    sender.make_for(turn);
    verify(sender.refused() > refused, "a path that loses everything took everything");
    return sender.longest();
  };
  return between_processes(way::tcp, asked, try_all);
}

constexpr scenario scenarios[] = {
    {"ipc_roundtrip", [](work const& asked) { return roundtrip(way::ipc, asked, 50); }},
    {"ipc_roundtrip_p99", [](work const& asked) { return roundtrip(way::ipc, asked, 99); }},
    {"tcp_roundtrip", [](work const& asked) { return roundtrip(way::tcp, asked, 50); }},
    {"ipc_rate", [](work const& asked) { return rate_of(way::ipc, asked); }},
    {"tcp_rate", [](work const& asked) { return rate_of(way::tcp, asked); }},
    {"curve_rate", [](work const& asked) { return rate_of(way::curve, asked); }},
    {"beside_stopped_p99", [](work const& asked) { return roundtrip(way::ipc, asked, 99, true); }},
    {"longest_send", [](work const& asked) { return longest_send(way::ipc, asked, measured::sends); }},
    {"longest_send_tcp", [](work const& asked) { return longest_send(way::tcp, asked, measured::sends); }},
    {"longest_send_lossy", [](work const& asked) { return longest_send_lossy(asked); }},
    {"longest_nothing", [](work const& asked) { return longest_send(way::ipc, asked, measured::nothing); }},
    {"longest_nothing_tcp", [](work const& asked) { return longest_send(way::tcp, asked, measured::nothing); }},
};

}  // namespace

int main(int argc, char** argv) {
  karyon::set_log_level(karyon::log_level::off);
  drive(argc, argv, scenarios);
}
