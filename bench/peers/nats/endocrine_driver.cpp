// SPDX-License-Identifier: Apache-2.0
//
// Bare nats.c for the suite endocrine: the round trip that Karyon's bus makes, with the same connections and options.
#include <nats/nats.h>

#include <vector>

#include "harness/driver.hpp"
#include "suites/nats_process.hpp"

namespace {

using namespace karyon::bench;

gate arrived;

void check(natsStatus s) { verify(s == NATS_OK, natsStatus_GetText(s)); }

natsConnection* connect(std::string const& url, bool sends) {
  natsOptions* options = nullptr;
  check(natsOptions_Create(&options));
  check(natsOptions_SetURL(options, url.c_str()));
  check(natsOptions_SetSendAsap(options, sends));
  natsConnection* connection = nullptr;
  check(natsConnection_Connect(&connection, options));
  natsOptions_Destroy(options);
  return connection;
}

figure nats_roundtrip(work const& asked) {
  nats_process const server;
  natsConnection* const out = connect(server.url(), true);
  natsConnection* const in = connect(server.url(), false);
  natsSubscription* ping = nullptr;
  natsSubscription* pong = nullptr;
  check(natsConnection_Subscribe(
      &ping, in, "ping",
      [](natsConnection*, natsSubscription*, natsMsg* m, void* to) {
        check(natsConnection_Publish(static_cast<natsConnection*>(to), "pong", natsMsg_GetData(m),
                                     natsMsg_GetDataLength(m)));
        natsMsg_Destroy(m);
      },
      out));
  check(natsConnection_Subscribe(
      &pong, in, "pong",
      [](natsConnection*, natsSubscription*, natsMsg* m, void*) {
        natsMsg_Destroy(m);
        arrived.arrive();
      },
      nullptr));
  check(natsConnection_Flush(in));
  std::vector<std::int64_t> samples;
  char bytes[64] = {};
  for (std::uint64_t i = 0; i < asked.operations; ++i) {
    arrived.arm(1);
    auto const begin = now_ns();
    check(natsConnection_Publish(out, "ping", bytes, sizeof bytes));
    arrived.await();
    samples.push_back(now_ns() - begin);
  }
  natsSubscription_Destroy(ping);
  natsSubscription_Destroy(pong);
  natsConnection_Destroy(in);
  natsConnection_Destroy(out);
  return {"us", percentile(samples, 50) / 1000};
}

constexpr scenario scenarios[] = {{"nats_roundtrip", nats_roundtrip}};

}  // namespace

int main(int argc, char** argv) { drive(argc, argv, scenarios); }
