// SPDX-License-Identifier: Apache-2.0
//
// Any bytes at all, as a message from a peer: what the decoder takes lies in them, and comes out as it went in.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "nerve/frame.hpp"
#include "nerve/link_wire.hpp"

namespace {

using namespace karyon::detail;

void hold(bool held, const char* sentence) {
  if (!held) {
    std::fprintf(stderr, "frames_fuzz: %s\n", sentence);
    std::abort();
  }
}

void read_payload(const frame_header& header, std::span<const std::byte> payload) {
  const auto inside = [&](const void* at, std::size_t length) {
    const auto* const p = static_cast<const std::byte*>(at);
    return length == 0 || (p >= payload.data() && p + length <= payload.data() + payload.size());
  };
  if (const auto g = read_link_greeting(payload)) {
    hold(inside(g->endpoint.data(), g->endpoint.size()), "an endpoint leaves the payload");
    hold(inside(g->hello.data(), g->hello.size()), "a hello leaves the payload");
    std::vector<std::byte> again;
    append_link_greeting(again, *g);
    hold(again.size() == frame_header_bytes + payload.size(), "a greeting changes its length");
    hold(std::memcmp(again.data() + frame_header_bytes, payload.data(), payload.size()) == 0, "a greeting changes");
  }
  if (const auto p = read_pulse(payload)) {
    std::vector<std::byte> again;
    append_pulse(again, header.epoch, *p);
    hold(std::memcmp(again.data() + frame_header_bytes, payload.data(), payload.size()) == 0, "a pulse changes");
  }
  static_cast<void>(read_i_am(payload));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::span<const std::byte> rest(reinterpret_cast<const std::byte*>(data), size);
  frame_header header;
  while (decode_frame(rest, 1U << 20U, header) == frame_fault::none) {
    hold(frame_header_bytes + header.length <= rest.size(), "a frame leaves the message");
    std::byte again[frame_header_bytes];
    encode_frame(header, again);
    hold(std::memcmp(again, rest.data(), frame_header_bytes) == 0, "a header changes");
    read_payload(header, rest.subspan(frame_header_bytes, header.length));
    rest = rest.subspan(frame_header_bytes + header.length);
  }
  return 0;
}
