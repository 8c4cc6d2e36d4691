#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <karyon/cell/runtime.hpp>
#include <karyon/nerve/signal.hpp>
#include <karyon/nerve/synapse_options.hpp>
#include <karyon/supervise/supervisor.hpp>

namespace karyon {

class node;

/// How a node is known, and what it may use.
struct node_options {
  /// Unique among the nodes that meet; what peers call it. Not empty.
  std::string name{};
  /// Where it listens, whom it calls, and whom it lets in. By default nothing listens and nobody is called.
  synapse_options synapse{};
  /// The largest frame, header not included (and not above synapse_options::frame_bytes_max); what is larger is refused (`too_large`). Both
  /// are 520 at least, which groups and names between nodes need: invalid_argument otherwise.
  std::size_t frame_bytes_max = std::size_t{1} << 20U;
  /// How long a signal may take to its node before it is dropped and counted (`expired`). 0: without limit.
  std::chrono::microseconds time_to_live{0};
  /// How many cells of this node may be known to others at a time, and how many of theirs to it, for each peer.
  std::size_t cells_max = std::size_t{1} << 20U;
  /// How many questions may wait for an answer from one peer.
  std::size_t questions_max = std::size_t{1} << 16U;
};

/// What a node has done so far, in numbers that only grow. Signals and questions: `sent` = `accepted` + all refusals at the send; what
/// arrives: `received` = `delivered` + all that follow it. Between two nodes that are at rest and whose link has held, what one
/// accepted the other has received; what a lost link takes with it is counted by the transport.
struct node_stats {
  std::uint64_t sent = 0;  ///< signals and questions that cells and threads sent to cells of other nodes
  std::uint64_t accepted = 0;
  std::uint64_t no_route = 0;
  std::uint64_t peer_down = 0;
  std::uint64_t no_credit = 0;
  std::uint64_t expired = 0;
  std::uint64_t too_large = 0;
  std::uint64_t closed = 0;
  std::uint64_t not_declared = 0;

  std::uint64_t received = 0;  ///< signals and questions from other nodes
  std::uint64_t delivered = 0;
  std::uint64_t dead_here = 0;          ///< the receiver had ended, or was between two incarnations
  std::uint64_t full_here = 0;          ///< its mailbox was full, or dropped what came
  std::uint64_t no_handler_here = 0;    ///< its class does not accept the type, or can not answer it
  std::uint64_t not_declared_here = 0;  ///< a type that is not declared here, or not the same way
  std::uint64_t unreadable_here = 0;    ///< what came is no value of its type, or beyond a limit

  std::uint64_t answers_sent = 0;
  std::uint64_t answers_lost = 0;    ///< the asker's node could not be told: it was gone, or had no room
  std::uint64_t answers_late = 0;    ///< answers to questions that nobody waited for any more
  std::uint64_t answers_bad = 0;     ///< answers that could not be read; their askers were told so
  std::uint64_t questions_lost = 0;  ///< questions that a lost link left without an answer; their askers were told so
  std::uint64_t notices_sent = 0;    ///< about links, monitors and exits
  std::uint64_t notices_lost = 0;    ///< of them, those for which there was no room; see docs/internals/remote-cells.md
  std::uint64_t bad_frames = 0;      ///< frames of other kinds that made no sense

  // What groups and registries tell each other. What is refused or dropped is asked for again, within a second or two.
  std::uint64_t service_sent = 0;
  std::uint64_t service_refused = 0;
  std::uint64_t service_received = 0;
  std::uint64_t service_dropped = 0;   ///< beyond what waits at most, of a link that is over, or not well-formed
  std::uint64_t service_failures = 0;  ///< calls that threw (no memory)

  // Of these frames, those with a signal that was sent to a group, or to one that was found by a group or a name.
  std::uint64_t scope_sent = 0;       ///< one a node, however many members it has
  std::uint64_t scope_refused = 0;    ///< at the send: not connected, no room, too large, or not declared
  std::uint64_t scope_received = 0;   ///< from other nodes
  std::uint64_t scope_lost = 0;       ///< of them: beyond what waits at most, too late, not declared here or unreadable
  std::uint64_t scope_delivered = 0;  ///< to cells here, in their mailboxes
  std::uint64_t scope_undelivered = 0;  ///< to cells here that have ended, are full, or do not accept the type
};

/// Another node, as this one knows it.
struct peer_info {
  std::string name;
  std::uint64_t incarnation = 0;
  bool connected = false;
  /// Signals that are declared here and there, but not the same way; a sentence each.
  std::vector<std::string> differences;
};

// ---- what a node itself can be asked -----------------------------------------------------------------------------------

/// Asks a node for the cell that it has published under a name.
struct look_up {
  std::string name;
  std::string cell_class;
};
KARYON_SIGNAL(look_up, name, cell_class)

/// Asks a node to start a cell of a type that it offers.
struct start_cell {
  std::string type;
  std::string cell_class;
  std::string argument_types;
  std::vector<std::byte> arguments;
};
KARYON_SIGNAL(start_cell, type, cell_class, argument_types, arguments)

namespace detail {
struct node_access;
class node_core;

/// A constructor's arguments as they travel.
template <class... Args>
[[nodiscard]] std::string argument_types_of() {
  std::string text;
  describe<std::tuple<Args...>>(text);
  return text;
}

/// Starts a cell with arguments that came in a frame.
using remote_starter = std::function<result<remote_cell>(wire_reader& arguments)>;
}  // namespace detail

/// The cell that stands for a node: what `node::desk` gives a handle to, for cells that look up or start without blocking. Answers
/// `not_found`, or `invalid_argument` where a cell of that name is of another class, or a type is made from other arguments. Other nodes can
/// monitor it; links with it are refused, and requests to end are dropped.
class KARYON_API node_desk : public cell {
public:
  using accepts = signals<look_up, start_cell>;
  result<remote_cell> on(const look_up& question);
  /// Answers what the constructor threw as `start_failed`.
  result<remote_cell> on(const start_cell& request);

  /// Only a node makes one.
  explicit node_desk(detail::node_core& core) noexcept : core_(&core) {}

private:
  detail::node_core* core_;
};

/// A runtime's place among others: through it handles to cells of other processes work like those to its own.
///
/// Once a handle has crossed, in an answer of find() or as a field of a signal, everything that takes a handle takes it: send, ask, link,
/// monitor, exit, timers, broadcast. What is sent is written into a frame at once, and goes or is refused at once: nothing is kept
/// for a node that is not there. `accepted` says that the other node has room for the signal; that its cell's mailbox takes it, or
/// that the cell lives, only an answer tells. Order: as between two cells of one process, for as long as the link holds.
///
/// A handle to a cell of a node that has ended says `dead` once another node of that name has been seen, `peer_down` before. The
/// cells linked to those of a lost node get an exit signal `node_down`, whose `type` says how it was lost: "died", "unreachable",
/// "refused", or "closed" (on purpose; "died" may be what is seen first where the node has ended); monitors likewise. Questions are
/// answered at once with `peer_down`. Handles work again if the link comes back and the node is the same;
/// links and monitors, once lost, do not.
///
/// The process groups and registries of its runtime (karyon/discover) reach those of other nodes through it: a scope's members and names
/// there are seen here while the link holds. Of several nodes of one runtime the first does that; one that is made after it has ended
/// goes on with it. A thread of its own merges what comes.
///
/// All member functions may be called from any thread; those that block not from cells (`would_block`). Must end before its runtime.
class KARYON_API node {
public:
  /// Listens, and begins to call its peers. Throws runtime_error for options that can not work, and with what the system said where it
  /// can not listen.
  node(runtime& host, node_options options);
  /// Handles to cells of other nodes say `dead` from now on (`closed` while it ends); what is linked to them, or waits for their answers, is told. Not from a cell.
  ~node();
  node(const node&) = delete;
  node& operator=(const node&) = delete;

  [[nodiscard]] const std::string& name() const noexcept;
  /// What tells this life of the node from earlier ones: microseconds since 1970 when it began, larger than any earlier one of this process.
  [[nodiscard]] std::uint64_t incarnation() const noexcept;

  /// Other nodes can find this cell by the name; the newest counts. A child is found through its restarts.
  template <class C>
  void publish(std::string under, const child<C>& c) {
    publish_cell(std::move(under), detail::handle_access::of(c), true, type_name<C>());
  }
  template <class C>
  void publish(std::string under, const ref<C>& c) {
    publish_cell(std::move(under), detail::handle_access::of(c), false, type_name<C>());
  }
  /// False if nothing is published under it.
  bool withdraw(std::string_view name);

  /// The cell that node `peer` has published under this name. Errors: no_route (no such node is known), peer_down, not_found,
  /// invalid_argument (it is of another class), timeout, would_block. If it was published as a ref, the handle names that incarnation.
  template <class C>
  [[nodiscard]] result<child<C>> find(std::string_view peer, std::string name, std::chrono::nanoseconds timeout) {
    return ask_desk(peer, look_up{std::move(name), std::string(type_name<C>())}, timeout).map([](const remote_cell& c) {
      return c.as<C>();
    });
  }

  /// Other nodes may start cells of class C under `keeper`, constructed from arguments of exactly these types (which must be able to cross, as
  /// fields of signals do).
  template <class C, class... Args>
  void offer(std::string type, supervisor keeper) {
    static_assert((detail::can_cross<Args>() && ...),
                  "karyon: these constructor arguments can not cross to another process");
    offer_type(std::move(type), type_name<C>(), detail::argument_types_of<Args...>(),
               [keeper](detail::wire_reader& from) mutable -> result<remote_cell> {
                 std::tuple<Args...> arguments{};
                 if (!detail::wire_read(from, arguments) || !from.complete())
                   return fail(errc::invalid_argument, "the arguments can not be read");
                 return std::apply(
                            [&](Args&... args) { return keeper.try_start<C>(child_options{}, std::move(args)...); },
                            arguments)
                     .map([](const started<C>& s) {
                       return detail::remote_cell_access::make(detail::handle_access::of(s.child), true);
                     });
               });
  }
  /// Starts a cell of a type that node `peer` offers, there, under the supervisor that it names, and returns when it accepts signals.
  /// Arguments are of exactly the types that it was offered with. Errors as find, start_failed, and those of supervisor::try_start.
  template <class C, class... Args>
  [[nodiscard]] result<child<C>> start(std::string_view peer, std::string type, std::chrono::nanoseconds timeout,
                                       const Args&... args) {
    return write_arguments([&](detail::wire_writer& to) { (detail::wire_write(to, args), ...); })
        .and_then([&](std::vector<std::byte>&& bytes) {
          return ask_desk(peer,
                          start_cell{std::move(type), std::string(type_name<C>()),
                                     detail::argument_types_of<std::decay_t<Args>...>(), std::move(bytes)},
                          timeout);
        })
        .map([](const remote_cell& c) { return c.as<C>(); });
  }

  /// Calls one more node, now and again whenever the link to it is lost. Errors: those of the endpoint and the key; closed where this
  /// node was made without anything to listen on.
  [[nodiscard]] result<void> connect(const synapse_peer& peer);
  /// What it listens on; with the port that was taken in place of `*`.
  [[nodiscard]] std::vector<std::string> endpoints() const;
  /// The cell that stands for a node that is known; an empty handle if it is not.
  [[nodiscard]] ref<node_desk> desk(std::string_view peer) const;
  [[nodiscard]] std::vector<peer_info> peers() const;
  /// Waits until node `peer` is connected; false after the timeout. Not from a cell (false at once if it is not).
  [[nodiscard]] bool wait_connected(std::string_view peer, std::chrono::nanoseconds timeout) const;
  [[nodiscard]] node_stats stats() const;

private:
  friend struct detail::node_access;
  void publish_cell(std::string under, const detail::address& at, bool role, std::string_view cell_class);
  void offer_type(std::string type, std::string_view cell_class, std::string argument_types,
                  detail::remote_starter start);
  [[nodiscard]] result<std::vector<std::byte>> write_arguments(const std::function<void(detail::wire_writer&)>& write);
  template <class Question>
  [[nodiscard]] result<remote_cell> ask_desk(std::string_view peer, Question&& question,
                                             std::chrono::nanoseconds timeout) {
    result<ref<node_desk>> there = known_desk(peer);
    if (!there) return tl::unexpected<error>(std::move(there).error());
    return host_.ask(*there, std::forward<Question>(question), timeout);
  }
  [[nodiscard]] result<ref<node_desk>> known_desk(std::string_view peer) const;

  runtime& host_;
  std::shared_ptr<detail::node_core> core_;
};

}  // namespace karyon
