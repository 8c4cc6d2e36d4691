// SPDX-License-Identifier: Apache-2.0
#include "nerve/synapse_door.hpp"

#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <new>

namespace karyon::detail {

bool stream_door::open(std::string_view tcp_endpoint) {
  if (listener_ != nullptr) return true;
  strangers_.reserve(strangers_max + 1);  // make_room()
  listener_ = stream_listener::open(tcp_endpoint);
  more_ = false;
  // By its edges: a call that can not be answered would be told of again and again.
  if (listener_ != nullptr && !watch_(listener_->descriptor(), EPOLLIN | EPOLLET)) listener_.reset();
  return listener_ != nullptr;
}

bool stream_door::look_at(int fd, std::uint64_t now_ns) {
  if (fd == descriptor()) {
    take(now_ns);
    return true;
  }
  const auto one = std::find_if(strangers_.begin(), strangers_.end(),
                                [&](const stranger& each) { return each.from->descriptor() == fd; });
  if (one == strangers_.end()) return false;
  hear(*one);
  return true;
}

void stream_door::take(std::uint64_t now_ns) {
  more_ = true;
  for (std::size_t i = 0; i < strangers_max; ++i) {  // of more later, when all else has had its turn
    if (!has_room()) return;  // nor is anybody sent away for guests that next() has not taken yet
    const int fd = listener_->take();
    if (fd < 0 && (errno == ECONNABORTED || errno == EINTR)) continue;
    if (fd < 0) {
      more_ = errno != EAGAIN;
      not_let_in_ += more_ ? 1 : 0;
      return;
    }
    std::unique_ptr<stream_in> from(new (std::nothrow) stream_in(fd));
    if (from == nullptr) ::close(fd);
    if (from == nullptr || !watch_(fd, EPOLLIN | EPOLLRDHUP | EPOLLET)) {
      ++not_let_in_;
      continue;
    }
    make_room();
    strangers_.push_back({std::move(from), now_ns + patience_ns_});  // has its room since open()
  }
}

bool stream_door::has_room() { return strangers_.size() < strangers_max || longest_silent() != strangers_.end(); }

/// Nobody goes if the last who was silent has spoken since has_room(): then there is one more for once.
void stream_door::make_room() {
  if (strangers_.size() < strangers_max) return;
  const auto silent = longest_silent();
  if (silent == strangers_.end()) return;
  strangers_.erase(silent);
  ++turned_away_;
}

std::vector<stream_door::stranger>::iterator stream_door::longest_silent() {
  return std::find_if(strangers_.begin(), strangers_.end(), [](stranger& each) {
    hear(each);  // it may have spoken since it was last told of
    return !each.said;
  });
}

void stream_door::hear(stranger& s) {
  if (!s.said) s.said = s.from->hear_preamble();
}

std::optional<stream_door::guest> stream_door::next() {
  const auto one =
      std::find_if(strangers_.begin(), strangers_.end(), [](const stranger& each) { return each.said.has_value(); });
  if (one == strangers_.end()) return std::nullopt;
  guest g{std::move(one->from), *one->said};
  strangers_.erase(one);
  return g;
}

void stream_door::tick(std::uint64_t now_ns) {
  turned_away_ += std::erase_if(strangers_, [&](const stranger& s) { return !s.said && now_ns >= s.until_ns; });
  if (more_ && listener_ != nullptr) take(now_ns);
}

}  // namespace karyon::detail
