// SPDX-License-Identifier: Apache-2.0
#include "nerve/overlay_driver.hpp"

#include <algorithm>
#include <chrono>
#include <new>
#include <utility>

#include "nerve/overlay_wire.hpp"
#include "sched/parker.hpp"

namespace karyon::detail {

overlay_driver::overlay_driver(const peer_id& self, const overlay_options& options, transport& over, std::uint64_t seed,
                               delivery deliver)
    : over_(over), deliver_(std::move(deliver)), overlay_(self, options), random_(seed) {}

overlay_driver::~overlay_driver() { leave(); }

void overlay_driver::leave() {
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(stopping_, true)) return;
  }
  changed_.notify_all();
  if (clock_.joinable()) clock_.join();
  try {
    step([this](overlay_effects& e) { overlay_.leave(e); });
  } catch (const std::bad_alloc&) {  // they find out by its silence
  }
}

void overlay_driver::learn_contact(const peer_id& contact) {
  const std::lock_guard lock(mutex_);
  overlay_.learn_contact(contact);
}

void overlay_driver::start() {
  step([this](overlay_effects& e) { overlay_.start(monotonic_ns(), random_, e); });
  clock_ = std::thread([this] { keep_time(); });
}

broadcast_id overlay_driver::broadcast(std::string payload) {
  broadcast_id id;
  auto shared = std::make_shared<const std::string>(std::move(payload));
  step([&](overlay_effects& e) { id = overlay_.broadcast(std::move(shared), monotonic_ns(), e); });
  return id;
}

bool overlay_driver::hand_on(const broadcast_id& id, std::string payload) {
  bool fresh = false;
  auto shared = std::make_shared<const std::string>(std::move(payload));
  step([&](overlay_effects& e) { fresh = overlay_.hand_on(id, std::move(shared), monotonic_ns(), e); });
  return fresh;
}

bool overlay_driver::received(const peer_id& from, std::span<const std::byte> payload) {
  overlay_message m;
  if (!decode_overlay(payload, m)) {
    malformed_.fetch_add(1, std::memory_order_relaxed);
    return false;
  }
  step([&](overlay_effects& e) { overlay_.receive(from, m, monotonic_ns(), random_, e); });
  return true;
}

void overlay_driver::link_down(const peer_id& peer) {
  step([&](overlay_effects& e) { overlay_.lost(peer, monotonic_ns(), random_, e); });
}

std::vector<peer_id> overlay_driver::neighbors() const {
  const std::lock_guard lock(mutex_);
  return overlay_.view().neighbors();
}

template <class Step>
void overlay_driver::step(Step&& what) {
  {
    const std::lock_guard lock(mutex_);
    overlay_effects effects;
    what(effects);
    waiting_.push_back(std::move(effects));
    if (carrying_) return;
    carrying_ = true;
  }
  carry_out();
}

void overlay_driver::carry_out() {
  std::unique_lock lock(mutex_);
  // However this ends: if nobody carried out and nobody could begin to, the node would be silent from then on.
  struct resigns {
    overlay_driver& of;
    std::unique_lock<std::mutex>& lock;
    ~resigns() {
      if (!lock.owns_lock()) lock.lock();
      of.carrying_ = false;
    }
  } const resigns_at_the_end{*this, lock};
  while (!waiting_.empty()) {
    const std::vector<overlay_effects> batch = std::exchange(waiting_, {});
    lock.unlock();
    std::vector<peer_id> gone;
    for (const overlay_effects& e : batch) {
      for (const auto& d : e.deliveries) hand_over(d);
      for (const auto& s : e.sends) {
        if (send(s)) gone.push_back(s.to);
      }
    }
    lock.lock();
    for (const peer_id& p : gone) {
      if (stopping_) break;
      overlay_effects effects;
      overlay_.lost(p, monotonic_ns(), random_, effects);
      waiting_.push_back(std::move(effects));
    }
  }
}

void overlay_driver::hand_over(const overlay_effects::delivery& what) noexcept {
  try {
    deliver_(what.id, *what.payload, what.hops);
  } catch (...) {  // its owner's fault, which must not become the overlay's
    failed_.fetch_add(1, std::memory_order_relaxed);
  }
}

bool overlay_driver::send(const overlay_effects::sending& what) noexcept {
  frame_fate fate = frame_fate::no_credit;
  try {
    frame_header h;
    h.kind = what.what.what >= overlay_message::kind::gossip ? frame_kind::endocrine : frame_kind::gossip;
    const std::vector<std::byte> bytes = encode_overlay(what.what);
    h.length = static_cast<std::uint32_t>(bytes.size());
    fate = over_.send(what.to, h, bytes);
  } catch (...) {  // no memory for it
  }
  if (fate != frame_fate::accepted) refused_.fetch_add(1, std::memory_order_relaxed);
  return fate == frame_fate::no_route || fate == frame_fate::peer_down;
}

void overlay_driver::keep_time() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    const std::uint64_t now_ns = monotonic_ns();
    const std::uint64_t next_ns = overlay_.next_ns();
    if (next_ns > now_ns) {
      constexpr std::uint64_t longest_ns = 50'000'000;  // what is received may bring the next time forward
      changed_.wait_for(lock, std::chrono::nanoseconds(std::min(next_ns - now_ns, longest_ns)));
      continue;
    }
    lock.unlock();
    bool done = true;
    try {
      step([&](overlay_effects& e) { overlay_.tick(monotonic_ns(), random_, e); });
    } catch (const std::bad_alloc&) {
      done = false;
    }
    lock.lock();
    if (!done) changed_.wait_for(lock, std::chrono::milliseconds(50));
  }
}

}  // namespace karyon::detail
