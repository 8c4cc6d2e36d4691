// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nats/nats.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include <karyon/nerve/endocrine.hpp>

#include "nerve/carrier.hpp"

namespace karyon::detail {

/// What nats.c's callbacks find, which may come late: on threads of nats.c, even while a connection is being closed. Each callback has
/// a share of it.
struct nats_gate {
  carrier_sink* sink = nullptr;
  std::atomic<bool> open{true};
  std::atomic<std::uint32_t> inside{0};
  std::atomic<std::uint64_t> disconnects{0};

  /// Calls f unless it is shut; sequentially consistent with shut.
  template <class F>
  void pass(F&& f) noexcept {
    inside.fetch_add(1, std::memory_order_seq_cst);
    if (open.load(std::memory_order_seq_cst)) f();
    inside.fetch_sub(1, std::memory_order_seq_cst);
    inside.notify_all();
  }
  /// After it returns nobody is in, and nobody gets in.
  void shut() noexcept {
    open.store(false, std::memory_order_seq_cst);
    for (std::uint32_t n = inside.load(); n != 0; n = inside.load()) inside.wait(n);
  }
};

/// What is known of a connection, and of the one that takes its place when it is over.
struct nats_life {
  explicit nats_life(std::shared_ptr<nats_gate> g) noexcept : gate(std::move(g)) {}
  const std::shared_ptr<nats_gate> gate;
  std::atomic<bool> up{false};
  /// nats.c has given it up for good, which it does when a server has twice not let it in; until then it connects again by itself.
  std::atomic<bool> over{false};
  /// The one that takes its place is only being made: whatever `up` says, it is not to be used yet.
  std::atomic<bool> renewing{false};
};

/// One connection to a server: for sending (each publish is written at once), or for receiving.
class nats_connection {
public:
  enum class purpose : std::uint8_t { sends, receives };
  /// Throws runtime_error. `life`: of no other connection, but for one that is over.
  nats_connection(const endocrine_options& options, purpose what, std::shared_ptr<nats_life> life);
  ~nats_connection();
  nats_connection(const nats_connection&) = delete;
  nats_connection& operator=(const nats_connection&) = delete;

  [[nodiscard]] natsConnection* get() const noexcept { return connection_; }

private:
  struct share {
    std::shared_ptr<nats_life> of;
  };
  static void configure(natsOptions* o, const endocrine_options& options, purpose what, share* closure);
  static void disconnected(natsConnection*, void* closure);
  static void reconnected(natsConnection*, void* closure);
  static void closed(natsConnection*, void* closure);
  natsConnection* connection_ = nullptr;
};

}  // namespace karyon::detail
