// SPDX-License-Identifier: Apache-2.0
//
// A link's own connection: how it comes, goes, and ends, and what it is not had for.
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <numeric>
#include <thread>

#include "core/file_descriptor.hpp"
#include "nerve/synapse_door.hpp"
#include "support/catch.hpp"
#include "support/temporary_tree.hpp"
#include "synapse_testing.hpp"

using namespace karyon;
using namespace karyon::tests;

namespace {

/// Each link is hot at once, and idle soon.
synapse_options eager() {
  synapse_options o = patient();
  o.listen = {"tcp://127.0.0.1:*"};
  o.heartbeat = std::chrono::milliseconds{10};
  o.stream_frames_per_s = 1;
  o.stream_idle = std::chrono::milliseconds{60};
  return o;
}

struct streaming_pair {
  explicit streaming_pair(const synapse_options& of_a = eager(), const synapse_options& of_b = eager())
      : a(a_id, of_a), b(b_id, of_b) {
    connected = a.is_open() && b.is_open() && a->connect({b->endpoints().front(), ""}).has_value() &&
                eventually([&] { return a.sink.is_up() && b.sink.is_up(); });
  }
  /// Leaves frames of many lengths, until `enough` says so.
  template <class Enough>
  bool send_until(const Enough& enough) {
    return eventually([&] {
      for (int i = 0; i < 20; ++i) {
        if (a.send(b_id, next, 8 + next % 3000) == frame_fate::accepted) ++next;
      }
      return enough();
    });
  }
  [[nodiscard]] std::vector<std::uint64_t> sent() const {
    std::vector<std::uint64_t> all(next);
    std::iota(all.begin(), all.end(), std::uint64_t{0});
    return all;
  }
  end a;
  end b;
  bool connected = false;
  std::uint64_t next = 0;
};

/// Both ends of a connection of this process.
struct two_ends {
  two_ends() : listener(stream_listener::open("tcp://127.0.0.1:1")) {
    if (listener != nullptr) out = stream_out::call("127.0.0.1", listener->port());
    // The system hands it on when it has spoken.
    if (out == nullptr || !eventually([&] { return out->begin(7, 0x1234'5678'9ABC'DEF1); })) return;
    int fd = -1;
    if (eventually([&] { return (fd = listener->take()) >= 0; })) in = std::make_unique<stream_in>(fd);
  }
  std::unique_ptr<stream_listener> listener;
  std::unique_ptr<stream_out> out;
  std::unique_ptr<stream_in> in;
};

/// A door on the loopback, and an epoll of its own.
struct watched_door {
  watched_door() { opened = door.open("tcp://127.0.0.1:1"); }
  /// Hands on what there is now; how many events that was.
  int look() {
    epoll_event events[16];
    const int n = ::epoll_wait(events_at.get(), events, 16, 0);
    for (int i = 0; i < n; ++i) static_cast<void>(door.look_at(events[i].data.fd, 1));
    return n;
  }
  [[nodiscard]] std::unique_ptr<stream_out> call() const { return stream_out::call("127.0.0.1", door.port()); }
  /// So many, one after the other, who say a piece of a word each, which lets them in at once, and then no more.
  bool let_in_silent(int more) {
    const int before = watched;
    for (int i = 1; i <= more; ++i) {
      silent.push_back(call());
      const std::byte piece{};
      if (silent.back() == nullptr || !eventually([&] {
            return silent.back()->put({&piece, 1}) == 1;
          }) ||
          !eventually([&] { return look() >= 0 && watched >= before + i; }))
        return false;
    }
    return true;
  }
  file_descriptor events_at{::epoll_create1(EPOLL_CLOEXEC)};
  int watched = 0;
  stream_door door{[this](int fd, std::uint32_t events) {
                     epoll_event about{};
                     about.events = events;
                     about.data.fd = fd;
                     ++watched;
                     return ::epoll_ctl(events_at.get(), EPOLL_CTL_ADD, fd, &about) == 0;
                   },
                   100};
  bool opened = false;
  std::vector<std::unique_ptr<stream_out>> silent;
};

}  // namespace

TEST_CASE(
    "a link that carries much gets a connection of its own and gives it up when idle, and no frame passes another") {
  streaming_pair p;
  REQUIRE(p.connected);
  // At least: on a machine with much else to do it may be idle, and hot again, between two looks.
  for (std::uint64_t times = 1; times <= 3; ++times) {
    REQUIRE(p.send_until([&] { return p.a->stats().streams_opened >= times; }));
    const std::uint64_t streamed = p.a->stats().messages_streamed;
    REQUIRE(p.send_until([&] { return p.a->stats().messages_streamed > streamed + 10; }));
    REQUIRE(eventually([&] { return p.a->stats().streams_closed >= times; }));
  }
  CHECK(eventually([&] { return p.a.is_settled(p.next); }));
  CHECK(p.b.sink.numbers() == p.sent());
  CHECK(p.b->stats().gaps == 0);
  CHECK(p.a.sink.ups().size() == 1);
  CHECK(p.a->stats().streams_failed == 0);
  CHECK(p.b->stats().streams_opened == 0);  // it has sent nothing
}

TEST_CASE("both sides of a link may have a connection of their own at once, for several threads each") {
  streaming_pair p;
  REQUIRE(p.connected);
  std::atomic<std::uint64_t> from_a{0};
  std::atomic<std::uint64_t> from_b{0};
  std::atomic<bool> enough{false};
  std::vector<std::thread> threads;
  for (std::uint64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      end& mine = t % 2 == 0 ? p.a : p.b;
      const peer_id& other = t % 2 == 0 ? b_id : a_id;
      for (std::uint64_t i = 0; !enough.load();) {
        if (mine.send(other, t << 32U | i, 8 + i % 500) == frame_fate::accepted) {
          ++i;
          (t % 2 == 0 ? from_a : from_b).fetch_add(1);
        }
        if (i % 16 == 0) std::this_thread::yield();
      }
    });
  }
  const bool both =
      eventually([&] { return p.a->stats().messages_streamed > 100 && p.b->stats().messages_streamed > 100; });
  enough.store(true);
  for (auto& thread : threads) thread.join();
  CHECK(both);
  CHECK(eventually([&] { return p.a.is_settled(from_a) && p.b.is_settled(from_b); }));
  for (const auto& numbers : {p.a.sink.numbers(), p.b.sink.numbers()}) {
    std::array<std::uint64_t, 4> next{};
    std::uint64_t wrong = 0;
    for (const std::uint64_t n : numbers) wrong += (n & 0xFFFF'FFFFU) == next[n >> 32U]++ ? 0 : 1;
    CHECK(wrong == 0);
  }
  CHECK(p.a->stats().acknowledged == p.b.sink.numbers().size());
}

TEST_CASE("a long frame goes by a link's own connection in parts, also to a peer that is slow to take it") {
  synapse_options o = eager();
  o.window_bytes = 32U << 20U;
  o.frame_bytes_max = 16U << 20U;
  streaming_pair p(o, o);
  REQUIRE(p.connected);
  REQUIRE(p.send_until([&] { return p.a->stats().messages_streamed > 0; }));
  REQUIRE(eventually([&] { return p.a.is_settled(p.next); }));  // no credit comes back from a receiver that is shut
  p.b.sink.shut(true);
  REQUIRE(eventually([&] { return p.a.send(b_id, p.next, o.frame_bytes_max) == frame_fate::accepted; }));
  ++p.next;
  REQUIRE(p.a.send(b_id, p.next, 64) == frame_fate::accepted);
  ++p.next;
  p.b.sink.shut(false);
  CHECK(eventually([&] { return p.a.is_settled(p.next); }));
  CHECK(p.b.sink.numbers() == p.sent());
}

TEST_CASE(
    "a link that has its own connection ends as any other: by a bye behind the last frame, and what is lost is "
    "counted") {
  streaming_pair p;
  REQUIRE(p.connected);
  REQUIRE(p.send_until([&] { return p.a->stats().messages_streamed > 10; }));
  const bool sender_closes = GENERATE(true, false);
  (sender_closes ? p.a : p.b)->close();
  REQUIRE(eventually([&] { return !p.a.sink.is_up() && !p.b.sink.is_up(); }));
  CHECK(p.a.sink.losses() == std::vector<link_loss>{link_loss::closed});
  CHECK(p.b.sink.losses() == std::vector<link_loss>{link_loss::closed});
  CHECK(eventually([&] { return p.a.is_settled(p.a->stats().accepted); }));
  const auto got = p.b.sink.numbers();
  const auto sent = p.sent();
  REQUIRE(got.size() <= sent.size());
  CHECK(std::equal(got.begin(), got.end(), sent.begin()));
  CHECK(p.b.sink.out_of_link() == 0);
}

TEST_CASE("a peer that offers no connection is sent to by ZeroMQ, and is asked once") {
  synapse_options of_b = eager();
  of_b.stream_frames_per_s = 0;
  of_b.handshake = std::chrono::milliseconds{50};
  synapse_options of_a = eager();
  of_a.handshake = std::chrono::milliseconds{50};
  streaming_pair p(of_a, of_b);
  REQUIRE(p.connected);
  REQUIRE(p.send_until([&] { return p.a->stats().streams_failed == 1; }));
  REQUIRE(p.send_until([&] { return p.b->stats().delivered > 2000; }));
  CHECK(eventually([&] { return p.a.is_settled(p.next); }));
  CHECK(p.b.sink.numbers() == p.sent());
  CHECK(p.a->stats().streams_failed == 1);
  CHECK(p.a->stats().messages_streamed == 0);
}

TEST_CASE("messages come out of a stream whole, however they were cut, and lengths that can not be are nonsense") {
  two_ends s;
  REQUIRE(s.in != nullptr);
  std::optional<stream_in::preamble> said;
  REQUIRE(eventually([&] { return (said = s.in->hear_preamble()).has_value(); }));
  CHECK(said->epoch == 7);
  CHECK(said->token == 0x1234'5678'9ABC'DEF1);
  CHECK(s.out->hear() == stream_out::word::none);
  s.in->welcome();
  CHECK(eventually([&] { return s.out->hear() == stream_out::word::taken; }));

  const std::vector<std::byte> message{std::byte{3}, {}, {}, {}, std::byte{'a'}, std::byte{'b'}, std::byte{'c'}};
  std::span<const std::byte> got;
  for (std::size_t i = 0; i < message.size(); ++i) {
    CHECK(s.in->next(got, 100) == stream_in::found::nothing);
    REQUIRE(s.out->put(std::span(message).subspan(i, 1)) == 1);
    REQUIRE(eventually([&] { return s.in->fill() == stream_in::came::bytes; }));
  }
  CHECK(s.in->next(got, 100) == stream_in::found::message);
  CHECK(std::equal(got.begin(), got.end(), message.begin() + 4, message.end()));
  CHECK_FALSE(s.in->is_within());

  const std::vector<std::byte> length(4, GENERATE(std::byte{0}, std::byte{0xFF}));
  REQUIRE(s.out->put(length) == length.size());
  REQUIRE(eventually([&] { return s.in->fill() == stream_in::came::bytes; }));
  CHECK(s.in->next(got, 100) == stream_in::found::nonsense);
  s.out.reset();
  CHECK(eventually([&] { return s.in->fill() == stream_in::came::ended; }));
}

TEST_CASE("a stream whose other end has gone is over, and a name is not looked up") {
  two_ends s;
  REQUIRE(s.in != nullptr);
  s.in.reset();
  CHECK(eventually([&] { return s.out->hear() == stream_out::word::ended; }));
  CHECK(stream_out::call("not.a.number.example", 80) == nullptr);
  CHECK(stream_listener::open("tcp://not.a.number.example:80") == nullptr);
  const std::vector<std::byte> some(64);
  CHECK(eventually([&] { return s.out->put(some) == 0 && s.out->is_over(); }));
}

TEST_CASE("strangers who say nothing keep nobody out who says whose it is, and go when their time is over") {
  watched_door d;
  REQUIRE(d.opened);
  REQUIRE(d.let_in_silent(100));
  CHECK(d.door.turned_away() == 100 - stream_door::strangers_max);
  const auto speaks = d.call();
  REQUIRE(speaks != nullptr);
  REQUIRE(eventually([&] { return speaks->begin(7, 99); }));
  REQUIRE(d.let_in_silent(1));  // by then it has come, too
  std::optional<stream_door::guest> guest;
  REQUIRE(eventually([&] { return d.look() >= 0 && (guest = d.door.next()).has_value(); }));
  CHECK(guest->said.epoch == 7);
  CHECK(guest->said.token == 99);
  const std::uint64_t before = d.door.turned_away();
  d.door.tick(100);
  CHECK(d.door.turned_away() == before);
  d.door.tick(101);
  CHECK(d.door.turned_away() > before + 60);
  CHECK(d.silent.back()->hear() != stream_out::word::taken);
}

TEST_CASE("who has called, and has not spoken yet, is put out by no crowd of those who come after it") {
  watched_door d;
  REQUIRE(d.opened);
  // The system waits for it a second; where the crowd took longer, on a machine with much else to do, it is tried again.
  std::unique_ptr<stream_out> slow;
  std::uint64_t token = 0;
  for (auto since = std::chrono::steady_clock::time_point::min();
       std::chrono::steady_clock::now() > since + std::chrono::milliseconds{800};) {
    since = std::chrono::steady_clock::now();
    slow = d.call();
    REQUIRE(slow != nullptr);
    REQUIRE(d.let_in_silent(static_cast<int>(stream_door::strangers_max) + 1));
    static_cast<void>(slow->begin(7, ++token));
  }
  std::optional<stream_door::guest> guest;
  CHECK(eventually([&] {
    while (d.look() >= 0 && (guest = d.door.next()).has_value() && guest->said.token != token) {
    }
    return guest.has_value() || slow->hear() == stream_out::word::ended;
  }));
  REQUIRE(guest.has_value());
  CHECK(guest->said.token == token);
}

TEST_CASE("who calls and says nothing at all is looked after as well, if later, and goes when its time is over") {
  watched_door d;
  REQUIRE(d.opened);
  const auto mute = d.call();
  REQUIRE(mute != nullptr);
  REQUIRE(eventually([&] { return d.look() >= 0 && d.watched == 2; }));
  d.door.tick(101);
  CHECK(d.door.turned_away() == 1);
  CHECK(eventually([&] { return mute->hear() == stream_out::word::ended; }));
}

TEST_CASE("who calls while all places are taken by those who have just spoken waits until these are gone") {
  watched_door d;
  REQUIRE(d.opened);
  std::vector<std::unique_ptr<stream_out>> spoken;
  for (std::size_t i = 1; i <= stream_door::strangers_max; ++i) {
    spoken.push_back(d.call());
    REQUIRE(spoken.back() != nullptr);
    REQUIRE(eventually([&] { return spoken.back()->begin(1, i); }));
    REQUIRE(eventually([&] { return d.look() >= 0 && d.watched == 1 + static_cast<int>(i); }));
  }
  for (const auto& each : spoken) {  // all has come that they have said
    int on_its_way = 1;
    REQUIRE(eventually([&] { return ::ioctl(each->descriptor(), TIOCOUTQ, &on_its_way) == 0 && on_its_way == 0; }));
  }
  const auto late = d.call();
  REQUIRE(late != nullptr);
  REQUIRE(eventually([&] { return late->begin(7, 99); }));
  for (int i = 0; i < 100; ++i) static_cast<void>(d.look());
  CHECK(d.door.not_let_in() == 0);
  CHECK(d.door.turned_away() == 0);
  std::size_t guests = 0;
  bool is_in = false;
  CHECK(eventually([&] {
    while (const auto guest = d.door.next()) {
      ++guests;
      is_in = is_in || guest->said.token == 99;
    }
    d.door.tick(1);
    return d.look() >= 0 && is_in;
  }));
  CHECK(guests == stream_door::strangers_max + 1);
}

// UndefinedBehaviorSanitizer asks by a pipe whether an object's memory can be read, and takes it for broken where it gets none.
#if !defined(__SANITIZE_ADDRESS__)
TEST_CASE(
    "who calls while no descriptor is left is let in when there is one, and is not told of all the time until then") {
  watched_door d;
  REQUIRE(d.opened);
  const file_descriptor caller(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in where{};
  where.sin_family = AF_INET;
  where.sin_port = htons(d.door.port());
  where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  rlimit few = before;
  few.rlim_cur = 256;
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &few) == 0);
  std::vector<int> taken;
  for (int fd = 0; (fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0;) taken.push_back(fd);
  const int called = ::connect(caller.get(), reinterpret_cast<const sockaddr*>(&where), sizeof where);
  const bool spoke = ::send(caller.get(), "", 1, MSG_NOSIGNAL) == 1;
  const bool refused = eventually([&] { return d.look() >= 0 && d.door.not_let_in() == 1; });
  const int told_again = d.look();
  for (const int fd : taken) ::close(fd);
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
  CHECK(called == 0);
  CHECK(spoke);
  CHECK(refused);
  CHECK(told_again == 0);
  const int watched = d.watched;
  d.door.tick(1);
  CHECK(d.watched == watched + 1);
  CHECK(d.door.not_let_in() == 1);
}
#endif
