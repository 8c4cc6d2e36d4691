// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "nerve/synapse.hpp"
#include "unit/cell/cell_testing.hpp"

namespace karyon::tests {

using namespace detail;

inline constexpr peer_id a_id{11, 100};
inline constexpr peer_id b_id{22, 200};

/// Writes down what it is told. `gate`: while it is shut, received() does not return.
class recorder : public transport_sink {
public:
  void link_up(const peer_id& peer, std::span<const std::byte> hello) noexcept override {
    const std::lock_guard lock(mutex_);
    ups_.push_back(peer);
    hello_.assign(reinterpret_cast<const char*>(hello.data()), hello.size());
    is_up_ = true;
  }
  void link_down(const peer_id& peer, link_loss why) noexcept override {
    const std::lock_guard lock(mutex_);
    downs_.push_back(peer);
    losses_.push_back(why);
    is_up_ = false;
  }
  void namesake(const peer_id& who, std::string_view its_endpoint, std::string_view other) noexcept override {
    const std::lock_guard lock(mutex_);
    namesakes_.push_back(std::to_string(who.incarnation) + " " + std::string(its_endpoint) + " " + std::string(other));
  }
  void received(const peer_id&, const frame_header& header, std::span<const std::byte> payload) noexcept override {
    std::uint64_t number = 0;
    if (payload.size() >= sizeof number) std::memcpy(&number, payload.data(), sizeof number);
    {
      const std::lock_guard lock(mutex_);
      if (!is_up_) ++out_of_link_;
      numbers_.push_back(number);
      last_ = header;
    }
    entered_.fetch_add(1);
    shut_.wait(true);
  }

  void shut(bool s) {
    shut_.store(s);
    shut_.notify_all();
  }
  [[nodiscard]] std::uint64_t entered() const { return entered_.load(); }
  [[nodiscard]] std::vector<peer_id> ups() const { return locked(ups_); }
  [[nodiscard]] std::vector<peer_id> downs() const { return locked(downs_); }
  [[nodiscard]] std::vector<link_loss> losses() const { return locked(losses_); }
  [[nodiscard]] std::vector<std::uint64_t> numbers() const { return locked(numbers_); }
  [[nodiscard]] std::string hello() const { return locked(hello_); }
  [[nodiscard]] std::vector<std::string> namesakes() const { return locked(namesakes_); }
  [[nodiscard]] frame_header last() const { return locked(last_); }
  [[nodiscard]] bool is_up() const { return locked(is_up_); }
  /// Frames that came while no link was up.
  [[nodiscard]] std::uint64_t out_of_link() const { return locked(out_of_link_); }

private:
  template <class T>
  T locked(const T& what) const {
    const std::lock_guard lock(mutex_);
    return what;
  }
  mutable std::mutex mutex_;
  std::vector<peer_id> ups_;
  std::vector<peer_id> downs_;
  std::vector<link_loss> losses_;
  std::vector<std::string> namesakes_;
  std::vector<std::uint64_t> numbers_;
  std::string hello_;
  frame_header last_;
  bool is_up_ = false;
  std::uint64_t out_of_link_ = 0;
  std::atomic<std::uint64_t> entered_{0};
  std::atomic<bool> shut_{false};
};

/// So patient that a machine with much else to do breaks no link.
[[nodiscard]] inline synapse_options patient() {
  synapse_options o;
  o.heartbeat = std::chrono::milliseconds{100};
  o.silence_max = std::chrono::milliseconds{20'000};
  o.handshake = std::chrono::milliseconds{10'000};
  return o;
}

[[nodiscard]] inline std::vector<std::byte> bytes_of(const std::string& text) {
  const auto* const at = reinterpret_cast<const std::byte*>(text.data());
  return {at, at + text.size()};
}

/// A synapse and its sink.
class end {
public:
  end(const peer_id& self, const synapse_options& options) : id(self), opened_(synapse::open(options, self)) {
    if (opened_) static_cast<void>((*opened_)->start(sink, bytes_of("hello of " + std::to_string(self.node))));
  }
  end(const end&) = delete;
  end& operator=(const end&) = delete;
  ~end() {
    sink.shut(false);
    if (opened_) (*opened_)->close();
  }

  [[nodiscard]] bool is_open() const { return opened_.has_value(); }
  [[nodiscard]] std::string why_not() const { return opened_ ? "" : opened_.error().message(); }
  synapse& operator*() { return **opened_; }
  synapse* operator->() { return opened_->get(); }

  frame_fate send(const peer_id& to, std::uint64_t number, std::size_t bytes = 64, std::uint32_t ttl_us = 0) {
    std::vector<std::byte> payload(bytes);
    if (bytes >= sizeof number) std::memcpy(payload.data(), &number, sizeof number);
    frame_header header;
    header.ttl_us = ttl_us;
    header.destination = {7, 3};
    return (*opened_)->send(to, header, payload);
  }
  /// All that has been taken over is accounted for, and nothing is on its way.
  [[nodiscard]] bool is_settled(std::uint64_t accepted) const {
    const synapse_stats s = (*opened_)->stats();
    return s.accepted == accepted && s.in_flight == 0 && adds_up(s);
  }
  [[nodiscard]] static bool adds_up(const synapse_stats& s) {
    return s.accepted == s.acknowledged + s.expired_before_send + s.lost_before_send + s.lost_with_link + s.in_flight;
  }

  const peer_id id;
  recorder sink;

private:
  result<std::unique_ptr<synapse>> opened_;
};

}  // namespace karyon::tests
