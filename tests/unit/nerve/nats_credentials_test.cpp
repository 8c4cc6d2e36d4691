// SPDX-License-Identifier: Apache-2.0
#include <sys/fsuid.h>
#include <unistd.h>

#include <chrono>
#include <ctime>
#include <optional>
#include <string>
#include <thread>

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
  [[nodiscard]] error refusal(runtime& rt, const std::string& credentials_file) const {
    try {
      const endocrine bus(rt, with(credentials_file));
      return error(errc::running, "");
    } catch (const runtime_error& e) {
      return e.why();
    }
  }
};

}  // namespace

TEST_CASE("a bus with an operator's credentials is let in and speaks with another that has its own") {
  if (!nats_server::available()) return;
  const guarded_server s;
  s.tree.write("here.creds", s.owner.credentials());
  s.tree.write("there.creds", s.owner.credentials());
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
  s.tree.write("bus.creds", s.owner.credentials({.publish = "open.*"}));
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
  s.tree.write("valid.creds", s.owner.credentials({.expires_at = now + 3600}));
  s.tree.write("expired.creds", s.owner.credentials({.expires_at = now - 3600}));
  s.tree.write("foreign.creds", nats_operator().credentials());
  s.tree.write("mismatched.creds", s.owner.mismatched_credentials());
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
  s.tree.write("empty.creds", "");
  s.tree.write("other.creds", "nothing of the kind\n");
  s.tree.write("folder.creds/file", "");
  s.tree.write("half.creds", s.owner.credentials().substr(0, 200));
  for (const char* name : {"missing.creds", "empty.creds", "other.creds", "folder.creds", "half.creds"}) {
    const error why = s.refusal(rt, s.tree.path(name));
    INFO(name << ": " << why.message());
    CHECK(why.code() == errc::invalid_argument);
    CHECK(why.message().find("credentials_file") != std::string::npos);
    CHECK(why.message().find(name) != std::string::npos);
  }
  s.tree.write("locked.creds", s.owner.credentials());
  s.tree.mode("locked.creds", 0);
  ::setfsuid(65'534);  // of this thread, which opens it: the superuser may read everything
  const error why = s.refusal(rt, s.tree.path("locked.creds"));
  ::setfsuid(::geteuid());
  CHECK(why.code() == errc::invalid_argument);
  CHECK(why.message().find("Permission denied") != std::string::npos);
}

TEST_CASE(
    "a bus whose credentials expire is put out, and comes back with its subscriptions when the file has new ones") {
  if (!nats_server::available()) return;
  const guarded_server s;
  const std::string file = s.tree.path("bus.creds");
  s.tree.write("bus.creds", s.owner.credentials({.expires_at = std::time(nullptr) + 4}));
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
  std::this_thread::sleep_for(1s);  // by then nats.c has been refused more than once, and has given up
  s.tree.write("bus.creds", s.owner.credentials());
  REQUIRE(eventually([&] { return bus->connected(); }));
  REQUIRE(bus->await_subscriptions(long_time));
  const std::size_t before = heard.size();
  REQUIRE(eventually([&] { return ok(bus->publish("a.b", heat{2})) && heard.size() > before; }));
  CHECK(heard.lines().back() == "heat 2");
  check_sums(*bus, true);
}
