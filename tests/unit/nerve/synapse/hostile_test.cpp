// SPDX-License-Identifier: Apache-2.0
//
// What a node survives that is spoken to by something that is no node, or a broken one.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <zmq.h>

#include <cstring>
#include <random>
#include <zmq.hpp>

#include "nerve/link_wire.hpp"
#include "support/catch.hpp"
#include "support/temporary_tree.hpp"
#include "synapse_testing.hpp"

using namespace karyon;
using namespace karyon::tests;

namespace {

/// A node under attack, and a healthy peer whose link must not notice.
struct besieged {
  besieged() : a(a_id, at("a")), b(b_id, at("b")) {
    up = a->connect({b->endpoints().front(), ""}).has_value() &&
         eventually([&] { return a.sink.is_up() && b.sink.is_up(); });
  }
  synapse_options at(const std::string& name) const {
    synapse_options o = patient();
    o.listen = {"ipc://" + tree.path("n/" + name)};
    return o;
  }
  /// The healthy link carries on, and is the one that it was.
  bool is_unharmed() {
    const std::uint64_t before = b.sink.entered();
    return eventually([&] { return a.send(b_id, 1) == frame_fate::accepted; }) &&
           eventually([&] { return b.sink.entered() == before + 1; }) && b.sink.ups().size() == 1 &&
           b.sink.downs().empty();
  }
  temporary_tree tree;
  end a;
  end b;
  bool up = false;
};

/// Speaks ZeroMQ, and says what it likes.
class intruder {
public:
  explicit intruder(const std::string& endpoint, const std::string& name = "")
      : socket_(context_, zmq::socket_type::dealer) {
    socket_.set(zmq::sockopt::linger, 0);
    if (!name.empty()) socket_.set(zmq::sockopt::routing_id, name);
    socket_.connect(endpoint);
  }
  void say(const std::vector<std::byte>& bytes, bool more = false) {
    zmq::message_t m(bytes.data(), bytes.size());
    static_cast<void>(socket_.send(m, more ? zmq::send_flags::sndmore : zmq::send_flags::none));
  }

private:
  zmq::context_t context_;
  zmq::socket_t socket_;
};

std::vector<std::byte> a_frame(std::size_t payload = 8) {
  std::vector<std::byte> bytes(frame_header_bytes + payload);
  frame_header header;
  header.length = static_cast<std::uint32_t>(payload);
  encode_frame(header, bytes.data());
  return bytes;
}

std::uint64_t bad(end& of, frame_fault fault) { return of->stats().bad[static_cast<std::size_t>(fault)]; }

}  // namespace

TEST_CASE("each kind of bad frame is counted by its reason, and harms nobody else") {
  besieged s;
  REQUIRE(s.up);
  intruder who(s.b->endpoints().front());
  auto bytes = a_frame();
  bytes[0] = std::byte{0};
  who.say(bytes);
  bytes = a_frame();
  bytes[2] = std::byte{0};  // an older wire version
  who.say(bytes);
  bytes = a_frame();
  bytes[3] = std::byte{0x0F};
  who.say(bytes);
  bytes = a_frame();
  bytes.pop_back();
  who.say(bytes);
  bytes = a_frame();
  bytes[7] = std::byte{0xFF};  // says that it is 4 GB long
  who.say(bytes);
  who.say({});
  who.say(a_frame());  // well formed, but nobody has said who sends it
  CHECK(eventually([&] { return s.b->stats().ungreeted == 1; }));
  CHECK(bad(s.b, frame_fault::magic) == 1);
  CHECK(bad(s.b, frame_fault::version) == 1);
  CHECK(bad(s.b, frame_fault::kind) == 1);
  CHECK(bad(s.b, frame_fault::truncated) == 2);
  CHECK(bad(s.b, frame_fault::too_long) == 1);
  CHECK(s.is_unharmed());
}

TEST_CASE("a connection that keeps on breaking the rules is read no more") {
  besieged s;
  REQUIRE(s.up);
  intruder who(s.b->endpoints().front());
  auto bytes = a_frame();
  bytes[0] = std::byte{0};
  for (int i = 0; i < 100; ++i) who.say(bytes);
  CHECK(eventually([&] { return s.b->stats().shunned > 0; }));
  CHECK(eventually([&] { return bad(s.b, frame_fault::magic) + s.b->stats().shunned == 100; }));
  CHECK(bad(s.b, frame_fault::magic) == 16);
  CHECK(s.is_unharmed());
}

TEST_CASE("a message longer than any can be ends its connection before it is taken in") {
  besieged s;
  REQUIRE(s.up);
  intruder who(s.b->endpoints().front());
  who.say(std::vector<std::byte>(8U << 20U));
  // What is said behind it comes by the next connection; had the long one been taken in, it would have been before this.
  CHECK(eventually([&] {
    who.say(a_frame());
    return s.b->stats().ungreeted > 0;
  }));
  CHECK(bad(s.b, frame_fault::magic) == 0);
  CHECK(s.is_unharmed());
}

TEST_CASE("names of one's own and messages of several parts are not read") {
  besieged s;
  REQUIRE(s.up);
  intruder named(s.b->endpoints().front(), "me");
  named.say(a_frame());
  intruder parts(s.b->endpoints().front());
  parts.say(a_frame(), true);
  parts.say(a_frame());
  CHECK(eventually([&] { return s.b->stats().shunned == 2; }));
  CHECK(s.b->stats().ungreeted == 0);
  CHECK(s.is_unharmed());
}

TEST_CASE("random bytes, as messages and as the inside of greetings, make no link and break none") {
  besieged s;
  REQUIRE(s.up);
  std::minstd_rand random(7);
  for (int round = 0; round < 40; ++round) {
    intruder who(s.b->endpoints().front());
    for (int i = 0; i < 10; ++i) {
      std::vector<std::byte> bytes(random() % 300);
      for (auto& byte : bytes) byte = static_cast<std::byte>(random() & 0xFFU);
      if (round % 2 == 0) {
        who.say(bytes);
        continue;
      }
      std::vector<std::byte> frame;
      append_word(frame, static_cast<link_word>(random() % 8), static_cast<std::uint32_t>(random()), bytes);
      who.say(frame);
    }
  }
  CHECK(s.is_unharmed());
  CHECK(s.b->stats().links_made == 1);
}

TEST_CASE("a peer that sends beyond its credit loses its link") {
  temporary_tree tree;
  synapse_options o = patient();
  o.listen = {"ipc://" + tree.path("n/b")};
  o.window_frames = 4;
  o.shared_bytes = 0;  // its greetings are alone in their messages then
  end b(b_id, o);
  // The whole of a peer, by hand: a ROUTER to hear, a DEALER to speak.
  zmq::context_t context;
  zmq::socket_t ear(context, zmq::socket_type::router);
  zmq::socket_t mouth(context, zmq::socket_type::dealer);
  ear.set(zmq::sockopt::linger, 0);
  mouth.set(zmq::sockopt::linger, 0);
  ear.set(zmq::sockopt::rcvtimeo, 60'000);
  const std::string mine = "ipc://" + tree.path("n/a");
  ear.bind(mine);
  mouth.connect(b->endpoints().front());
  const auto say = [&](const std::vector<std::byte>& bytes) {
    static_cast<void>(mouth.send(zmq::buffer(bytes.data(), bytes.size()), zmq::send_flags::none));
  };
  link_greeting g;
  g.peer = a_id;
  g.cookie = 1;
  g.epoch = 77;
  g.window_frames = g.window_slots = g.frame_bytes_max = 100;
  g.endpoint = mine;
  std::vector<std::byte> bytes;
  append_link_greeting(bytes, g);
  say(bytes);
  std::uint32_t epoch = 0;
  while (!b.sink.is_up()) {  // its greeting tells our cookie back; ours does the same, and the link is up
    zmq::message_t name;
    zmq::message_t body;
    REQUIRE(ear.recv(name).has_value());
    REQUIRE(ear.recv(body).has_value());
    const std::span<const std::byte> got{body.data<std::byte>(), body.size()};
    const auto theirs = read_link_greeting(got.subspan(frame_header_bytes));
    if (!theirs) continue;
    epoch = theirs->epoch;
    g.heard_cookie = theirs->cookie;
    g.heard = theirs->sent_at;
    g.heard_at = theirs->sent_at;
    bytes.clear();
    append_link_greeting(bytes, g);
    say(bytes);
    static_cast<void>(eventually([&] { return b.sink.is_up() || ear.get(zmq::sockopt::events) != 0; }));
  }
  const auto frame = [&](std::uint16_t sequence, std::uint32_t in_epoch) {
    frame_header header;
    header.epoch = in_epoch;
    header.sequence = sequence;
    std::vector<std::byte> one(frame_header_bytes);
    encode_frame(header, one.data());
    return one;
  };
  SECTION("by one message with more frames than the window has") {
    bytes.clear();
    for (std::uint16_t i = 0; i < 5; ++i) {
      const auto one = frame(i, epoch);
      bytes.insert(bytes.end(), one.begin(), one.end());
    }
    say(bytes);
    CHECK(eventually([&] { return b->stats().beyond_credit == 1; }));
    CHECK(eventually([&] { return b.sink.losses() == std::vector<link_loss>{link_loss::refused}; }));
    CHECK(b.sink.numbers().size() == 4);
  }
  SECTION("while a frame of another epoch is only counted") {
    say(frame(0, epoch + 1));
    say(frame(0, epoch));
    CHECK(eventually([&] { return b.sink.numbers().size() == 1; }));
    CHECK(eventually([&] { return b->stats().stale == 1; }));
    CHECK(b.sink.is_up());
  }
  SECTION("and one whose frames are not in sequence as well, since some were lost") {
    say(frame(0, epoch));
    say(frame(3, epoch));
    CHECK(eventually([&] { return b.sink.losses() == std::vector<link_loss>{link_loss::unreachable}; }));
    CHECK(eventually([&] { return b->stats().gaps == 2; }));
    CHECK(b.sink.numbers().size() == 1);
  }
}

TEST_CASE("a peer that has heard a node's former life only does not bring a link up") {
  temporary_tree tree;
  synapse_options o = patient();
  o.listen = {"ipc://" + tree.path("n/b")};
  o.shared_bytes = 0;  // its greetings are alone in their messages then
  link_greeting g;
  g.peer = a_id;
  g.cookie = 1;
  g.epoch = 77;
  g.window_frames = g.window_slots = g.frame_bytes_max = 100;
  for (std::uint64_t life = 0; life < 2; ++life) {
    end b({b_id.node, b_id.incarnation + life}, o);
    REQUIRE(b.is_open());
    zmq::context_t context;
    zmq::socket_t ear(context, zmq::socket_type::router);
    zmq::socket_t mouth(context, zmq::socket_type::dealer);
    ear.set(zmq::sockopt::linger, 0);
    mouth.set(zmq::sockopt::linger, 0);
    ear.set(zmq::sockopt::rcvtimeo, 60'000);
    const std::string mine = "ipc://" + tree.path("n/a" + std::to_string(life));
    ear.bind(mine);
    mouth.connect(b->endpoints().front());
    g.endpoint = mine;
    std::vector<std::byte> bytes;
    append_link_greeting(bytes, g);  // in the second life with what the first one has said
    static_cast<void>(mouth.send(zmq::buffer(bytes.data(), bytes.size()), zmq::send_flags::none));
    zmq::message_t name;
    zmq::message_t body;
    REQUIRE(ear.recv(name).has_value());
    REQUIRE(ear.recv(body).has_value());
    const std::span<const std::byte> got{body.data<std::byte>(), body.size()};
    REQUIRE(got.size() > frame_header_bytes);
    const auto theirs = read_link_greeting(got.subspan(frame_header_bytes));
    REQUIRE(theirs.has_value());
    CHECK(b.sink.ups().empty());
    CHECK(theirs->cookie != g.heard_cookie);
    g.heard_cookie = theirs->cookie;
    g.heard = g.heard_at = theirs->sent_at;
  }
}

TEST_CASE("connections that say nothing, or half of something, do not keep others out") {
  besieged s;
  REQUIRE(s.up);
  std::vector<int> silent;
  for (int i = 0; i < 20; ++i) {
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string path = s.b->endpoints().front().substr(6);
    std::memcpy(address.sun_path, path.data(), path.size());
    REQUIRE(::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    const char half[] = {'\xFF', 0, 0, 0};  // the beginning of ZeroMQ's own greeting
    if (i % 2 == 0) REQUIRE(::write(fd, half, sizeof half) == sizeof half);
    silent.push_back(fd);
  }
  end c({33, 300}, s.at("c"));
  REQUIRE(c->connect({s.b->endpoints().front(), ""}).has_value());
  CHECK(eventually([&] { return c.sink.is_up(); }));
  for (const int fd : silent) ::close(fd);
}

// UndefinedBehaviorSanitizer asks by a pipe whether an object's memory can be read, and takes it for broken where it gets none.
#if !defined(__SANITIZE_ADDRESS__)
TEST_CASE("with no descriptors left a link lives on, and new ones come when there are some again") {
  besieged s;
  REQUIRE(s.up);
  end c({33, 300}, s.at("c"));
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  std::vector<int> taken;
  rlimit few = before;
  few.rlim_cur = 256;
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &few) == 0);
  for (int fd = 0; (fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0;) taken.push_back(fd);
  REQUIRE(s.a->connect({c->endpoints().front(), ""}).has_value());
  CHECK(eventually([&] { return s.a->stats().calls_failed > 0; }));
  CHECK(s.is_unharmed());
  for (const int fd : taken) ::close(fd);
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
  CHECK(eventually([&] { return c.sink.is_up(); }));
}
#endif
