// SPDX-License-Identifier: Apache-2.0

// The suite `nerve` with nothing but libzmq: a DEALER in one process, a ROUTER in another, 64 bytes a message.

#include "harness/driver.hpp"
#include "suites/two_processes.hpp"

#include <zmq.h>

#include <array>

namespace {

using namespace karyon::bench;

constexpr std::size_t item_bytes = 64;

enum class way { ipc, tcp, curve };

struct curve_keys {
  std::array<char, 41> open{};
  std::array<char, 41> secret{};
};

void check(int result, char const* sentence) {
  if (result < 0) throw std::runtime_error(std::string{sentence} + ": " + zmq_strerror(zmq_errno()));
}

struct connection {
  void* context = zmq_ctx_new();
  void* socket = nullptr;
  int flags = 0;

  connection(int type, work const& asked)
      : socket(zmq_socket(context, type)), flags(asked.option("spin", 0) != 0 ? ZMQ_DONTWAIT : 0) {
    auto const mark = static_cast<int>(asked.option("hwm", 1000));
    check(zmq_setsockopt(socket, ZMQ_SNDHWM, &mark, sizeof mark), "no mark");
    check(zmq_setsockopt(socket, ZMQ_RCVHWM, &mark, sizeof mark), "no mark");
  }
  void send(void const* bytes, std::size_t size, int more = 0) const {
    for (;;) {
      if (zmq_send(socket, bytes, size, flags | more) >= 0) return;
      if (zmq_errno() != EAGAIN && zmq_errno() != EINTR) check(-1, "sending");
    }
  }
  std::size_t receive(void* bytes, std::size_t size) const {
    for (;;) {
      auto const got = zmq_recv(socket, bytes, size, flags);
      if (got >= 0) return static_cast<std::size_t>(got);
      if (zmq_errno() != EAGAIN && zmq_errno() != EINTR) check(-1, "receiving");
    }
  }
};

/// The far side: sends each message back that begins with 0; of the others it adds up the numbers, and answers the last.
void serve(connection const& c) {
  char name[256];
  std::uint64_t item[item_bytes / 8];
  std::uint64_t sum = 0;
  std::uint64_t seen = 0;
  for (;;) {
    auto const name_bytes = c.receive(name, sizeof name);
    verify(c.receive(item, sizeof item) == item_bytes, "a message of another length");
    if (item[1] == 0) {
      c.send(name, name_bytes, ZMQ_SNDMORE);
      c.send(item, sizeof item);
      continue;
    }
    sum += item[0];
    if (++seen == item[1]) {
      item[0] = sum;
      c.send(name, name_bytes, ZMQ_SNDMORE);
      c.send(item, sizeof item);
      seen = sum = 0;
    }
  }
}

template <class Measure>
figure between_processes(way by, work const& asked, Measure const& measure) {
  private_folder const folder;
  curve_keys server;
  curve_keys client;
  if (by == way::curve) {
    check(zmq_curve_keypair(server.open.data(), server.secret.data()), "no keys");
    check(zmq_curve_keypair(client.open.data(), client.secret.data()), "no keys");
  }
  line_pipe endpoint;
  begin_process([&] {
    endpoint.only_say();
    connection c{ZMQ_ROUTER, asked};
    if (by == way::curve) {
      int const yes = 1;
      check(zmq_setsockopt(c.socket, ZMQ_CURVE_SERVER, &yes, sizeof yes), "no server");
      check(zmq_setsockopt(c.socket, ZMQ_CURVE_SECRETKEY, server.secret.data(), 41), "no key");
    }
    auto const at = by == way::ipc ? "ipc://" + folder.path("b") : std::string{"tcp://127.0.0.1:*"};
    check(zmq_bind(c.socket, at.c_str()), "listening");
    char bound[256];
    std::size_t length = sizeof bound;
    check(zmq_getsockopt(c.socket, ZMQ_LAST_ENDPOINT, bound, &length), "no endpoint");
    endpoint.say(bound);
    serve(c);
  });
  endpoint.only_hear();
  connection const c{ZMQ_DEALER, asked};
  if (by == way::curve) {
    check(zmq_setsockopt(c.socket, ZMQ_CURVE_SERVERKEY, server.open.data(), 41), "no key");
    check(zmq_setsockopt(c.socket, ZMQ_CURVE_PUBLICKEY, client.open.data(), 41), "no key");
    check(zmq_setsockopt(c.socket, ZMQ_CURVE_SECRETKEY, client.secret.data(), 41), "no key");
  }
  check(zmq_connect(c.socket, endpoint.hear().c_str()), "calling");
  return measure(c);
}

figure roundtrip(way by, work const& asked, std::uint64_t percent) {
  return between_processes(by, asked, [&](connection const& c) {
    std::vector<std::int64_t> times;
    std::uint64_t item[item_bytes / 8] = {};
    for (auto const round_trips : {asked.operations / 10 + 1, asked.operations}) {
      times.clear();
      times.reserve(round_trips);
      for (std::uint64_t i = 0; i < round_trips; ++i) {
        auto const begin = now_ns();
        c.send(item, sizeof item);
        verify(c.receive(item, sizeof item) == item_bytes, "a message of another length");
        times.push_back(now_ns() - begin);
      }
    }
    return figure{"us", percentile(times, percent) / 1000};
  });
}

figure rate_of(way by, work const& asked) {
  return between_processes(by, asked, [&](connection const& c) {
    std::int64_t begin = 0;
    std::uint64_t item[item_bytes / 8] = {};
    for (auto const items : {asked.operations / 10 + 1, asked.operations}) {
      begin = now_ns();
      item[1] = items;
      for (std::uint64_t i = 0; i < items; ++i) {
        item[0] = i;
        c.send(item, sizeof item);
      }
      verify(c.receive(item, sizeof item) == item_bytes, "a message of another length");
      verify(item[0] == items * (items - 1) / 2, "items were lost");
    }
    return figure{"/s", 1e9 / per(now_ns() - begin, asked.operations)};
  });
}

constexpr scenario scenarios[] = {
    {"ipc_roundtrip", [](work const& asked) { return roundtrip(way::ipc, asked, 50); }},
    {"ipc_roundtrip_p99", [](work const& asked) { return roundtrip(way::ipc, asked, 99); }},
    {"tcp_roundtrip", [](work const& asked) { return roundtrip(way::tcp, asked, 50); }},
    {"ipc_rate", [](work const& asked) { return rate_of(way::ipc, asked); }},
    {"tcp_rate", [](work const& asked) { return rate_of(way::tcp, asked); }},
    {"curve_rate", [](work const& asked) { return rate_of(way::curve, asked); }},
};

}  // namespace

int main(int argc, char** argv) { drive(argc, argv, scenarios); }
