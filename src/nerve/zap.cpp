// SPDX-License-Identifier: Apache-2.0
#include "nerve/zap.hpp"

#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace karyon::detail {

namespace {

// Frames of a question: version, request id, domain, address, identity, mechanism, and the client's key.
constexpr std::size_t request_at = 1;
constexpr std::size_t mechanism_at = 5;
constexpr std::size_t key_at = 6;
constexpr std::size_t frames_of_curve = 7;

void say(zmq::socket_t& socket, std::string_view text, bool more) {
  static_cast<void>(socket.send(zmq::buffer(text), more ? zmq::send_flags::sndmore : zmq::send_flags::none));
}

}  // namespace

zap_handler::zap_handler(zmq::context_t& context) : socket_(context, zmq::socket_type::rep) {
  socket_.set(zmq::sockopt::linger, 0);
  socket_.bind("inproc://zeromq.zap.01");
}

int zap_handler::descriptor() const { return socket_.get(zmq::sockopt::fd); }

void zap_handler::answer(const allow_list& allowed) {
  while (answer_one(allowed)) {
  }
}

bool zap_handler::answer_one(const allow_list& allowed) {
  std::vector<std::string> frames;
  for (bool more = true; more;) {
    zmq::message_t frame;
    if (!socket_.recv(frame, zmq::recv_flags::dontwait)) return false;
    frames.push_back(frame.to_string());
    more = frame.more();
  }
  curve_key key{};
  bool let_in =
      frames.size() == frames_of_curve && frames[mechanism_at] == "CURVE" && frames[key_at].size() == key.size();
  if (let_in) {
    std::memcpy(key.data(), frames[key_at].data(), key.size());
    let_in = allowed.has(key);
  }
  if (!let_in) ++refused_;
  say(socket_, "1.0", true);
  say(socket_, frames.size() > request_at ? frames[request_at] : std::string(), true);
  say(socket_, let_in ? "200" : "400", true);
  say(socket_, let_in ? "OK" : "this key is not on the list", true);
  say(socket_, let_in ? to_hex(key) : std::string(), true);
  say(socket_, "", false);
  return true;
}

}  // namespace karyon::detail
