#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include <karyon/nerve/node.hpp>

#include "cell/links.hpp"
#include "cell/stub.hpp"
#include "nerve/exports.hpp"
#include "nerve/node_services.hpp"
#include "nerve/payload.hpp"
#include "nerve/peer.hpp"
#include "nerve/synapse.hpp"
#include "nerve/transport.hpp"

namespace karyon::detail {

/// Numbers of node_stats, by what a thread adds to.
struct node_counters {
  std::array<std::atomic<std::uint64_t>, 13> by_result{};  // of sends, by send_result
  std::atomic<std::uint64_t> received{0}, delivered{0}, dead_here{0}, full_here{0}, no_handler_here{0},
      not_declared_here{0}, unreadable_here{0};
  std::atomic<std::uint64_t> answers_sent{0}, answers_lost{0}, answers_late{0}, answers_bad{0}, questions_lost{0};
  std::atomic<std::uint64_t> notices_sent{0}, notices_lost{0}, bad_frames{0};

  static void add(std::atomic<std::uint64_t>& to, std::uint64_t n = 1) noexcept {
    to.fetch_add(n, std::memory_order_relaxed);
  }
};

/// The inside of a node: what stands between handles and a transport.
///
/// Threads: forward() on those of senders, the sink's functions on the transport's. A peer's tables have a lock each; it is never held
/// while a transport, a cell or another peer's lock is entered. Frames of a peer come one at a time.
class node_core final : public remote_port, public transport_sink, public handle_map, public service_port {
public:
  node_core(runtime& host, node_options options);
  ~node_core();

  /// Before the first frame: through what frames go. It must end, so that no more frames come, before the node does.
  /// Release pairs with the acquires of all that look at carrier_: who finds a carrier sees it whole, and synapse_ as well.
  void attach(transport& carrier) noexcept { carrier_.store(&carrier, std::memory_order_release); }
  /// The real one, where the options name something to listen on or somebody to call. Throws runtime_error.
  void open_synapse();
  void close_synapse() noexcept;
  [[nodiscard]] result<void> connect(const synapse_peer& peer);
  [[nodiscard]] std::vector<std::string> endpoints() const override;
  [[nodiscard]] peer_id self() const noexcept override { return self_; }
  /// What peers are to be greeted with, as of now.
  [[nodiscard]] result<std::vector<std::byte>> hello() const;

  // remote_port
  [[nodiscard]] send_result forward(const stub& to, signal* s) noexcept override;
  [[nodiscard]] bool reachable(const stub& to) const noexcept override;
  void refused_undeclared() noexcept override { static_cast<void>(count(send_result::not_declared)); }

  // service_port
  [[nodiscard]] std::size_t payload_bytes_max() const noexcept override { return options_.frame_bytes_max; }
  void call(const std::string& endpoint, const std::optional<curve_key>& key) override;
  [[nodiscard]] std::optional<curve_key> public_key() const override;
  [[nodiscard]] bool allows(const curve_key& key, std::uint64_t node) const override;
  [[nodiscard]] frame_fate send_service(const peer_id& to, std::uint8_t flags,
                                        std::span<const std::byte> payload) noexcept override;
  void send_service_signal(std::span<const peer> to, std::uint8_t flags, std::span<const std::byte> before,
                           const signal& s, std::span<peer_fate> became) override;
  [[nodiscard]] signal* read_service_signal(const peer_id& from, std::uint16_t type, std::span<const std::byte> payload,
                                            const wire_type*& what) override;

  // transport_sink
  void link_up(const peer_id& peer, std::span<const std::byte> greeting) noexcept override;
  void link_down(const peer_id& peer, link_loss why) noexcept override;
  void received(const peer_id& peer, const frame_header& header, std::span<const std::byte> payload) noexcept override;
  void room(const peer_id& peer) noexcept override;
  void namesake(const peer_id& who, std::string_view its_endpoint,
                std::string_view endpoint_of_the_other) noexcept override;

  // handle_map
  [[nodiscard]] bool to_wire(const address& at, bool role, wire_handle& h) override;
  [[nodiscard]] bool from_wire(const wire_handle& h, address& at, bool& role, const class_info* expected) override;

  // for karyon::node and its desk
  void set_desk(const ref<node_desk>& desk);
  /// The runtime's groups and names reach other nodes by this one from now on, if by no other. Before the first link.
  void install_services();
  void publish(std::string under, const exported_cell& c, std::string_view cell_class);
  [[nodiscard]] bool withdraw(std::string_view name);
  [[nodiscard]] result<remote_cell> look_up_here(const look_up& question) const;
  void offer(std::string type, std::string_view cell_class, std::string argument_types, remote_starter start);
  [[nodiscard]] result<remote_cell> start_here(const start_cell& request);
  [[nodiscard]] result<ref<node_desk>> desk_of(std::string_view peer);
  [[nodiscard]] result<std::vector<std::byte>> write_arguments(const std::function<void(wire_writer&)>& write);
  [[nodiscard]] std::vector<peer_info> peers() const;
  [[nodiscard]] bool connected(std::string_view peer) const;
  [[nodiscard]] node_stats stats() const;
  /// Takes all handles away and tells whoever waits; then end_desk(), the last things before it goes.
  void close() noexcept;
  /// Returns once the desk is in no handler any more.
  void end_desk() noexcept;

  /// The answer to a question of a peer; `answered` points to a result<R> of what `ops` know.
  void send_answer(peer_state& p, cell_number asker, const remote_ops& ops, const void* answered) noexcept;

  [[nodiscard]] const node_options& options() const noexcept { return options_; }
  [[nodiscard]] remote_gate& gate() noexcept { return gate_; }

private:
  struct published {
    exported_cell cell;
    std::string cell_class;
  };
  struct offered {
    std::string cell_class;
    std::string argument_types;
    remote_starter start;
  };

  // node_core.cpp
  [[nodiscard]] peer_state* find_peer(const peer_id& id) const;
  [[nodiscard]] peer_state* newest_peer(std::uint64_t node) const;
  /// As find_peer; one that is not known is from now on. Null if there are too many. `met`: it is there itself; else a handle names it.
  [[nodiscard]] peer_state* know_peer(const peer_id& id, bool met);
  [[nodiscard]] bool intern(peer_state& p, cell_number there, address& at);
  [[nodiscard]] bool intern_locked(peer_state& p, cell_number there, address& at, std::vector<address>& ended);
  void sweep_stubs(peer_state& p, bool met, std::vector<address>& ended);
  void retire(peer_state& p, link_loss why) noexcept;
  void lose_link(peer_state& p, const exit_reason& why) noexcept;
  void greet(peer_state& p, std::span<const std::byte> hello);

  // node_send.cpp
  [[nodiscard]] send_result forward_signal(peer_state& p, const stub& to, signal* s);
  [[nodiscard]] send_result forward_question(peer_state& p, frame_header& h, std::span<const std::byte> payload,
                                             signal* s);
  [[nodiscard]] frame_fate send(peer_state& p, frame_header& h, std::span<const std::byte> payload) noexcept;
  [[nodiscard]] send_result count(send_result r) noexcept {
    node_counters::add(counters_.by_result[static_cast<std::size_t>(r)]);
    return r;
  }
  void refuse_question(peer_state& p, cell_number asker, const error& why) noexcept;
  [[nodiscard]] std::uint32_t ttl_us() const noexcept;

  // node_receive.cpp
  void receive_signal(peer_state& p, const frame_header& h, std::span<const std::byte> payload);
  void receive_answer(peer_state& p, const frame_header& h, std::span<const std::byte> payload);
  /// Why it was not delivered, and null; or the signal.
  struct arrival {
    signal* made = nullptr;
    exported_cell to;
    std::atomic<std::uint64_t>* lost = nullptr;
    errc code = errc::dead;
  };
  [[nodiscard]] arrival make_arrival(peer_state& p, const frame_header& h, std::span<const std::byte> payload);

  // node_bonds.cpp
  [[nodiscard]] send_result forward_bond(peer_state& p, const stub& to, signal* s, const bond_news& news);
  [[nodiscard]] bool note_outgoing(peer_state& p, bond_news& news, std::uint64_t there, cell_number& from);
  void forget_outgoing(peer_state& p, const bond_news& news, std::uint64_t there) noexcept;
  [[nodiscard]] bool send_notice(peer_state& p, const bond_news& news, cell_number from, cell_number to) noexcept;
  void flush_unsent(peer_state& p) noexcept;
  void receive_bond(peer_state& p, const frame_header& h, std::span<const std::byte> payload);
  void refuse_bond(peer_state& p, const frame_header& h, const bond_news& news, const exit_reason& why) noexcept;
  enum class noted : std::uint8_t { to_deliver, no_concern, no_room };
  [[nodiscard]] noted note_incoming(peer_state& p, const frame_header& h, bond_news& news);

  runtime& host_;
  const node_options options_;
  const peer_id self_;
  remote_gate& gate_;
  std::unique_ptr<synapse> synapse_;  // outlives the gate's last pass
  std::atomic<transport*> carrier_{nullptr};
  std::shared_ptr<node_services> services_;  // set before the first link; null where another node has them
  export_table exports_;
  node_counters counters_;
  std::atomic<std::size_t> stubs_unmet_{0};  // of peers that were never met; each changed under its peer's mutex

  mutable std::shared_mutex peers_mutex_;
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::unique_ptr<peer_state>> peers_;  // peers_mutex_; only grows

  mutable std::mutex names_mutex_;
  std::map<std::string, published, std::less<>> published_;  // names_mutex_
  std::map<std::string, offered, std::less<>> offered_;      // names_mutex_
  ref<node_desk> desk_;
  bool closed_ = false;
};

/// The library's way from a node to its inside.
struct node_access {
  static node_core& core(node& n) noexcept { return *n.core_; }
};

/// One of each thread's, never used within another use: nothing that they write or read calls cells.
[[nodiscard]] payload_writer& thread_writer() noexcept;
[[nodiscard]] payload_reader& thread_reader() noexcept;

[[nodiscard]] exit_reason reason_of(link_loss why);

/// Whose frame this thread is reading; null if none.
extern thread_local const peer_state* speaking;
class while_speaking {
public:
  explicit while_speaking(const peer_state* of) noexcept : before_(std::exchange(speaking, of)) {}
  ~while_speaking() { speaking = before_; }
  while_speaking(const while_speaking&) = delete;
  while_speaking& operator=(const while_speaking&) = delete;

private:
  const peer_state* before_;
};

}  // namespace karyon::detail
