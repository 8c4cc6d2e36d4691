// SPDX-License-Identifier: Apache-2.0
#include <nats/nats.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <thread>

#include "core/file_descriptor.hpp"
#include "nerve/endocrine_frame.hpp"
#include "support/temporary_tree.hpp"
#include "unit/nerve/bus_testing.hpp"
#include "unit/nerve/nats_server.hpp"

using namespace karyon;
using namespace karyon::tests;
using namespace std::chrono_literals;

// What a bus does when its server does not: with a real one that is killed, stopped, or says nonsense.

#define KARYON_NEEDS_SERVER \
  if (!nats_server::available()) return

namespace {

endocrine_options through(const nats_server& server) {
  endocrine_options o;
  o.server = server.url();
  o.nats.connect_timeout = 30s;
  o.nats.heartbeat = 200ms;
  o.nats.time_to_live = 500ms;
  o.storm.sender.per_second = 0;
  o.storm.subject.per_second = 0;
  return o;
}

/// Publishes `value` until `enough`, and says how long the longest call took.
template <class Enough>
std::chrono::nanoseconds publish_until(endocrine& bus, std::int64_t value, Enough enough) {
  std::chrono::nanoseconds longest{0};
  while (!enough()) {
    const auto begin = std::chrono::steady_clock::now();
    static_cast<void>(bus.publish("load", heat{value}));
    longest = std::max<std::chrono::nanoseconds>(longest, std::chrono::steady_clock::now() - begin);
    std::this_thread::yield();
  }
  return longest;
}

/// Publishes until somebody hears of it.
bool heard_again(endocrine& bus, std::int64_t value, const std::atomic<std::int64_t>& newest) {
  return eventually([&] {
    static_cast<void>(bus.publish("load", heat{value}));
    return newest.load() >= value;
  });
}

bool settled(const endocrine& bus) {
  return eventually([&] {
    const endocrine_metrics m = bus.metrics();
    return m.accepted == m.sent + m.lost_expired + m.lost_disconnected && m.received == m.fanned_out + sum_not_taken(m);
  });
}

/// Remembers which phases it has heard of.
class phases : public cell {
public:
  using accepts = signals<heat>;
  phases(std::atomic<std::int64_t>& newest, std::atomic<std::uint64_t>& bad, std::int64_t forbidden)
      : newest_(&newest), bad_(&bad), forbidden_(forbidden) {}
  void on(const heat& h) {
    if (h.degrees == forbidden_) bad_->fetch_add(1);
    if (h.degrees > newest_->load()) newest_->store(h.degrees);
  }

private:
  std::atomic<std::int64_t>* newest_;
  std::atomic<std::uint64_t>* bad_;
  std::int64_t forbidden_;
};

/// Nothing that could be copied byte by byte.
struct verdict {
  std::vector<std::string> words;
  bool holds = false;
};

class clerk : public cell {
public:
  using accepts = signals<verdict>;
  explicit clerk(diary& d) : diary_(&d) {}
  void on(const verdict& v) { diary_->write(v.words.at(0) + " " + v.words.at(1) + (v.holds ? ": true" : ": false")); }

private:
  diary* diary_;
};

}  // namespace

TEST_CASE(
    "a server that is killed under load for two seconds is missed, and nothing is replayed to the one that follows") {
  KARYON_NEEDS_SERVER;
  nats_server server;
  std::atomic<std::int64_t> newest{0};
  std::atomic<std::uint64_t> replayed{0};
  runtime rt(quiet());
  endocrine bus(rt, through(server));
  const auto c = rt.spawn<phases>(newest, replayed, 2);
  REQUIRE(bus.subscribe<heat>(c, "load"));
  REQUIRE(bus.await_subscriptions(long_time));
  REQUIRE(heard_again(bus, 1, newest));
  std::atomic<bool> killed{false};
  std::chrono::nanoseconds under_load{0};
  std::thread load([&] { under_load = publish_until(bus, 1, [&] { return killed.load(); }); });
  server.kill();
  killed = true;
  load.join();
  // Nothing of this may ever arrive, also what was accepted before the loss was noticed.
  const auto until = std::chrono::steady_clock::now() + 2s;
  const auto while_gone = publish_until(bus, 2, [&] { return std::chrono::steady_clock::now() > until; });
  CHECK(eventually([&] { return bus.publish("load", heat{2}) == publish_result::disconnected; }));
  CHECK_FALSE(bus.connected());
  server.start();
  REQUIRE(heard_again(bus, 3, newest));
  REQUIRE(settled(bus));
  const endocrine_metrics m = bus.metrics();
  CHECK(replayed == 0);
  CHECK(m.refused[static_cast<std::size_t>(publish_result::disconnected)] != 0);
  CHECK(m.disconnects != 0);
  check_sums(bus, true);
  std::printf("server killed: longest publish() %lld us under load, %lld us while it was gone\n",
              static_cast<long long>(under_load.count() / 1000), static_cast<long long>(while_gone.count() / 1000));
}

TEST_CASE("a server that is stopped keeps no publisher waiting, and what is late is dropped") {
  KARYON_NEEDS_SERVER;
  nats_server server;
  std::atomic<std::int64_t> newest{0};
  std::atomic<std::uint64_t> bad{0};
  runtime rt(quiet());
  endocrine_options options = through(server);
  options.nats.outgoing_max = 64;
  endocrine bus(rt, options);
  const auto c = rt.spawn<phases>(newest, bad, -1);
  REQUIRE(bus.subscribe<heat>(c, "load"));
  REQUIRE(bus.await_subscriptions(long_time));
  REQUIRE(heard_again(bus, 1, newest));
  server.stop();
  const auto until = std::chrono::steady_clock::now() + 2s;
  const auto longest = publish_until(bus, 2, [&] { return std::chrono::steady_clock::now() > until; });
  server.go_on();
  REQUIRE(heard_again(bus, 3, newest));
  REQUIRE(settled(bus));
  const endocrine_metrics m = bus.metrics();
  // What the stopped server had taken in came after its time, or with the connection that it lost.
  CHECK(m.lost_expired + m.lost_disconnected + m.not_taken_stale +
            m.refused[static_cast<std::size_t>(publish_result::disconnected)] !=
        0);
  check_sums(bus, true);
  std::printf("server stopped: longest publish() %lld us\n", static_cast<long long>(longest.count() / 1000));
}

TEST_CASE("what one bus publishes another at the same server hears, with the sender's name in its storm reports") {
  KARYON_NEEDS_SERVER;
  nats_server server;
  diary reports;
  diary heard;
  runtime here(quiet());
  runtime there(quiet());
  endocrine_options options = through(server);
  options.process_name = "here";
  options.nats.time_to_live = 60s;
  options.nats.heartbeat = 30s;
  endocrine publisher(here, options);
  options.process_name = "there";
  options.storm.deliveries = {1, 10};
  options.on_storm = [&reports](const storm_report& r) { reports.write(r.sender + " " + r.subject); };
  endocrine receiver(there, options);
  REQUIRE(receiver.subscribe<heat>(there.spawn<listener>(heard), "a.>"));
  REQUIRE(receiver.await_subscriptions(long_time));
  for (int i = 0; i < 100; ++i) {
    CHECK(eventually([&] { return ok(publisher.publish("a.b", heat{i}, "somebody")); }));
  }
  REQUIRE(reports.has(1));
  CHECK(reports.lines().front() == "here/somebody a.b");
  REQUIRE(heard.has(10));
  CHECK(heard.lines().front() == "heat 0");
  REQUIRE(eventually([&] { return receiver.metrics().received == 100; }));
  REQUIRE(settled(receiver));
  CHECK(receiver.metrics().not_taken_storm != 0);
  check_sums(receiver, true);
}

TEST_CASE("nonsense from the server is counted and harms nobody") {
  KARYON_NEEDS_SERVER;
  nats_server server;
  diary heard;
  runtime rt(quiet());
  endocrine_options options = through(server);
  options.nats.time_to_live = 60s;
  options.nats.heartbeat = 30s;
  endocrine bus(rt, options);
  REQUIRE(bus.subscribe<heat>(rt.spawn<listener>(heard), "s"));
  REQUIRE(bus.await_subscriptions(long_time));
  natsConnection* raw = nullptr;
  REQUIRE(natsConnection_ConnectTo(&raw, server.url().c_str()) == NATS_OK);
  std::uint64_t x = 1;
  for (int i = 0; i < 500; ++i) {
    std::string bytes(static_cast<std::size_t>(i), '\0');
    for (char& b : bytes) {
      x = x * 6364136223846793005u + 1442695040888963407u;
      b = static_cast<char>(x >> 56u);
    }
    if (i % 2 == 0 && bytes.size() > 3) bytes.replace(0, 3, "KE\x01");
    REQUIRE(natsConnection_Publish(raw, "s", bytes.data(), i) == NATS_OK);
  }
  REQUIRE(natsConnection_Flush(raw) == NATS_OK);
  natsConnection_Destroy(raw);
  REQUIRE(eventually([&] { return bus.metrics().received == 500; }));
  CHECK(heard.size() == 0);
  REQUIRE(settled(bus));
  check_sums(bus, true);
  CHECK(ok(bus.publish("s", heat{1})));
  CHECK(heard.has(1));
}

TEST_CASE("a value of several fields crosses, and one that can be none of its type is malformed") {
  KARYON_NEEDS_SERVER;
  nats_server server;
  diary heard;
  runtime rt(quiet());
  endocrine_options options = through(server);
  options.nats.time_to_live = 60s;
  options.nats.heartbeat = 30s;
  endocrine bus(rt, options);
  REQUIRE(bus.subscribe<verdict>(rt.spawn<clerk>(heard), "s"));
  REQUIRE(bus.await_subscriptions(long_time));
  natsConnection* raw = nullptr;
  natsSubscription* tap = nullptr;
  REQUIRE(natsConnection_ConnectTo(&raw, server.url().c_str()) == NATS_OK);
  REQUIRE(natsConnection_SubscribeSync(&tap, raw, "s") == NATS_OK);
  REQUIRE(natsConnection_Flush(raw) == NATS_OK);
  REQUIRE(ok(bus.publish("s", verdict{{"who", "what"}, true})));
  REQUIRE(heard.has(1));
  CHECK(heard.lines().front() == "who what: true");
  natsMsg* seen = nullptr;
  REQUIRE(natsSubscription_NextMsg(&seen, tap, 60'000) == NATS_OK);
  const auto* const at = reinterpret_cast<const std::byte*>(natsMsg_GetData(seen));
  std::vector<std::byte> forged(at, at + natsMsg_GetDataLength(seen));
  natsMsg_Destroy(seen);
  // The same once more, but that its bool, which comes last, is 2.
  karyon::detail::stamp_endocrine_sequence(forged, 1'000'000);
  forged.back() = std::byte{2};
  REQUIRE(natsConnection_Publish(raw, "s", forged.data(), static_cast<int>(forged.size())) == NATS_OK);
  REQUIRE(natsConnection_Flush(raw) == NATS_OK);
  CHECK(eventually([&] { return bus.metrics().not_taken_malformed == 1; }));
  natsSubscription_Destroy(tap);
  natsConnection_Destroy(raw);
  CHECK(heard.size() == 1);
}

TEST_CASE("a server that is not there, not meant, or does not let us in is an error that says so") {
  KARYON_NEEDS_SERVER;
  runtime rt(quiet());
  const auto code_of = [&rt](const std::string& url) {
    endocrine_options o;
    o.server = url;
    o.nats.connect_timeout = 10s;
    try {
      const endocrine bus(rt, o);
    } catch (const runtime_error& e) {
      CHECK_FALSE(e.why().message().empty());
      CHECK(e.why().message().find("wrong@") == std::string::npos);  // nor a password in it
      return e.why().code();
    }
    return errc::running;  // it let us in
  };
  nats_server server({"--user", "me", "--pass", "secret"});
  CHECK(code_of(server.url()) == errc::refused);
  std::string url = server.url();
  CHECK(code_of(url.replace(0, 7, "nats://me:wrong@")) == errc::refused);
  url = server.url();
  CHECK(code_of(url.replace(0, 7, "nats://me:secret@")) == errc::running);
  url = server.url();
  CHECK(code_of(url.replace(0, 4, "tls")) == errc::refused);
  url = server.url();
  server.kill();
  CHECK(code_of(url) == errc::refused);
  CHECK(code_of("http://127.0.0.1") == errc::invalid_argument);
  CHECK(code_of("http://me:wrong@127.0.0.1") == errc::invalid_argument);
}

namespace {

/// A certificate that signs itself, so it is its own authority.
bool make_certificate(const temporary_tree& tree, const std::string& name, const std::string& of) {
  const std::string command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=" + name +
                              " -addext subjectAltName=" + of + " -keyout " + tree.path(name + ".key") + " -out " +
                              tree.path(name + ".pem") + " 2>/dev/null";
  return std::system(command.c_str()) == 0;
}

}  // namespace

TEST_CASE("over TLS a bus speaks with a server that its authority has signed for that host, and with no other") {
  KARYON_NEEDS_SERVER;
  temporary_tree tree;
  if (!make_certificate(tree, "right", "IP:127.0.0.1")) {
    WARN("left out: there is no program openssl");
    return;
  }
  REQUIRE(make_certificate(tree, "elsewhere", "IP:192.0.2.1"));
  REQUIRE(make_certificate(tree, "bus", "DNS:bus"));
  diary heard;  // until the last cell has ended
  runtime rt(quiet());
  /// With which it is let in or not: `authority` signed the server's certificate, and `own` is the bus's.
  const auto let_in = [&](const nats_server& server, const std::string& authority, const std::string& own) {
    endocrine_options o = through(server);
    o.server.replace(0, 7, "tls://me:secret@");
    if (!authority.empty()) o.nats.ca_file = tree.path(authority + ".pem");
    if (!own.empty()) {
      o.nats.certificate_file = tree.path(own + ".pem");
      o.nats.key_file = tree.path(own + ".key");
    }
    try {
      endocrine bus(rt, o);
      const std::size_t before = heard.size();
      return bus.subscribe<heat>(rt.spawn<listener>(heard), "secret.heat").has_value() &&
             bus.await_subscriptions(long_time).has_value() &&
             eventually([&] { return ok(bus.publish("secret.heat", heat{451})) && heard.size() > before; });
    } catch (const runtime_error& e) {
      CHECK(e.why().code() == errc::refused);
      return false;
    }
  };
  const auto serving = [&](const std::string& name) {
    return std::vector<std::string>{"--user",
                                    "me",
                                    "--pass",
                                    "secret",
                                    "--tls",
                                    "--tlscert",
                                    tree.path(name + ".pem"),
                                    "--tlskey",
                                    tree.path(name + ".key")};
  };
  {
    const nats_server server(serving("right"));
    CHECK(let_in(server, "right", ""));
    CHECK_FALSE(let_in(server, "elsewhere", ""));
    CHECK_FALSE(let_in(server, "", ""));  // none of the system's authorities has signed it
  }
  {
    const nats_server server(serving("elsewhere"));
    CHECK_FALSE(let_in(server, "elsewhere", ""));
  }
  std::vector<std::string> strict = serving("right");
  for (const std::string& word : {std::string("--tlsverify"), std::string("--tlscacert"), tree.path("bus.pem")})
    strict.push_back(word);
  const nats_server server(strict);
  CHECK_FALSE(let_in(server, "right", ""));
  CHECK(let_in(server, "right", "bus"));
}

TEST_CASE("a subscriber that takes nothing does not keep another one from hearing") {
  KARYON_NEEDS_SERVER;
  nats_server server;
  // As a process that is stopped: its connection is there, and nobody reads from it.
  const detail::file_descriptor stuck(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int little = 4096;
  REQUIRE(::setsockopt(stuck.get(), SOL_SOCKET, SO_RCVBUF, &little, sizeof little) == 0);
  const sockaddr_in where = server.address();
  REQUIRE(::connect(stuck.get(), reinterpret_cast<const sockaddr*>(&where), sizeof where) == 0);
  const std::string words = "CONNECT {\"verbose\":false}\r\nSUB > 1\r\nPING\r\n";
  REQUIRE(::send(stuck.get(), words.data(), words.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(words.size()));
  std::string said;
  for (char c = 0; said.find("PONG") == std::string::npos && ::recv(stuck.get(), &c, 1, 0) == 1;) said += c;
  REQUIRE(said.find("PONG") != std::string::npos);  // it has subscribed; from here on it reads no more

  std::atomic<std::int64_t> newest{0};
  std::atomic<std::uint64_t> bad{0};
  runtime rt(quiet());
  endocrine bus(rt, through(server));
  REQUIRE(bus.subscribe<heat>(rt.spawn<phases>(newest, bad, -1), "load"));
  REQUIRE(bus.await_subscriptions(long_time));
  // 16 MiB, more than the system keeps for the stuck one by far.
  const verdict bulk{{std::string(16U << 10U, 'x')}, true};
  std::int64_t rounds = 0;
  do {
    for (int i = 0; i < 16; ++i) static_cast<void>(bus.publish("bulk", bulk));
  } while (++rounds < 64 && heard_again(bus, rounds, newest));
  CHECK(rounds == 64);
  CHECK(heard_again(bus, rounds + 1, newest));
  CHECK(bad == 0);
  REQUIRE(settled(bus));
  check_sums(bus, true);
}

TEST_CASE("a server beyond the loopback is not even called without TLS, or a word that plaintext is meant") {
  runtime rt(quiet());
  const char* const url =
      GENERATE("nats://192.0.2.1:4222", "nats://127.0.0.1:4222,nats://192.0.2.1", "nats://127.0.0.1@192.0.2.1:1",
               "nats://[2001:db8::1]:4222", "nats://127.0.0.1.example.invalid:4222");
  endocrine_options o;
  o.server = url;
  std::string why;
  try {
    const endocrine bus(rt, o);
  } catch (const runtime_error& e) {
    why = e.why().message();
  }
  INFO(url);
  CHECK(why.find("beyond the loopback") != std::string::npos);
}
