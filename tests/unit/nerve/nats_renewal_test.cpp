// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/file_descriptor.hpp"
#include "unit/nerve/bus_testing.hpp"

using namespace karyon;
using namespace karyon::tests;
using namespace std::chrono_literals;

// A bus whose connections are lost one at a time, which no real server does when it is asked to.

namespace {

/// As much of a NATS server as a bus needs. What becomes of a caller is said before it calls.
class scripted_server {
public:
  enum class welcome : std::uint8_t { let_in, refuse, keep_waiting };

  scripted_server() {
    sockaddr_in at = loopback();
    socklen_t size = sizeof at;
    if (::bind(door_.get(), reinterpret_cast<sockaddr*>(&at), size) != 0 || ::listen(door_.get(), 16) != 0 ||
        ::getsockname(door_.get(), reinterpret_cast<sockaddr*>(&at), &size) != 0)
      throw std::runtime_error("no free port");
    port_ = ntohs(at.sin_port);
    thread_ = std::thread([this] {
      while (!stopping_.load()) look();
    });
  }
  ~scripted_server() {
    stopping_.store(true);
    thread_.join();
  }
  scripted_server(const scripted_server&) = delete;
  scripted_server& operator=(const scripted_server&) = delete;

  [[nodiscard]] std::string url() const { return "nats://127.0.0.1:" + std::to_string(port_); }
  /// For those who call next, one each; the last is for all who come later, too.
  void next(std::initializer_list<welcome> these) {
    const std::lock_guard lock(mutex_);
    next_ = these;
  }
  /// Loses those who have subscribed to something, or those who have not.
  void drop(bool subscribers) {
    const std::lock_guard lock(mutex_);
    for (const auto& c : callers_) c->gone = c->gone || c->wants.empty() != subscribers;
  }
  /// Those who wait, and all who call from now on.
  void let_in() {
    const std::lock_guard lock(mutex_);
    next_ = {welcome::let_in};
    for (const auto& c : callers_) {
      if (std::exchange(c->how, welcome::let_in) == welcome::keep_waiting) greet(*c);
    }
  }
  [[nodiscard]] std::size_t waiting() const {
    const std::lock_guard lock(mutex_);
    return static_cast<std::size_t>(
        std::count_if(callers_.begin(), callers_.end(), [](const auto& c) { return c->how == welcome::keep_waiting; }));
  }
  /// The numbers that callers who are there have for a subject.
  [[nodiscard]] std::vector<std::string> numbers_for(const std::string& subject) const {
    const std::lock_guard lock(mutex_);
    std::vector<std::string> numbers;
    for (const auto& c : callers_) {
      for (const auto& [wanted, number] : c->wants) {
        if (wanted == subject) numbers.push_back(number);
      }
    }
    return numbers;
  }
  [[nodiscard]] std::size_t callers() const {
    const std::lock_guard lock(mutex_);
    return callers_.size();
  }
  [[nodiscard]] std::size_t published() const {
    const std::lock_guard lock(mutex_);
    return published_;
  }

private:
  struct caller {
    explicit caller(int fd, welcome w) : file(fd), how(w) {}
    detail::file_descriptor file;
    welcome how;
    bool gone = false;
    std::string said;                                        // and not yet heard
    std::vector<std::pair<std::string, std::string>> wants;  // subject, and the caller's number for it
  };

  static sockaddr_in loopback() {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return at;
  }
  static void say(caller& c, const std::string& words) {
    if (::send(c.file.get(), words.data(), words.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(words.size()))
      c.gone = true;
  }
  static void greet(caller& c) {
    say(c, "INFO {\"server_id\":\"S\",\"version\":\"2.9.0\",\"max_payload\":1048576}\r\n");
  }

  void look() {
    std::vector<pollfd> files{{door_.get(), POLLIN, 0}};
    {
      const std::lock_guard lock(mutex_);
      for (const auto& c : callers_) files.push_back({c->file.get(), POLLIN, 0});
    }
    ::poll(files.data(), files.size(), 5);
    const std::lock_guard lock(mutex_);
    if (const int fd = ::accept4(door_.get(), nullptr, nullptr, SOCK_CLOEXEC); fd >= 0) {
      callers_.push_back(std::make_unique<caller>(fd, next_.front()));
      if (next_.size() > 1) next_.pop_front();
      if (callers_.back()->how != welcome::keep_waiting) greet(*callers_.back());
    }
    for (const auto& c : callers_) {
      if (!c->gone) hear(*c);
    }
    std::erase_if(callers_, [](const auto& c) { return c->gone; });
  }
  void hear(caller& c) {
    char some[4096];
    const ssize_t n = ::recv(c.file.get(), some, sizeof some, MSG_DONTWAIT);
    if (n > 0) c.said.append(some, static_cast<std::size_t>(n));
    if (n == 0) c.gone = true;
    for (std::size_t end = 0; !c.gone && (end = c.said.find("\r\n")) != std::string::npos;) {
      std::istringstream line(c.said.substr(0, end));
      std::vector<std::string> words;
      for (std::string word; line >> word;) words.push_back(word);
      std::size_t used = end + 2;
      if (!words.empty() && words[0] == "PUB") {
        const std::size_t size = std::stoul(words.back());
        if (c.said.size() < used + size + 2) return;
        pass_on(words[1], c.said.substr(used, size));
        used += size + 2;
      } else if (!words.empty() && words[0] == "SUB") {
        c.wants.emplace_back(words[1], words.back());
      } else if (!words.empty() && words[0] == "PING" && c.how == welcome::refuse) {
        say(c, "-ERR 'Authorization Violation'\r\n");
        c.gone = true;
      } else if (!words.empty() && words[0] == "PING") {
        say(c, "PONG\r\n");
      }
      c.said.erase(0, used);
    }
  }
  void pass_on(const std::string& subject, const std::string& what) {
    ++published_;
    for (const auto& c : callers_) {
      for (const auto& [wanted, number] : c->wants) {
        if (wanted == subject)
          say(*c, "MSG " + subject + " " + number + " " + std::to_string(what.size()) + "\r\n" + what + "\r\n");
      }
    }
  }

  const detail::file_descriptor door_{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
  std::uint16_t port_ = 0;
  mutable std::mutex mutex_;
  std::deque<welcome> next_{welcome::let_in};     // mutex_
  std::vector<std::unique_ptr<caller>> callers_;  // mutex_
  std::size_t published_ = 0;                     // mutex_
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

endocrine_options through(const scripted_server& server) {
  endocrine_options o;
  o.server = server.url();
  o.nats.connect_timeout = 90s;  // more than eventually(): what waits for it is found out
  o.nats.time_to_live = 60s;
  o.nats.heartbeat = 30s;
  o.nats.reconnect_wait = 1ms;
  o.storm.sender.per_second = 0;
  o.storm.subject.per_second = 0;
  return o;
}

}  // namespace

TEST_CASE("a bus goes on publishing while it waits for a new connection to hear by, and then hears again") {
  using welcome = scripted_server::welcome;
  scripted_server server;
  diary heard;
  runtime rt(quiet());
  endocrine bus(rt, through(server));
  diary others;
  REQUIRE(bus.subscribe<heat>(rt.spawn<listener>(others), "c.d"));
  REQUIRE(bus.await_subscriptions(long_time));
  REQUIRE(bus.subscribe<heat>(rt.spawn<listener>(heard), "a.b"));
  REQUIRE(bus.await_subscriptions(long_time));
  REQUIRE(server.numbers_for("a.b") == std::vector<std::string>{"2"});
  // Refused twice, nats.c gives up; who calls next is the bus.
  server.next({welcome::refuse, welcome::refuse, welcome::keep_waiting});
  server.drop(true);
  REQUIRE(eventually([&] { return server.waiting() == 1; }));
  CHECK_FALSE(bus.connected());
  for (int i = 0; i < 10; ++i) CHECK(bus.publish("a.b", heat{i}) == publish_result::accepted);
  CHECK(eventually([&] { return server.published() == 10; }));
  CHECK(bus.metrics().lost_expired == 0);
  CHECK_FALSE(bus.connected());
  server.let_in();
  REQUIRE(eventually([&] { return bus.connected(); }));
  REQUIRE(bus.await_subscriptions(long_time));
  REQUIRE(bus.publish("a.b", heat{10}) == publish_result::accepted);
  REQUIRE(heard.has(1));
  CHECK(heard.lines() == lines{"heat 10"});  // nothing was kept
  // nats.c would have kept the numbers; the bus has subscribed anew, in the order of the patterns.
  CHECK(server.numbers_for("a.b") == std::vector<std::string>{"1"});
  CHECK(server.numbers_for("c.d") == std::vector<std::string>{"2"});
  check_sums(bus, true);
}

TEST_CASE("a bus that ends while it waits for a new connection waits for that to fail, and leaves nothing behind") {
  using welcome = scripted_server::welcome;
  scripted_server server;
  diary heard;
  runtime rt(quiet());
  endocrine_options o = through(server);
  o.nats.connect_timeout = 3s;
  auto bus = std::make_unique<endocrine>(rt, o);
  REQUIRE(bus->subscribe<heat>(rt.spawn<listener>(heard), "a.b"));
  REQUIRE(bus->await_subscriptions(long_time));
  server.next({welcome::refuse, welcome::refuse, welcome::keep_waiting});
  server.drop(true);
  REQUIRE(eventually([&] { return server.waiting() == 1; }));
  bus.reset();
  CHECK(eventually([&] { return server.callers() == 0; }));
  // Slept, since nothing tells that nobody calls again: twice as long as nats.c would wait to (reconnect_wait and 50 ms at the most).
  std::this_thread::sleep_for(100ms);
  CHECK(server.callers() == 0);
}

TEST_CASE("a bus whose connection to send by is lost refuses what is published until it is there again") {
  using welcome = scripted_server::welcome;
  scripted_server server;
  diary heard;
  runtime rt(quiet());
  endocrine bus(rt, through(server));
  REQUIRE(bus.subscribe<heat>(rt.spawn<listener>(heard), "a.b"));
  REQUIRE(bus.await_subscriptions(long_time));
  server.next({welcome::keep_waiting});
  server.drop(false);
  CHECK(eventually([&] { return bus.publish("a.b", heat{1}) == publish_result::disconnected; }));
  CHECK_FALSE(bus.connected());
  server.let_in();
  CHECK(eventually([&] { return ok(bus.publish("a.b", heat{2})) && heard.size() != 0; }));
  check_sums(bus, true);
}
