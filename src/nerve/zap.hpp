// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <zmq.hpp>

#include "nerve/security.hpp"

namespace karyon::detail {

/// Answers libzmq's questions whether a client's key may connect (ZeroMQ's RFC 27, ZAP). CURVE alone lets any key in.
///
/// One thread: the one that runs the sockets. libzmq asks through a socket of its own context, and waits without blocking.
class zap_handler {
public:
  /// Before the first socket is bound. Throws zmq::error_t.
  explicit zap_handler(zmq::context_t& context);

  /// For epoll; edge-triggered as all of libzmq's, so call answer() until it is out of questions.
  [[nodiscard]] int descriptor() const;
  /// Answers all questions that are there. What it lets in has its key as user id, in hexadecimal digits.
  void answer(const allow_list& allowed);
  [[nodiscard]] std::uint64_t refused() const noexcept { return refused_; }

private:
  bool answer_one(const allow_list& allowed);

  zmq::socket_t socket_;
  std::uint64_t refused_ = 0;
};

}  // namespace karyon::detail
