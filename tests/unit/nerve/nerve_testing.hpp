#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <karyon/nerve/node.hpp>

#include "nerve/node_core.hpp"
#include "unit/cell/cell_testing.hpp"

namespace karyon::tests {

/// Nodes of one process, and the wires between them: frames wait in one queue until they are pumped, in their order. One thread pumps,
/// so that each node sees what it would see of a transport.
class wires {
public:
  wires() = default;
  wires(const wires&) = delete;
  wires& operator=(const wires&) = delete;

  /// One node's end.
  class end final : public detail::transport {
  public:
    end(wires& all, node& n) : all_(&all), core_(&detail::node_access::core(n)) { core_->attach(*this); }
    detail::frame_fate send(const detail::peer_id& peer, const detail::frame_header& header,
                            std::span<const std::byte> payload) noexcept override {
      return all_->take(core_->self(), peer, header, payload);
    }

  private:
    friend class wires;
    wires* all_;
    detail::node_core* core_;
  };

  /// Of the signal that was sent last.
  [[nodiscard]] std::uint32_t newest_ttl_us() {
    const std::lock_guard lock(mutex_);
    return newest_ttl_us_;
  }
  void add(node& n) {
    const std::lock_guard lock(mutex_);
    ends_.push_back(std::make_unique<end>(*this, n));
  }
  /// No frame reaches this node any more.
  void remove(node& n) {
    const std::lock_guard pumping(pump_mutex_);
    const std::lock_guard lock(mutex_);
    const auto gone = std::find_if(ends_.begin(), ends_.end(),
                                   [&](const auto& e) { return e->core_ == &detail::node_access::core(n); });
    removed_.push_back(std::move(*gone));  // the node may still send by it, to nobody
    ends_.erase(gone);
  }
  void connect(node& a, node& b) {
    const std::lock_guard pumping(pump_mutex_);
    detail::node_core& x = detail::node_access::core(a);
    detail::node_core& y = detail::node_access::core(b);
    {
      const std::lock_guard lock(mutex_);
      connected_[key(x.self(), y.self())] = connected_[key(y.self(), x.self())] = true;
    }
    x.link_up(y.self(), y.hello().value());
    y.link_up(x.self(), x.hello().value());
  }
  /// What is on its way is lost.
  void cut(node& a, node& b, detail::link_loss why) {
    const std::lock_guard pumping(pump_mutex_);
    detail::node_core& x = detail::node_access::core(a);
    detail::node_core& y = detail::node_access::core(b);
    {
      const std::lock_guard lock(mutex_);
      connected_[key(x.self(), y.self())] = connected_[key(y.self(), x.self())] = false;
      std::erase_if(frames_, [&](const frame& f) {
        return (f.from == x.self() && f.to == y.self()) || (f.from == y.self() && f.to == x.self());
      });
    }
    x.link_down(y.self(), why);
    y.link_down(x.self(), why);
  }
  /// How many frames may be on their way at a time.
  void grant(std::size_t credit) {
    const std::lock_guard lock(mutex_);
    credit_ = credit;
  }

  /// Delivers what is on its way; false if there was nothing.
  bool pump() {
    const std::lock_guard pumping(pump_mutex_);
    bool any = false;
    while (true) {
      frame f;
      detail::node_core* to = nullptr;
      {
        const std::lock_guard lock(mutex_);
        if (frames_.empty()) return any;
        f = std::move(frames_.front());
        frames_.pop_front();
        for (const auto& e : ends_) {
          if (e->core_->self() == f.to) to = e->core_;
        }
      }
      any = true;
      if (to != nullptr) to->received(f.from, f.header, f.payload);
    }
  }

private:
  struct frame {
    detail::peer_id from;
    detail::peer_id to;
    detail::frame_header header;
    std::vector<std::byte> payload;
  };
  using link = std::pair<std::pair<std::uint64_t, std::uint64_t>, std::pair<std::uint64_t, std::uint64_t>>;
  static link key(const detail::peer_id& a, const detail::peer_id& b) {
    return {{a.node, a.incarnation}, {b.node, b.incarnation}};
  }
  detail::frame_fate take(const detail::peer_id& from, const detail::peer_id& to, const detail::frame_header& header,
                          std::span<const std::byte> payload) noexcept {
    const std::lock_guard lock(mutex_);
    const auto found = connected_.find(key(from, to));
    if (found == connected_.end()) return detail::frame_fate::no_route;
    if (!found->second) return detail::frame_fate::peer_down;
    if (frames_.size() >= credit_) return detail::frame_fate::no_credit;
    frames_.push_back({from, to, header, {payload.begin(), payload.end()}});
    if (header.kind == detail::frame_kind::signal) newest_ttl_us_ = header.ttl_us;
    return detail::frame_fate::accepted;
  }

  std::mutex pump_mutex_;  // before mutex_; held while nodes are told something
  std::mutex mutex_;
  std::uint32_t newest_ttl_us_ = 0;
  std::vector<std::unique_ptr<end>> ends_;
  std::vector<std::unique_ptr<end>> removed_;
  std::map<link, bool> connected_;
  std::deque<frame> frames_;
  std::size_t credit_ = 1'000'000;
};

/// Cells that trap exits are not waited for.
[[nodiscard]] inline runtime_options brief() {
  runtime_options options = quiet();
  options.shutdown_deadline = std::chrono::milliseconds(20);
  return options;
}

/// Two programs in one process, connected; a thread pumps.
class two_nodes {
public:
  two_nodes() : two_nodes(node_options{.name = "a"}, node_options{.name = "b"}) {}
  two_nodes(node_options for_a, node_options for_b)
      : rt_a(brief()), rt_b(brief()), a(rt_a, std::move(for_a)), b(rt_b, std::move(for_b)) {
    net.add(a);
    net.add(b);
    net.connect(a, b);
    pump_ = std::thread([this] {
      while (!done_.load(std::memory_order_acquire)) {
        if (!net.pump()) std::this_thread::yield();
      }
    });
  }
  ~two_nodes() {
    done_.store(true, std::memory_order_release);
    pump_.join();
  }
  two_nodes(const two_nodes&) = delete;
  two_nodes& operator=(const two_nodes&) = delete;

  wires net;
  runtime rt_a;
  runtime rt_b;
  node a;
  node b;

private:
  std::atomic<bool> done_{false};
  std::thread pump_;
};

/// All that was sent was delivered or counted, on one side or the other, once both are at rest.
[[nodiscard]] inline bool adds_up(const node_stats& s) {
  return s.sent == s.accepted + s.no_route + s.peer_down + s.no_credit + s.expired + s.too_large + s.closed +
                       s.not_declared &&
         s.received ==
             s.delivered + s.dead_here + s.full_here + s.no_handler_here + s.not_declared_here + s.unreadable_here;
}

}  // namespace karyon::tests
