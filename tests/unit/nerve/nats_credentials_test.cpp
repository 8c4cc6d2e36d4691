// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <nats/nats.h>
#include <netinet/in.h>
#include <sys/fsuid.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <ctime>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "core/file_descriptor.hpp"
#include "support/log_capture.hpp"
#include "support/temporary_tree.hpp"
#include "unit/nerve/bus_testing.hpp"
#include "unit/nerve/nats_identity.hpp"
#include "unit/nerve/nats_server.hpp"

using namespace karyon;
using namespace karyon::tests;
using namespace std::chrono_literals;

// Buses that show a server who they are by a file of an operator (`.creds`).

namespace {

/// A server that lets in whom its operator's account has signed for, and nobody else.
struct guarded_server {
  [[nodiscard]] static std::vector<std::string> told(const temporary_tree& tree, const nats_operator& by) {
    tree.write("server.conf", by.server_configuration());
    return {"-c", tree.path("server.conf")};
  }
  temporary_tree tree;
  nats_operator owner;
  nats_server server{told(tree, owner)};

  /// In a file that is its owner's alone.
  void keep(std::string_view name, std::string_view credentials_of_somebody) const {
    tree.write(name, credentials_of_somebody);
    tree.mode(name, 0600);
  }
  [[nodiscard]] endocrine_options with(const std::string& credentials_file) const {
    endocrine_options o;
    o.server = server.url();
    o.nats.connect_timeout = 30s;
    o.nats.time_to_live = 60s;
    o.nats.heartbeat = 30s;
    o.nats.credentials_file = credentials_file;
    return o;
  }
  /// Why a bus with this file is refused; `running` if it is not.
  [[nodiscard]] static error refusal(runtime& rt, const endocrine_options& options) {
    try {
      const endocrine bus(rt, options);
      return error(errc::running, "");
    } catch (const runtime_error& e) {
      return e.why();
    }
  }
  [[nodiscard]] error refusal(runtime& rt, const std::string& credentials_file) const {
    return refusal(rt, with(credentials_file));
  }
};

/// As much of a NATS server as it takes to be called by a bus: it gives each caller the next word to sign, the last one also to all who
/// come later, and lets in who has signed it with the key.
class signed_server {
public:
  signed_server(const nats_key& key, std::vector<std::string> to_sign) : key_(key), to_sign_(std::move(to_sign)) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at;
    if (::bind(door_.get(), reinterpret_cast<sockaddr*>(&at), size) != 0 || ::listen(door_.get(), 16) != 0 ||
        ::getsockname(door_.get(), reinterpret_cast<sockaddr*>(&at), &size) != 0)
      throw std::runtime_error("no free port");
    address_ = "127.0.0.1:" + std::to_string(ntohs(at.sin_port));
    thread_ = std::thread([this] { serve(); });
  }
  ~signed_server() { static_cast<void>(end()); }
  signed_server(const signed_server&) = delete;
  signed_server& operator=(const signed_server&) = delete;

  [[nodiscard]] const std::string& address() const noexcept { return address_; }
  /// How many have called, of whom there are no more from now on.
  [[nodiscard]] std::size_t end() {
    ::shutdown(door_.get(), SHUT_RDWR);
    if (thread_.joinable()) thread_.join();
    return callers_;
  }

private:
  void serve() {
    for (int fd = 0; (fd = ::accept4(door_.get(), nullptr, nullptr, SOCK_CLOEXEC)) >= 0;) {
      auto caller = std::make_unique<detail::file_descriptor>(fd);
      const std::size_t turn = std::min(callers_++, to_sign_.size() - 1);
      if (greet(fd, to_sign_[turn])) in_.push_back(std::move(caller));
    }
  }
  [[nodiscard]] bool greet(int caller, const std::string& word) const {
    say(caller,
        "INFO {\"server_id\":\"S\",\"version\":\"2.9.0\",\"max_payload\":1048576,\"auth_required\":true,\"nonce\":\"" +
            word + "\"}\r\n");
    std::string said;
    char some[4096];
    for (ssize_t n = 0; said.find("PING\r\n") == said.npos && (n = ::recv(caller, some, sizeof some, 0)) > 0;)
      said.append(some, static_cast<std::size_t>(n));
    const bool in = said.find("\"sig\":\"" + nats_key::in_base64(key_.signature(word)) + '"') != said.npos;
    say(caller, in ? "PONG\r\n" : "-ERR 'Authorization Violation'\r\n");
    return in;
  }
  static void say(int caller, const std::string& words) {
    static_cast<void>(::send(caller, words.data(), words.size(), MSG_NOSIGNAL));
  }

  const nats_key& key_;
  const std::vector<std::string> to_sign_;
  const detail::file_descriptor door_{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  std::string address_;
  std::size_t callers_ = 0;                                   // the thread's, until it has ended
  std::vector<std::unique_ptr<detail::file_descriptor>> in_;  // the thread's
  std::thread thread_;
};

/// A word whose signature begins with a zero byte, or does not: one of 256 does.
std::string word_to_sign(const nats_key& key, bool zero) {
  for (int i = 0;; ++i) {
    std::string word = "word" + std::to_string(i);
    if ((key.signature(word).front() == '\0') == zero) return word;
  }
}

/// nats.c sends no such signature (mended in 3.8.0).
bool leaves_out_signatures() { return nats_GetVersionNumber() < 0x030800; }

endocrine_options calling(const std::string& url, const std::string& credentials_file) {
  endocrine_options o;
  o.server = url;
  o.nats.connect_timeout = 30s;
  o.nats.heartbeat = 30s;
  o.nats.credentials_file = credentials_file;
  return o;
}

}  // namespace

TEST_CASE("a bus is let in although it has signed what nats.c then leaves out") {
  const temporary_tree tree;
  const nats_key key(nats_key::kind::user);
  tree.write("bus.creds", nats_operator().credentials(key));
  tree.mode("bus.creds", 0600);
  const std::string zero = word_to_sign(key, true);
  signed_server server(key, {zero, zero, word_to_sign(key, false)});
  runtime rt(quiet());
  {
    const endocrine bus(rt, calling("nats://" + server.address(), tree.path("bus.creds")));
    CHECK(bus.connected());
  }
  CHECK(server.end() == (leaves_out_signatures() ? 4 : 2));  // it has two connections
}

TEST_CASE("a bus that a server does not want calls no more often than a signature may be left out") {
  const temporary_tree tree;
  const nats_key key(nats_key::kind::user);
  const nats_key other(nats_key::kind::user);
  tree.write("bus.creds", nats_operator().credentials(other));
  tree.mode("bus.creds", 0600);
  runtime rt(quiet());
  {
    signed_server server(key, {word_to_sign(other, false)});
    const error why = guarded_server::refusal(rt, calling("nats://" + server.address(), tree.path("bus.creds")));
    CHECK(why.code() == errc::refused);
    CHECK(why.message().find("Authorization") != std::string::npos);
    CHECK(server.end() == (leaves_out_signatures() ? 3 : 1));
  }
  // Who shows a password signs nothing.
  signed_server server(key, {"word"});
  const error why = guarded_server::refusal(rt, calling("nats://somebody:wrong@" + server.address(), ""));
  CHECK(why.code() == errc::refused);
  CHECK(why.message().find("Authorization") != std::string::npos);
  CHECK(server.end() == 1);
}

TEST_CASE("a bus with an operator's credentials is let in and speaks with another that has its own") {
  if (!nats_server::available()) return;
  const guarded_server s;
  s.keep("here.creds", s.owner.credentials());
  s.keep("there.creds", s.owner.credentials());
  diary heard;
  runtime rt(quiet());
  endocrine here(rt, s.with(s.tree.path("here.creds")));
  endocrine there(rt, s.with(s.tree.path("there.creds")));
  REQUIRE(there.subscribe<heat>(rt.spawn<listener>(heard), "a.*"));
  REQUIRE(there.await_subscriptions(long_time));
  for (int i = 0; i < 100; ++i) REQUIRE(ok(here.publish("a.b", heat{i})));
  REQUIRE(heard.has(100));
  CHECK(heard.lines().front() == "heat 0");
  CHECK(heard.lines().back() == "heat 99");
  check_sums(there, true);
}

TEST_CASE("a bus with credentials may do at the server what its user may, and no more") {
  if (!nats_server::available()) return;
  const guarded_server s;
  s.keep("bus.creds", s.owner.credentials({.publish = "open.*"}));
  diary heard;
  runtime rt(quiet());
  endocrine bus(rt, s.with(s.tree.path("bus.creds")));
  REQUIRE(bus.subscribe<heat>(rt.spawn<listener>(heard), ">"));
  REQUIRE(bus.await_subscriptions(long_time));
  REQUIRE(ok(bus.publish("shut.a", heat{1})));  // that the server does not pass it on is between it and the user
  REQUIRE(ok(bus.publish("open.a", heat{2})));
  REQUIRE(heard.has(1));
  CHECK(heard.lines() == lines{"heat 2"});
}

TEST_CASE("credentials that are no longer valid, of another operator, or without their own seed are refused") {
  if (!nats_server::available()) return;
  const guarded_server s;
  runtime rt(quiet());
  const std::time_t now = std::time(nullptr);
  s.keep("valid.creds", s.owner.credentials({.expires_at = now + 3600}));
  s.keep("expired.creds", s.owner.credentials({.expires_at = now - 3600}));
  s.keep("foreign.creds", nats_operator().credentials());
  s.keep("mismatched.creds", s.owner.mismatched_credentials());
  CHECK(s.refusal(rt, s.tree.path("valid.creds")).code() == errc::running);
  for (const char* name : {"expired.creds", "foreign.creds", "mismatched.creds"}) {
    const error why = s.refusal(rt, s.tree.path(name));
    INFO(name << ": " << why.message());
    CHECK(why.code() == errc::refused);
    CHECK(why.message().find(name) != std::string::npos);
    CHECK(why.message().find("Authorization") != std::string::npos);
  }
  CHECK(s.refusal(rt, "").code() == errc::refused);  // none at all
}

TEST_CASE("a file of credentials that can not be read, or has none in it, is an error that names it") {
  if (!nats_server::available()) return;
  const guarded_server s;
  runtime rt(quiet());
  s.keep("empty.creds", "");
  s.keep("other.creds", "nothing of the kind\n");
  s.tree.write("folder.creds/file", "");
  s.keep("half.creds", s.owner.credentials().substr(0, 200));
  for (const char* name : {"missing.creds", "empty.creds", "other.creds", "folder.creds", "half.creds"}) {
    const error why = s.refusal(rt, s.tree.path(name));
    INFO(name << ": " << why.message());
    CHECK(why.code() == errc::invalid_argument);
    CHECK(why.message().find("credentials_file") != std::string::npos);
    CHECK(why.message().find(name) != std::string::npos);
  }
  s.keep("locked.creds", s.owner.credentials());
  s.tree.mode("locked.creds", 0);
  ::setfsuid(65'534);  // of this thread, which opens it: the superuser may read everything
  const error why = s.refusal(rt, s.tree.path("locked.creds"));
  ::setfsuid(::geteuid());
  CHECK(why.code() == errc::invalid_argument);
  CHECK(why.message().find("Permission denied") != std::string::npos);
}

TEST_CASE("credentials and keys that others than their owner may read are refused, with what to do") {
  if (!nats_server::available()) return;
  const guarded_server s;
  runtime rt(quiet());
  s.keep("bus.creds", s.owner.credentials());
  for (const mode_t bits : {0640U, 0604U, 0620U, 0644U, 0601U}) {
    s.tree.mode("bus.creds", bits);
    const error why = s.refusal(rt, s.tree.path("bus.creds"));
    INFO(std::oct << bits << ": " << why.message());
    CHECK(why.code() == errc::refused);
    CHECK(why.message().find("credentials_file") != std::string::npos);
    CHECK(why.message().find("bus.creds") != std::string::npos);
    CHECK(why.message().find("chmod 600") != std::string::npos);
  }
  for (const mode_t bits : {0600U, 0400U}) {
    s.tree.mode("bus.creds", bits);
    const error none = s.refusal(rt, s.tree.path("bus.creds"));
    INFO(std::oct << bits << ": " << none.message());
    CHECK(none.message().find("chmod") == std::string::npos);  // what the server says of it is for the tests before
  }
  s.tree.write("bus.key", "a key");
  s.tree.mode("bus.key", 0640);
  endocrine_options o = s.with(s.tree.path("bus.creds"));
  o.nats.certificate_file = o.nats.key_file = s.tree.path("bus.key");
  const error why = s.refusal(rt, o);
  CHECK(why.code() == errc::refused);
  CHECK(why.message().find("key_file: \"" + s.tree.path("bus.key")) != std::string::npos);
  CHECK(why.message().find("chmod 600") != std::string::npos);
}

TEST_CASE("credentials of another user's may be read by their group, and no more") {
  if (!nats_server::available()) return;
  const guarded_server s;
  runtime rt(quiet());
  s.keep("bus.creds", s.owner.credentials());
  if (::chown(s.tree.path("bus.creds").c_str(), 65'534, ::getegid()) != 0) {
    WARN("left out: only the superuser can give a file away");
    return;
  }
  for (const mode_t bits : {0460U, 0450U, 0444U, 0644U, 0442U, 0441U}) {
    s.tree.mode("bus.creds", bits);
    const error why = s.refusal(rt, s.tree.path("bus.creds"));
    INFO(std::oct << bits << ": " << why.message());
    CHECK(why.code() == errc::refused);
    CHECK(why.message().find("chmod 440") != std::string::npos);
  }
  for (const mode_t bits : {0400U, 0440U, 0640U}) {
    s.tree.mode("bus.creds", bits);
    const error none = s.refusal(rt, s.tree.path("bus.creds"));
    INFO(std::oct << bits << ": " << none.message());
    CHECK(none.message().find("chmod") == std::string::npos);  // what the server says of it is for the tests before
  }
}

TEST_CASE(
    "a bus whose credentials expire is put out, says why it stays so, and comes back with its subscriptions by new "
    "ones") {
  if (!nats_server::available()) return;
  const guarded_server s;
  const std::string file = s.tree.path("bus.creds");
  s.keep("bus.creds", s.owner.credentials({.expires_at = std::time(nullptr) + 4}));
  diary heard;
  runtime rt(quiet());
  std::optional<endocrine> bus;
  try {
    bus.emplace(rt, s.with(file));
  } catch (const runtime_error&) {
    WARN("left out: this machine needs longer for a connection than the credentials last");
    return;
  }
  REQUIRE(bus->subscribe<heat>(rt.spawn<listener>(heard), "a.b"));
  CHECK(eventually([&] { return !bus->connected(); }));
  CHECK(eventually([&] { return bus->publish("a.b", heat{1}) == publish_result::disconnected; }));
  const log_capture log;
  s.tree.mode("bus.creds", 0644);
  // By then nats.c has given up: it is the bus that calls, and looks at the file.
  CHECK(eventually([&] { return !log.with("chmod 600").empty(); }));
  s.keep("bus.creds", "none\n");
  CHECK(eventually([&] { return !log.with("has not the token").empty(); }));
  s.tree.mode("bus.creds", 0644);       // a reason that it has had before is not told again
  std::this_thread::sleep_for(2500ms);  // as long as from one look to the next, and more
  s.keep("bus.creds", s.owner.credentials());
  REQUIRE(eventually([&] { return bus->connected(); }));
  CHECK(log.with("chmod 600").size() == 1);
  CHECK(log.with("has not the token").size() == 1);
  REQUIRE(bus->await_subscriptions(long_time));
  const std::size_t before = heard.size();
  REQUIRE(eventually([&] { return ok(bus->publish("a.b", heat{2})) && heard.size() > before; }));
  CHECK(heard.lines().back() == "heat 2");
  check_sums(*bus, true);
}
