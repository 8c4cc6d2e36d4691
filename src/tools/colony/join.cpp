// SPDX-License-Identifier: Apache-2.0
#include "tools/colony/join.hpp"

#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <limits>
#include <utility>
#include <vector>

#include <karyon/cell/runtime.hpp>

#include "tools/colony/porter.hpp"
#include "tools/colony/quiet_log.hpp"

namespace karyon::tools {

namespace {

using namespace std::chrono_literals;

constexpr auto found_within = 60s;
constexpr std::uint32_t frame_bytes = 8U << 20U;  // the answer of a name with a million uses

/// Asked by the main thread.
struct until_ended {};

/// Tells whoever waits in the main thread that the porter has ended.
class door : public karyon::cell {
public:
  using accepts = karyon::signals<until_ended, karyon::down>;
  explicit door(const cell_ref& whom) : whom_(whom) {}
  void on_start() { monitor(whom_); }
  karyon::deferred<bool> on(until_ended) {
    if (ended_) {
      defer<bool>().answer(true);
    } else {
      waiting_.push_back(defer<bool>());
    }
    return {};
  }
  void on(const karyon::down&) {
    ended_ = true;
    for (karyon::promise<bool>& p : waiting_) {
      p.answer(true);
    }
    waiting_.clear();
  }

private:
  cell_ref whom_;
  bool ended_ = false;
  std::vector<karyon::promise<bool>> waiting_;
};

int give_up(const std::string& why) {
  std::fprintf(stderr, "karyon: %s\n", why.c_str());
  return 1;
}

}  // namespace

node_options spread_options(std::string name, std::string listen) {
  node_options o;
  o.name = std::move(name);
  o.frame_bytes_max = frame_bytes;
  o.synapse.listen = {std::move(listen)};
  o.synapse.frame_bytes_max = frame_bytes;
  o.synapse.window_bytes = 2 * frame_bytes;
  // Reading a machine's sources uses all of its cores: a process that gets none for a while is not lost by that.
  o.synapse.heartbeat = 500ms;
  o.synapse.silence_max = 10s;
  o.synapse.handshake = 5s;
  return o;
}

std::string member_endpoint(const std::string& joined) {
  if (!joined.starts_with("ipc://")) {
    return "tcp://127.0.0.1:*";
  }
  const std::size_t slash = joined.rfind('/');
  return joined.substr(0, slash + 1) + "member-" + std::to_string(::getpid());
}

int run_member(const std::string& endpoint, std::uint32_t workers, bool show_log) {
  const quiet_log log(show_log);
  runtime_options options;
  options.scheduler.binding.workers = workers;
  symbol_ground ground;  // outlives the cells
  runtime host(options);
  const std::string name = "member-" + std::to_string(::getpid());
  node_options how = spread_options(name, member_endpoint(endpoint));
  how.synapse.peers = {{endpoint, ""}};
  node here(host, std::move(how));
  if (!here.wait_connected(spread_node, found_within)) {
    return give_up("no colony answers at " + endpoint);
  }
  const result<child<conductor>> lead = here.find<conductor>(spread_node, spread_conductor, found_within);
  if (!lead) {
    return give_up("the colony at " + endpoint + " takes no members: " + to_string(lead.error()));
  }
  supervisor keeper =
      host.supervise({.intensity = {.restarts = std::numeric_limits<std::uint32_t>::max(), .period = 1s}});
  const auto mine = host.spawn<porter>(name, &ground, keeper, *lead);
  const auto end = host.spawn<door>(mine);
  std::printf("%s has joined the colony at %s\n", name.c_str(), endpoint.c_str());
  std::fflush(stdout);
  auto ended = host.ask_async(end, until_ended{});
  while (!ended.get(1h)) {
  }
  std::printf("%s: the colony has ended, or is out of reach\n", name.c_str());
  static_cast<void>(host.shutdown(5s));
  return 0;
}

}  // namespace karyon::tools
