// SPDX-License-Identifier: Apache-2.0
#include "nerve/synapse_stream.hpp"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>

#include "nerve/little_endian.hpp"

namespace karyon::detail {

namespace {

struct give_back_addresses {
  void operator()(addrinfo* all) const noexcept { ::freeaddrinfo(all); }
};
using address_list = std::unique_ptr<addrinfo, give_back_addresses>;

/// Numbers only: nobody is asked, so nobody is waited for.
address_list address_of(const std::string& host, const std::string& port) {
  addrinfo wanted{};
  wanted.ai_family = AF_UNSPEC;
  wanted.ai_socktype = SOCK_STREAM;
  wanted.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE;
  addrinfo* found = nullptr;
  if (host.empty() || ::getaddrinfo(host.c_str(), port.c_str(), &wanted, &found) != 0) return nullptr;
  return address_list(found);
}

int new_socket(const addrinfo& at) noexcept {
  return ::socket(at.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

std::string host_of(std::string_view tcp_endpoint) {
  constexpr std::string_view scheme = "tcp://";
  const std::string_view address = tcp_endpoint.substr(std::min(tcp_endpoint.size(), scheme.size()));
  std::string_view host = address.substr(0, address.rfind(':'));
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  return host == "*" ? "0.0.0.0" : std::string(host);
}

}  // namespace

std::unique_ptr<stream_listener> stream_listener::open(std::string_view tcp_endpoint) {
  const address_list at = address_of(host_of(tcp_endpoint), "0");
  if (at == nullptr) return nullptr;
  const int fd = new_socket(*at);
  if (fd < 0) return nullptr;
  std::unique_ptr<stream_listener> made(new (std::nothrow) stream_listener(fd, 0));
  if (made == nullptr) {
    ::close(fd);
    return nullptr;
  }
  // The system keeps who has called and said nothing (for a second or two), so that nobody who says whose it is stands in a place that
  // a crowd could take: it has spoken when it is seen. Of those who are kept so there may be as many as the system has room for; with
  // more it lets all through as they come. Without this option it always does.
  constexpr int silent_s = 1;
  static_cast<void>(::setsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &silent_s, sizeof silent_s));
  sockaddr_storage bound{};
  socklen_t length = sizeof bound;
  if (::bind(fd, at->ai_addr, at->ai_addrlen) != 0 || ::listen(fd, SOMAXCONN) != 0 ||
      ::getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &length) != 0) {
    return nullptr;
  }
  made->port_ = bound.ss_family == AF_INET6 ? ntohs(reinterpret_cast<const sockaddr_in6*>(&bound)->sin6_port)
                                            : ntohs(reinterpret_cast<const sockaddr_in*>(&bound)->sin_port);
  return made;
}

int stream_listener::take() const noexcept {
  return ::accept4(file_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
}

// --- the sender's ----------------------------------------------------------------------------------------------------

std::unique_ptr<stream_out> stream_out::call(const std::string& address, std::uint16_t port,
                                             std::chrono::milliseconds unanswered_max) {
  const address_list at = address_of(address, std::to_string(port));
  if (at == nullptr) return nullptr;
  const int fd = new_socket(*at);
  if (fd < 0) return nullptr;
  std::unique_ptr<stream_out> made(new (std::nothrow) stream_out(fd));
  if (made == nullptr) {
    ::close(fd);
    return nullptr;
  }
  const int yes = 1;
  // What is put in is sent at once: what belongs together is put in together.
  if (::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes) != 0) return nullptr;
  const auto unanswered_ms = static_cast<unsigned>(unanswered_max.count());
  if (::setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unanswered_ms, sizeof unanswered_ms) != 0) return nullptr;
  if (::connect(fd, at->ai_addr, at->ai_addrlen) != 0 && errno != EINPROGRESS) return nullptr;
  return made;
}

bool stream_out::begin(std::uint32_t epoch, std::uint64_t token) noexcept {
  int error = 0;
  socklen_t length = sizeof error;
  if (::getsockopt(file_.get(), SOL_SOCKET, SO_ERROR, &error, &length) != 0 || error != 0) return false;
  std::array<std::byte, stream_preamble_bytes> bytes{};
  store_le(bytes.data(), epoch);
  store_le(bytes.data() + 8, token);
  return put(bytes) == bytes.size();
}

stream_out::word stream_out::hear() noexcept {
  std::byte said{};
  const ssize_t n = ::recv(file_.get(), &said, 1, MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return word::none;
  return n == 1 && said == stream_taken ? word::taken : word::ended;
}

std::size_t stream_out::put(std::span<const std::byte> bytes) noexcept {
  const ssize_t n = ::send(file_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (n >= 0) return static_cast<std::size_t>(n);
  broken_ = broken_ || (errno != EAGAIN && errno != EINTR && errno != ENOBUFS && errno != ENOMEM);
  return 0;
}

// --- the receiver's --------------------------------------------------------------------------------------------------

std::optional<stream_in::preamble> stream_in::hear_preamble() {
  std::array<std::byte, stream_preamble_bytes> bytes{};
  // Looked at first: it is taken whole, and nothing behind it.
  const ssize_t n = ::recv(file_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_PEEK);
  if (n != static_cast<ssize_t>(bytes.size())) return std::nullopt;
  static_cast<void>(::recv(file_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT));
  return preamble{load_le<std::uint32_t>(bytes.data()), load_le<std::uint64_t>(bytes.data() + 8)};
}

void stream_in::welcome() const noexcept {
  static_cast<void>(::send(file_.get(), &stream_taken, 1, MSG_DONTWAIT | MSG_NOSIGNAL));
}

stream_in::came stream_in::fill() {
  if (begin_ != 0) {  // half a message at most: next() has been asked until it had no more
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  // No more than has come is ever made room for, but for one piece: a length alone costs nothing.
  if (buffer_.size() < end_ + piece_bytes) buffer_.resize(end_ + piece_bytes);
  const ssize_t n = ::recv(file_.get(), buffer_.data() + end_, buffer_.size() - end_, MSG_DONTWAIT);
  if (n > 0) {
    end_ += static_cast<std::size_t>(n);
    bytes_ += static_cast<std::uint64_t>(n);
    return came::bytes;
  }
  return n < 0 && (errno == EAGAIN || errno == EINTR) ? came::nothing : came::ended;
}

stream_in::found stream_in::next(std::span<const std::byte>& message, std::size_t longest) {
  const std::size_t there = end_ - begin_;
  if (there < length_bytes) return found::nothing;
  const std::size_t n = load_le<std::uint32_t>(buffer_.data() + begin_);
  if (n == 0 || n > longest) return found::nonsense;
  if (there - length_bytes < n) return found::nothing;
  message = {buffer_.data() + begin_ + length_bytes, n};
  begin_ += length_bytes + n;
  return found::message;
}

}  // namespace karyon::detail
