// SPDX-License-Identifier: Apache-2.0
#include <sys/fsuid.h>
#include <unistd.h>

#include <chrono>
#include <ctime>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

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

}  // namespace

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
