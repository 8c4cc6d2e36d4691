// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>
#include <zmq.hpp>

#include <karyon/nerve/synapse_options.hpp>

#include "core/rate_limit.hpp"
#include "nerve/link_wire.hpp"
#include "nerve/security.hpp"
#include "nerve/synapse.hpp"
#include "nerve/synapse_door.hpp"
#include "nerve/synapse_link.hpp"
#include "nerve/zap.hpp"

namespace karyon::detail {

/// The thread behind a synapse, and what it owns. Its functions lie in seven files: synapse_setup.cpp what other threads call;
/// synapse_reactor.cpp the loop, the timers and what goes out; synapse_receive.cpp what comes in; synapse_call.cpp the connections that
/// lead out; synapse_greeting.cpp how links begin and end; synapse_lanes.cpp what goes and comes by shared memory, and what
/// senders do themselves; synapse_streams.cpp the links' own connections, which come in by synapse_door.hpp.
class reactor {
public:
  reactor(const synapse_options& options, const peer_id& self);
  ~reactor();
  reactor(const reactor&) = delete;
  reactor& operator=(const reactor&) = delete;

  // synapse's, on any thread: synapse_setup.cpp.
  [[nodiscard]] result<void> prepare();  // once, first
  [[nodiscard]] result<void> start(transport_sink& sink, std::vector<std::byte> hello);
  [[nodiscard]] frame_fate send(const peer_id& peer, const frame_header& header,
                                std::span<const std::byte> payload) noexcept;
  [[nodiscard]] result<void> connect(const synapse_peer& peer, bool passing);
  [[nodiscard]] std::optional<curve_key> public_key() const noexcept;
  [[nodiscard]] bool allows(const curve_key& key, std::uint64_t node) const;
  [[nodiscard]] result<void> reload_allowed();
  void close() noexcept;
  [[nodiscard]] std::vector<std::string> endpoints() const { return bound_; }
  [[nodiscard]] synapse_stats stats() const;

private:
  [[nodiscard]] result<void> check_options() const;
  [[nodiscard]] result<void> check_endpoint(const std::string& endpoint, bool listening) const;
  [[nodiscard]] result<std::optional<curve_key>> check_peer(const synapse_peer& peer) const;
  [[nodiscard]] result<void> read_keys();
  [[nodiscard]] result<void> bind_all();
  void command(std::function<void()> what);
  void add_target(const std::string& endpoint, const std::optional<curve_key>& key, bool passing);

  /// In epoll, a stream's name is its descriptor with this bit. Cookies are below half of it (the constructor).
  static constexpr std::uint64_t stream_event = std::uint64_t{1} << 63U;
  [[nodiscard]] static constexpr std::uint64_t stream_event_of(int fd) noexcept {
    return stream_event | static_cast<std::uint64_t>(fd);
  }
  /// How long each step on the way to a stream may take.
  [[nodiscard]] static std::uint64_t stream_step_ns(const synapse_options& options) noexcept {
    return 2 * static_cast<std::uint64_t>(std::chrono::nanoseconds(options.handshake).count());
  }
  /// Before each message in a lane or stream: its length.
  static constexpr std::size_t lane_length_bytes = 4;
  /// What a sender passes on by itself is no longer.
  static constexpr std::size_t direct_payload_bytes_most = 1024;
  /// Broken rules after which a connection is read no more.
  static constexpr std::uint32_t faults_max = 16;

  /// A connection that leads in, by the number that the ROUTER gave it.
  struct route {
    link* whose = nullptr;
    bool had_link = false;
    std::uint32_t faults = 0;
    std::uint64_t last_heard_ns = 0;
    std::uint64_t told_gone_ns = 0;
  };
  /// One message while its frames are looked at.
  struct arrival {
    std::uint32_t number;
    route* from;
    std::uint64_t now;
    zmq::message_t* message;                            // null: it came by a lane or a stream
    std::optional<std::uint64_t> stamp = std::nullopt;  // of the pulse before
    lane_offer lane = {};                               // offered in the same message
    std::uint32_t bell = 0;                             // with it
    bool by_stream = false;
  };

  // synapse_reactor.cpp
  void run() noexcept;
  void loop();
  bool look_at_events(int timeout_ms);
  bool drain_all();
  bool drain(link& l);
  std::uint64_t take_frames(link& l, std::uint64_t now, bool& stamped);
  void drop_ring(link& l);
  void append_frame(link& l, const outlet::record& r);
  [[nodiscard]] bool pass(const std::vector<std::byte>& message, call& through);
  void send_pulse(link& l, std::uint64_t now);
  [[nodiscard]] static link_pulse make_pulse(const link& l, std::uint64_t now) noexcept;
  static void note_told(link& l, std::uint64_t now) noexcept;
  [[nodiscard]] link_loss loss_now(const link& l, std::uint64_t now) const noexcept;
  void lose_way(link& l);
  void end_lost();
  void tick(std::uint64_t now);
  void tick_link(link& l, std::uint64_t now);
  void tick_calls(std::uint64_t now);
  void forget_routes(std::uint64_t now);
  bool may_sleep();
  void wake() noexcept;
  void run_commands();
  void publish(bool certainly);
  [[nodiscard]] std::uint64_t heartbeat_ns() const noexcept;
  [[nodiscard]] std::uint64_t silence_ns() const noexcept;
  void set_common(zmq::socket_t& socket) const;
  [[nodiscard]] std::int64_t message_bytes_max() const noexcept;
  [[nodiscard]] int messages_waiting_max() const noexcept;
  bool watch(int fd, std::uint64_t event, std::uint32_t events);
  bool watch_call(call& c);
  void unwatch_call(call& c);
  [[nodiscard]] bool open_descriptors();

  // synapse_receive.cpp
  bool receive_some();
  bool receive_one();
  void read_message(std::uint32_t number, zmq::message_t& message);
  void read_frames(arrival& a, std::span<const std::byte> rest);
  void return_credits();
  bool read_frame(arrival& a, const frame_header& header, std::span<const std::byte> payload);
  bool read_word(arrival& a, const frame_header& header, std::span<const std::byte> payload);
  bool read_pulse_of(arrival& a, const frame_header& header, std::span<const std::byte> payload);
  bool deliver(arrival& a, link& l, const frame_header& header, std::span<const std::byte> payload);
  void fault(arrival& a);
  void tell_gone(arrival& a);
  void say_gone(std::uint32_t number);
  void answer(std::uint32_t number, const std::vector<std::byte>& message);
  void return_credit(link& l, std::uint64_t now);

  // synapse_lanes.cpp
  [[nodiscard]] bool may_have_lanes(const link& l) const;
  void offer_lane(link& l);
  void open_lane(link& l);
  void close_lanes(link& l) noexcept;
  bool hear_lanes();
  bool hear_lane(link& l);
  void hear_rest(link& l);
  bool hear_message(link& l);
  [[nodiscard]] bool send_left(link& l);
  [[nodiscard]] bool pass_by_lane(link& l, std::uint64_t now);
  [[nodiscard]] bool lanes_may_sleep();
  void wake_lanes() noexcept;
  [[nodiscard]] bool send_at_once(link& l) noexcept;
  bool drain_by_lane(link& l);
  struct sum_sent {
    std::uint64_t frames;
    std::uint64_t slots;
  };
  sum_sent count_direct(link& l) noexcept;
  [[nodiscard]] std::unique_lock<std::timed_mutex> lock_sending(link& l);
  void keep_heartbeats() noexcept;
  void end_direct(link& l) noexcept;

  // synapse_streams.cpp
  [[nodiscard]] bool may_have_streams(const link& l) const;
  void tick_stream(link& l, std::uint64_t now);
  void ask_for_stream(link& l, std::uint64_t now);
  void offer_stream(link& l, std::uint64_t now);
  void call_stream(arrival& a, link& l, std::span<const std::byte> offer);
  void look_at_stream(int fd);
  void look_at_stream_out(link& l);
  void begin_stream(link& l);
  void end_idle_stream(link& l);
  void stream_ended(link& l, std::uint64_t now) noexcept;
  void drop_call(link& l);
  void hear_guest(stream_door::guest g);
  bool hear_stream_word(arrival& a, const frame_header& header, std::span<const std::byte> payload);
  bool hear_stream(link& l, std::uint64_t now);
  bool read_stream(link& l);
  void hear_stream_rest(link& l);
  void tick_door(std::uint64_t now);
  void look_at_guests();
  void close_streams(link& l) noexcept;
  [[nodiscard]] bool say_bye_by_stream(link& l);

  // synapse_call.cpp
  bool begin_call(target* from, link* whose, const std::string& endpoint, const std::optional<curve_key>& key);
  [[nodiscard]] std::unique_ptr<call> make_call(const std::string& endpoint, const std::optional<curve_key>& key);
  void look_at_call(std::uint64_t cookie);
  void connected(call& c, std::uint64_t now);
  void hear_on_call(std::uint64_t cookie, std::uint64_t now);
  void identified(call& c, const peer_id& who, std::uint64_t now);
  void end_call(call& c, bool failed);
  void call_again(target& t, std::uint64_t pause_ns);

  // synapse_greeting.cpp
  void greet(link& l, std::uint64_t now);
  void hear_greeting(arrival& a, const link_greeting& g);
  [[nodiscard]] link* link_of(arrival& a, const link_greeting& g);
  void keep_out(peer_lives& rivals, const peer_id& who, const std::string& at, const std::string& other_at,
                std::uint64_t patience_ns);
  void begin_greeting(link& l, arrival& a, const link_greeting& g);
  [[nodiscard]] bool call_back(link& l, arrival& a, const link_greeting& g);
  void maybe_up(link& l, std::uint64_t now);
  void take_down(link& l, link_loss why, bool keep_way);
  void refuse(greeting_refusal why) { ++count_.greetings_refused[static_cast<std::size_t>(why)]; }
  [[nodiscard]] std::string endpoint_for(endpoint_kind kind) const;
  void end_disallowed();
  void say_good_bye() noexcept;

  const synapse_options options_;
  const peer_id self_;
  transport_sink* sink_ = nullptr;
  std::vector<std::byte> hello_;
  std::optional<curve_pair> keys_;
  mutable std::mutex allowed_mutex_;
  allow_list allowed_;  // the thread's; written, and read by others, with allowed_mutex_
  std::vector<std::string> bound_;

  link_table links_;
  peer_lives rivals_;       // of this node's own name
  bool ways_lost_ = false;  // there are links of which way_lost is true
  std::atomic<bool> closing_{false};
  bool started_ = false;  // thread_mutex_
  std::array<std::atomic<std::uint64_t>, 7> refused_{};

  // Dekker: a sender commits, then looks at this; the reactor sets it, then looks at the rings. Sequentially consistent.
  alignas(64) std::atomic<bool> asleep_{false};
  int wake_fd_ = -1;
  int bell_fds_[2] = {-1, -1};  // a pipe: peers of this machine ring in the second one
  int epoll_fd_ = -1;

  std::mutex commands_mutex_;  // commands_
  std::vector<std::function<void()>> commands_;
  mutable std::mutex published_mutex_;  // published_
  synapse_stats published_;

  // The thread's own.
  zmq::context_t context_;
  std::unique_ptr<zap_handler> zap_;
  zmq::socket_t router_;
  bool router_ready_ = true;
  std::vector<std::unique_ptr<target>> targets_;
  std::vector<std::unique_ptr<call>> calls_;  // that belong to no link yet
  std::unordered_map<std::uint64_t, call*> calls_by_cookie_;
  std::unordered_map<std::uint32_t, route> routes_;
  std::vector<std::byte> outgoing_;
  std::vector<std::byte> from_lane_;
  std::vector<link*> to_acknowledge_;
  std::vector<std::byte> beat_;
  stream_door door_;                        // open as long as a stream is offered
  std::unordered_map<int, link*> streams_;  // by descriptor
  bool polled_ = false;                     // a stream was looked at in this turn, without being told of
  std::uint64_t loops_ = 0;
  std::uint64_t cookies_;
  std::uint64_t epochs_ = 0;
  std::uint64_t last_loop_ns_ = 0;
  std::uint64_t next_tick_ns_ = 0;
  std::uint64_t next_sweep_ns_ = 0;
  std::uint64_t busy_until_ns_ = 0;
  synapse_stats count_;
  report_budget complaints_{1, 5};
  std::mutex thread_mutex_;  // thread_, for close() from several threads
  std::thread thread_;
};

}  // namespace karyon::detail
