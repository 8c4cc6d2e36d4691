// SPDX-License-Identifier: Apache-2.0
#include <nats/nats.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <deque>
#include <exception>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/log.hpp"
#include "core/report_text.hpp"
#include "nerve/carrier.hpp"
#include "nerve/nats_connection.hpp"
#include "nerve/nats_ring.hpp"
#include "sched/parker.hpp"
#include "sched/wait.hpp"

namespace karyon::detail {

namespace {

/// Frames over a NATS server. One connection sends and another receives, so that neither waits for the other's buffers. What is
/// published goes through a bounded ring to the bus's own thread, the only one that a stopped server can keep waiting, for as long
/// as a write may take (nats_options::write_timeout).
class nats_bus final : public endocrine_carrier {
public:
  nats_bus(const endocrine_options& options, carrier_sink& sink)
      : options_(options),
        gate_(std::make_shared<nats_gate>()),
        ring_(options.nats.outgoing_max),
        out_life_(std::make_shared<nats_life>(gate_)),
        in_life_(std::make_shared<nats_life>(gate_)),
        out_(std::make_unique<nats_connection>(options_, nats_connection::purpose::sends, out_life_)),
        in_(std::make_shared<nats_connection>(options_, nats_connection::purpose::receives, in_life_)) {
    gate_->sink = &sink;
    thread_ = std::thread([this] { run(); });
  }
  ~nats_bus() override { close(); }

  fate send(std::string_view subject, std::vector<std::byte> frame) noexcept override {
    if (!is_up(*out_life_)) return fate::disconnected;
    try {
      if (!ring_.push({std::string(subject), std::move(frame), monotonic_ns()})) return fate::full;
    } catch (...) {
      return fate::full;
    }
    wake();
    return fate::accepted;
  }
  void listen(const std::string& pattern) override { command(pattern, true); }
  void end_listening(const std::string& pattern) override { command(pattern, false); }
  bool settle(std::uint64_t timeout_ns) override {
    const std::uint64_t deadline_ns = deadline_in(timeout_ns);
    std::uint64_t last = 0;
    {
      const std::lock_guard lock(commands_mutex_);
      last = commands_made_;
    }
    // Acquire pairs with obey's release: the flush comes after what those commands have written.
    const auto done = [&] { return commands_done_.load(std::memory_order_acquire) >= last; };
    if (!poll_until(done, deadline_ns)) return false;
    // Again and again: while the connection is being made anew each try fails at once.
    const auto confirmed = [&] {
      const std::uint64_t now_ns = monotonic_ns();
      const std::uint64_t left_ms = now_ns < deadline_ns ? (deadline_ns - now_ns) / 1'000'000 + 1 : 1;
      constexpr std::uint64_t longest_ms = 1'000'000;
      return natsConnection_FlushTimeout(receiving()->get(),
                                         static_cast<std::int64_t>(std::min(left_ms, longest_ms))) == NATS_OK;
    };
    return poll_until(confirmed, deadline_ns);
  }
  [[nodiscard]] bool connected() const noexcept override { return is_up(*out_life_) && is_up(*in_life_); }
  [[nodiscard]] bool can_send() const noexcept override { return is_up(*out_life_); }
  [[nodiscard]] carrier_counts counts() const noexcept override {
    carrier_counts c;
    c.sent = sent_.load(std::memory_order_relaxed);
    c.lost_expired = expired_.load(std::memory_order_relaxed);
    c.lost_disconnected = lost_.load(std::memory_order_relaxed);
    c.disconnects = gate_->disconnects.load(std::memory_order_relaxed);
    const std::lock_guard lock(subscriptions_mutex_);
    c.dropped_slow = dropped_before_;
    for (const auto& [pattern, s] : subscriptions_) c.dropped_slow += dropped_of(s);
    return c;
  }
  void close() noexcept override {
    if (!thread_.joinable()) return;
    stopping_.store(true, std::memory_order_seq_cst);
    wake();
    thread_.join();
    gate_->shut();
    std::map<std::string, natsSubscription*> ended;
    {
      const std::lock_guard lock(subscriptions_mutex_);
      for (const auto& [pattern, s] : subscriptions_) dropped_before_ += dropped_of(s);
      ended.swap(subscriptions_);
    }
    for (const auto& [pattern, s] : ended) natsSubscription_Destroy(s);
  }

private:
  struct outgoing {
    std::string subject;
    std::vector<std::byte> frame;
    std::uint64_t since_ns = 0;
  };
  struct order {
    std::string pattern;
    bool listen = false;
  };
  using gate_share = std::shared_ptr<nats_gate>;
  using purpose = nats_connection::purpose;

  [[nodiscard]] static bool is_up(const nats_life& l) noexcept {
    // Acquire pairs with the release of nats_connection's constructor: who sees up what is only being made anew sees `renewing`.
    return l.up.load(std::memory_order_acquire) && !l.renewing.load(std::memory_order_relaxed);
  }
  [[nodiscard]] std::shared_ptr<nats_connection> receiving() const {
    const std::lock_guard lock(in_mutex_);
    return in_;
  }

  static std::uint64_t dropped_of(natsSubscription* s) noexcept {
    std::int64_t n = 0;
    return s != nullptr && natsSubscription_GetDropped(s, &n) == NATS_OK && n > 0 ? static_cast<std::uint64_t>(n) : 0;
  }
  static void received(natsConnection*, natsSubscription*, natsMsg* m, void* closure) {
    nats_gate& gate = **static_cast<gate_share*>(closure);
    gate.pass([&] {
      const auto* const bytes = reinterpret_cast<const std::byte*>(natsMsg_GetData(m));
      const auto size = static_cast<std::size_t>(natsMsg_GetDataLength(m));
      gate.sink->arrived(natsMsg_GetSubject(m), {bytes, size});
    });
    natsMsg_Destroy(m);
  }
  static void completed(void* closure) { delete static_cast<gate_share*>(closure); }

  /// The fence pairs with that of run(): either it sees what was pushed, or this sees that it sleeps.
  void wake() noexcept {
    std::atomic_thread_fence(std::memory_order_seq_cst);
    parker_.wake();
  }
  void command(const std::string& pattern, bool on) {
    {
      const std::lock_guard lock(commands_mutex_);
      commands_.push_back({pattern, on});
      ++commands_made_;
    }
    wake();
  }
  [[nodiscard]] bool has_commands() noexcept {
    const std::lock_guard lock(commands_mutex_);
    return !commands_.empty();
  }

  void run() noexcept {
    constexpr std::uint64_t housekeeping_ns = 2'000'000'000;
    std::uint64_t next_tick_ns = deadline_in(housekeeping_ns);
    while (!stopping_.load(std::memory_order_seq_cst)) {
      obey();
      send_all();
      if (has_come()) take_over();
      if (monotonic_ns() >= next_tick_ns) {
        gate_->sink->tick();
        renew();
        next_tick_ns = deadline_in(housekeeping_ns);
      }
      parker_.prepare();
      std::atomic_thread_fence(std::memory_order_seq_cst);
      if (ring_.has_any() || has_commands() || has_come() || stopping_.load(std::memory_order_seq_cst)) {
        parker_.cancel();
      } else {
        parker_.sleep(next_tick_ns);
      }
    }
    outgoing o;
    while (ring_.pop(o)) lost_.fetch_add(1, std::memory_order_relaxed);
    if (maker_.joinable()) maker_.join();
    coming_ = {};
    nats_ReleaseThreadMemory();
  }
  void send_all() noexcept {
    const auto ttl_ns = static_cast<std::uint64_t>(options_.nats.time_to_live.count()) * 1'000'000;
    outgoing o;
    // A part at a time: subscriptions and housekeeping come to their turn however much is published.
    constexpr int at_once = 256;
    for (int i = 0; i < at_once && !stopping_.load(std::memory_order_relaxed) && ring_.pop(o); ++i) {
      if (monotonic_ns() - o.since_ns > ttl_ns) {
        expired_.fetch_add(1, std::memory_order_relaxed);
        continue;
      }
      gate_->sink->leaving(o.frame);
      const bool sent = is_up(*out_life_) && natsConnection_Publish(out_->get(), o.subject.c_str(), o.frame.data(),
                                                                    static_cast<int>(o.frame.size())) == NATS_OK;
      (sent ? sent_ : lost_).fetch_add(1, std::memory_order_relaxed);
    }
  }
  /// A server that has not let us in twice may do so later: it had not heard of us yet, or our credentials had expired and there are
  /// new ones in the file. As seldom as the housekeeping.
  void renew() noexcept {
    if (connected()) told_.clear();
    // Acquires here pair with the release of nats_connection::closed: the old one's last word on `up` comes before the new one's.
    if (out_life_->over.load(std::memory_order_acquire)) {
      out_life_->renewing.store(true, std::memory_order_relaxed);  // until it is there nothing is accepted for it
      try {
        out_ = std::make_unique<nats_connection>(options_, purpose::sends, out_life_);
      } catch (const std::exception& e) {  // it is tried again
        tell(e.what());
      }
      out_life_->renewing.store(false, std::memory_order_relaxed);
    }
    if (coming_.valid() || stopping_.load(std::memory_order_relaxed)) return;
    if (!in_life_->over.load(std::memory_order_acquire)) return;  // pairs with closed's release, as above
    try {
      begin_receiving();
    } catch (const std::exception& e) {
      tell(e.what());
    }
  }
  /// On a thread of its own, which may have to wait for the server: the bus's goes on sending meanwhile.
  void begin_receiving() {
    std::packaged_task<std::shared_ptr<nats_connection>()> make(
        [this] { return std::make_shared<nats_connection>(options_, purpose::receives, in_life_); });
    coming_ = make.get_future();
    in_life_->renewing.store(true, std::memory_order_relaxed);  // until take_over()
    try {
      maker_ = std::thread([this, task = std::move(make)]() mutable {
        task();
        wake();
        nats_ReleaseThreadMemory();
      });
    } catch (...) {  // or a promise that was broken would come, and be told of instead of the reason
      coming_ = {};
      in_life_->renewing.store(false, std::memory_order_relaxed);
      throw;
    }
  }
  [[nodiscard]] bool has_come() const {
    return coming_.valid() && coming_.wait_for(std::chrono::seconds{0}) == std::future_status::ready;
  }
  /// The new one hears of all that is wanted before it is there for others: whoever has a sign of life from it has that of these, too.
  void take_over() noexcept {
    if (maker_.joinable()) maker_.join();
    try {
      std::shared_ptr<nats_connection> made = coming_.get();
      listen_again(made->get());
      const std::lock_guard lock(in_mutex_);
      in_.swap(made);
    } catch (const std::exception& e) {
      tell(e.what());
    }
    in_life_->renewing.store(false, std::memory_order_relaxed);
  }
  /// Why there is no connection: each reason once, until both are there again. Two of them may come in turns.
  void tell(const char* why) noexcept try {
    constexpr std::size_t kept_most = 16;
    if (std::find(told_.begin(), told_.end(), why) != told_.end()) return;
    if (told_.size() == kept_most) told_.clear();
    told_.emplace_back(why);
    std::string line = "a bus is without its connection: ";
    append_escaped(line, why);
    log(log_level::warn, line);
  } catch (...) {  // std::bad_alloc
  }
  void listen_again(natsConnection* to) {
    std::vector<std::pair<std::string, natsSubscription*>> before;
    {
      const std::lock_guard lock(subscriptions_mutex_);
      before.assign(subscriptions_.begin(), subscriptions_.end());
      for (auto& [pattern, s] : subscriptions_) {
        dropped_before_ += dropped_of(s);
        s = nullptr;
      }
    }
    for (const auto& [pattern, s] : before) {
      natsSubscription_Destroy(s);
      begin_listening(to, pattern);
    }
  }
  void obey() noexcept {
    while (true) {
      order o;
      {
        const std::lock_guard lock(commands_mutex_);
        if (commands_.empty()) return;
        o = std::move(commands_.front());
        commands_.pop_front();
      }
      if (o.listen) {
        begin_listening(in_->get(), o.pattern);
      } else {
        stop_listening(o.pattern);
      }
      commands_done_.fetch_add(1, std::memory_order_release);  // pairs with settle's acquire: it has been written
    }
  }
  /// Where there is no connection any more, it is kept in mind for the next one.
  void begin_listening(natsConnection* to, const std::string& pattern) noexcept {
    natsSubscription* s = nullptr;
    auto* const share = new (std::nothrow) gate_share(gate_);
    if (share == nullptr || natsConnection_Subscribe(&s, to, pattern.c_str(), &received, share) != NATS_OK) {
      delete share;
      s = nullptr;
    } else {
      natsSubscription_SetOnCompleteCB(s, &completed, share);
      natsSubscription_SetPendingLimits(s, options_.nats.pending_signals_max, options_.nats.pending_bytes_max);
    }
    const std::lock_guard lock(subscriptions_mutex_);
    subscriptions_[pattern] = s;
  }
  void stop_listening(const std::string& pattern) noexcept {
    natsSubscription* ended = nullptr;
    {
      const std::lock_guard lock(subscriptions_mutex_);
      const auto found = subscriptions_.find(pattern);
      if (found == subscriptions_.end()) return;
      ended = found->second;
      dropped_before_ += dropped_of(ended);
      subscriptions_.erase(found);
    }
    natsSubscription_Destroy(ended);  // outside of the lock: it writes to the server, and counts() waits for nobody
  }

  const endocrine_options options_;
  const std::shared_ptr<nats_gate> gate_;
  bounded_ring<outgoing> ring_;
  const std::shared_ptr<nats_life> out_life_;
  const std::shared_ptr<nats_life> in_life_;
  std::unique_ptr<nats_connection> out_;  // the bus's thread's
  mutable std::mutex in_mutex_;
  std::shared_ptr<nats_connection> in_;                   // replaced by the bus's thread, with in_mutex_
  std::future<std::shared_ptr<nats_connection>> coming_;  // the bus's thread's: what is to take its place
  std::thread maker_;                                     // the bus's thread's: who makes that
  std::vector<std::string> told_;                         // the bus's thread's: why it has said it is without one
  std::mutex commands_mutex_;
  std::deque<order> commands_;       // commands_mutex_
  std::uint64_t commands_made_ = 0;  // commands_mutex_
  std::atomic<std::uint64_t> commands_done_{0};
  mutable std::mutex subscriptions_mutex_;
  std::map<std::string, natsSubscription*> subscriptions_;  // subscriptions_mutex_; null: none could be had
  std::uint64_t dropped_before_ = 0;                        // subscriptions_mutex_: of those that have ended
  std::atomic<std::uint64_t> sent_{0};
  std::atomic<std::uint64_t> expired_{0};
  std::atomic<std::uint64_t> lost_{0};
  std::atomic<bool> stopping_{false};
  parker parker_;
  std::thread thread_;
};

}  // namespace

std::unique_ptr<endocrine_carrier> connect_nats(const endocrine_options& options, carrier_sink& sink) {
  return std::make_unique<nats_bus>(options, sink);
}

}  // namespace karyon::detail
