// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <karyon/cell/runtime.hpp>
#include <karyon/nerve/detail/hormone.hpp>
#include <karyon/nerve/storm.hpp>
#include <karyon/nerve/subject.hpp>

namespace karyon {

class compartment;
class gateway;
template <class T>
class hormone_level;

namespace detail {
class endocrine_core;
class endocrine_group;
class level_table;
}  // namespace detail

/// How to reach a NATS server; endocrine_options::server says which.
struct nats_options {
  /// Of the operator's kind (a file `.creds` of `nsc`: a user's token and seed), or empty; readable by this process's user alone, or, where
  /// it belongs to another user, by that one and its group. Read again with each connection.
  std::string credentials_file{};
  /// TLS: the authority that signed the server's certificate; with a certificate and key of one's own where the server asks for it.
  /// Any of them, or a server "tls://...", turns TLS on. The key is readable by whom credentials_file may be.
  std::string ca_file{};
  std::string certificate_file{};
  std::string key_file{};
  /// Lets a server beyond the loopback be used without TLS: whoever is on the way there can then read and forge everything.
  bool plaintext_beyond_loopback = false;
  /// Signals that may wait for the bus's thread; more are refused.
  std::size_t outgoing_max = 4096;
  /// What is older when the bus's thread comes to it, or when it arrives, is dropped and counted. Between machines their clocks must
  /// agree better than this.
  std::chrono::milliseconds time_to_live{1000};
  /// How long a write to the server may take before the connection counts as lost.
  std::chrono::milliseconds write_timeout{250};
  /// How often the server is asked for a sign of life; after two without an answer the connection counts as lost.
  std::chrono::milliseconds heartbeat{500};
  std::chrono::milliseconds reconnect_wait{100};
  /// How long the constructor waits for the first connection.
  std::chrono::milliseconds connect_timeout{2000};
  /// Signals, and bytes, that may wait here for one subscription before further ones are dropped and counted.
  int pending_signals_max = 65'536;
  int pending_bytes_max = 64 << 20;
};

/// Everything about a bus that can be chosen.
struct endocrine_options {
  /// Empty: the embedded bus, within this process. "nats://host:port" or "tls://host:port", several with commas: that server.
  /// "overlay://name": no server, but the nodes (karyon::node) whose bus has that compartment's name, over their own links; the
  /// runtime's node must be there first, and nats_options say how many signals may wait and for how long. A process may have several,
  /// each in a compartment of its own (between them: karyon/nerve/gateway.hpp).
  std::string server{};
  /// What others call this process where it is the cause of a storm.
  std::string process_name{};
  storm_limits storm{};
  /// Published signals that may be on their way to cells of this process at the same time; more are refused.
  std::uint32_t in_flight_max = 64;
  std::size_t subscriptions_max = 8'000'000;
  /// Subjects whose limits are kept apart; those beyond share one.
  std::size_t subjects_max = 65'536;
  std::size_t payload_bytes_max = 256 << 10;
  /// Told of storms, after the log, on the thread that publishes (a worker, perhaps): must not block. What it throws is swallowed.
  std::function<void(const storm_report&)> on_storm{};
  nats_options nats{};
  /// Of a bus "overlay://name": a server "nats://host:port" or "tls://host:port", several with commas, at which the nodes of the
  /// compartment find each other, so that they need no contact among synapse_options::peers. Empty: none is asked, as by default.
  ///
  /// Each node announces there, to the subject "karyon.nodes.name", where it listens: not "tcp://0.0.0.0:7000", which
  /// nobody can call, but also "ipc://" and the loopback, which those on its machine alone can. It does so every two to four seconds,
  /// each second while it has no neighbours, and seldom among many nodes. A node with keys (synapse_options::key_file) announces its public
  /// key as well.
  /// It calls whom it hears of while it lacks neighbours (seldom when it does not), and then joins through them. A node with keys calls
  /// those alone whose announced key is on its own list (synapse_options::allow_file) for that node, and by that key; a node without keys,
  /// those alone that have none; others are counted (announcements_not_allowed). `nats` says how the server is reached (credentials, TLS,
  /// time limits); signals do not go through it. When it stops the overlay goes on, and new nodes are found again when it is back.
  /// Whoever may publish there can make up nodes: these are called, a few at a time, until they are found not to be there; with keys, where
  /// they are said to listen with a key of the list, which leads to no link unless that key's owner is there.
  std::string discovery_server{};
};

/// What became of a publish, at once. Everything but `accepted` means that nobody hears of it, and is counted by cause.
enum class publish_result : std::uint8_t {
  accepted,       ///< On its way to those who had subscribed; endocrine_metrics counts what is lost on it.
  bad_subject,    ///< No valid subject (is_subject).
  not_permitted,  ///< Outside of what the compartment may publish.
  storm_sender,   ///< The sender publishes faster than storm_limits::sender.
  storm_subject,  ///< The subject gets more than storm_limits::subject or deliveries.
  too_many_hops,  ///< It is an echo of an echo of ... (storm_limits::hops).
  full,  ///< Too many signals are on their way, or another thread has kept a lock of the bus for too long: stopped
         ///< by the system, or among very many patterns; try again later, or not at all.
  disconnected,  ///< There is no connection to the server now by which to send. Nothing is kept for when there is.
  too_large,     ///< More bytes than payload_bytes_max, or than a frame of the node takes by whose links a bus goes.
  closed,        ///< The bus, or its runtime, is ending.
};
[[nodiscard]] KARYON_API const char* to_string(publish_result r) noexcept;
[[nodiscard]] constexpr bool ok(publish_result r) noexcept { return r == publish_result::accepted; }

/// Sums over a bus's life. Once all is quiet:
///
///     published = accepted + the sum of refused
///     accepted  = fanned_out                                           (embedded)
///     accepted  = sent + lost_expired + lost_disconnected              (NATS)
///     received  = fanned_out + the sum of not_taken                    (NATS; from all processes, this one included)
///     reached   = delivered + the sum of lost                          (cells that fanned_out signals were meant for)
struct endocrine_metrics {
  std::uint64_t published = 0;  ///< calls of publish
  std::uint64_t accepted = 0;
  /// By publish_result; the place of `accepted` stays 0.
  std::uint64_t refused[10] = {};
  std::uint64_t fanned_out =
      0;  ///< signals handed to the workers, all of whose receivers have been gone through by now

  std::uint64_t reached = 0;          ///< receivers gone through
  std::uint64_t delivered = 0;        ///< of them, accepted by the cell's mailbox
  std::uint64_t lost_ended = 0;       ///< the cell had ended; its subscription has ended with it
  std::uint64_t lost_restarting = 0;  ///< between two incarnations
  std::uint64_t lost_full = 0;        ///< its bounded mailbox was full
  std::uint64_t lost_type = 0;        ///< it subscribed to the subject with another type
  std::uint64_t lost_memory = 0;      ///< no memory for the signal

  std::uint64_t sent = 0;               ///< given to the server's connection
  std::uint64_t lost_expired = 0;       ///< waited for the bus's thread for longer than time_to_live
  std::uint64_t lost_disconnected = 0;  ///< the connection was lost before it was sent
  std::uint64_t received = 0;           ///< came from the server
  std::uint64_t not_taken_malformed = 0;
  std::uint64_t not_taken_type = 0;  ///< nobody here has subscribed with that type
  std::uint64_t not_taken_stale = 0;
  std::uint64_t not_taken_duplicate = 0;
  std::uint64_t not_taken_full = 0;   ///< in_flight_max
  std::uint64_t not_taken_storm = 0;  ///< storm_limits of this process
  std::uint64_t dropped_slow = 0;     ///< dropped before they were looked at: pending_signals_max, pending_bytes_max
  std::uint64_t disconnects = 0;      ///< connections to the server, or the discovery_server, that were lost

  std::uint64_t announced = 0;            ///< announcements of this node handed to the discovery_server's connection
  std::uint64_t announcements_heard = 0;  ///< of other nodes
  std::uint64_t announcements_malformed = 0;  ///< that made no sense; nothing is done with them
  /// Of those heard: with a key that is not on this node's list for that node, or with one where this node has none, or the other way
  /// round. Nobody is called for them.
  std::uint64_t announcements_not_allowed = 0;

  std::uint64_t subscriptions = 0;  ///< now; those of ended cells until this is noticed (endocrine::sweep)
  std::uint64_t patterns = 0;       ///< distinct ones among them; as many subscriptions at the server
  std::uint64_t storms = 0;         ///< told to on_storm
};

/// Names one subscription, to end it. Copies name the same one; it may be dropped, and the subscription goes on.
class subscription {
public:
  subscription() noexcept = default;

private:
  friend class endocrine;
  friend class detail::endocrine_core;
  std::shared_ptr<detail::endocrine_group> group_;
  std::uint32_t index_ = 0;
  std::uint32_t serial_ = 0;
  detail::address who_;
};

/// Broadcasts by subject: whoever publishes knows no receivers, whoever subscribes knows no senders.
///
/// Within one process that is the embedded bus; with a server in the options the same calls reach all processes at that server. A
/// published value is one immutable payload, whatever the number of receivers; each worker of the runtime is handed it once and
/// gives it to the subscribed cells that are at home there, some hundred at a time and between the turns of all other cells.
///
/// Threads: all members from any thread, also from cells, but for constructor and destructor. None blocks: a publish over NATS is
/// handed to the bus's own thread.
/// Order: what one cell or thread publishes to one subject reaches each subscriber in that order. Between subjects there is none.
/// A cell that has subscribed before a publish began gets it (NATS: if the server knows of the pattern then, so not while the
/// connection is lost by which this process hears).
/// Lifetime: end it before its runtime, or shut the runtime down before. Publishing to it must have ended before it does.
/// Nothing is kept for later: who is not subscribed, or not connected, at the time misses it. Every loss is counted.
class KARYON_API endocrine {
public:
  /// Throws runtime_error: invalid_argument (options, also a credentials_file that can not be read), refused (the server, or
  /// discovery_server, can not be reached within connect_timeout, does not let us in, or is beyond the loopback without TLS and
  /// nats_options::plaintext_beyond_loopback; others than its owner, or the group where that is another user, may read credentials_file
  /// or key_file), unsupported (built without NATS; by overlay without a node), already_present (a compartment that another bus of the
  /// runtime is in), closed.
  explicit endocrine(runtime& host, endocrine_options options = {});
  ~endocrine();
  endocrine(const endocrine&) = delete;
  endocrine& operator=(const endocrine&) = delete;

  /// Broadcasts a value. `sender` names the caller in storm reports where it is no cell.
  /// Cost: two allocations, and one hand-over for each worker with subscribers. Throws std::bad_alloc.
  template <class T>
  publish_result publish(std::string_view subject, T&& value, std::string_view sender = {}) {
    using signal_type = std::remove_cvref_t<T>;
    detail::check_published<signal_type>();
    return publish_value(subject, &detail::hormone_type_of<signal_type>,
                         std::make_shared<const signal_type>(std::forward<T>(value)), sender);
  }

  /// From now on `who` is sent each T that is published to a subject of the pattern. Ends with the cell; a child's goes on
  /// through restarts. A cell that subscribes twice, or to two patterns that a subject matches, gets it twice.
  /// Errors: invalid_argument (no valid pattern, an empty handle, a cell of another process), refused (subscriptions_max; those of
  /// ended cells are looked for then), closed. Throws std::bad_alloc.
  /// O(tokens of the pattern).
  template <class T, class Handle>
  result<subscription> subscribe(const Handle& who, std::string_view pattern) {
    using C = typename Handle::cell_type;
    detail::check_signal<C, T>();
    detail::check_published<T>();
    return add(&detail::hormone_receiver_of<C, T>, detail::handle_access::of(who), detail::names_role<Handle>, pattern);
  }
  /// Ends it; a signal that was published before may still come. No effect if it has ended, or is another bus's. Throws std::bad_alloc.
  void unsubscribe(const subscription& which);

  /// Forgets the subscriptions of cells that have ended, which otherwise happens when something is sent to them, or when their
  /// number has doubled. Returns at once; the workers do it.
  void sweep();
  /// Blocks until the server knows all that was subscribed to before. Embedded: at once. Errors: `timeout`, `would_block` (from a
  /// cell).
  result<void> await_subscriptions(std::chrono::nanoseconds timeout);
  /// Whether there are connections to the server now: one to send by, which is all that publish needs, and one to hear by. Embedded:
  /// true until it is closed.
  [[nodiscard]] bool connected() const noexcept;
  [[nodiscard]] endocrine_metrics metrics() const;

private:
  friend class compartment;
  friend class gateway;
  template <class T>
  friend class hormone_level;
  publish_result publish_value(std::string_view subject, const detail::hormone_type* type,
                               std::shared_ptr<const void> value, std::string_view sender);
  publish_result refuse(publish_result why) noexcept;
  result<subscription> add(const detail::hormone_receiver* how, const detail::address& who, bool role,
                           std::string_view pattern);
  std::shared_ptr<detail::level_table> watch(const detail::hormone_type* type, std::string_view pattern,
                                             std::size_t subjects_max);
  std::shared_ptr<detail::endocrine_core> core_;
};

}  // namespace karyon
