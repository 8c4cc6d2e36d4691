// SPDX-License-Identifier: Apache-2.0
//
// The suite `organelle` with structures passed as MessagePack, by msgpack-cxx.
#include "peers/encoded_handoff.hpp"

#include <msgpack.hpp>

namespace {

using namespace karyon::bench;

struct msgpack_codec {
  static std::string encode(edge_columns const& edges) {
    msgpack::sbuffer buffer(std::size_t{1} << 20);
    msgpack::packer<msgpack::sbuffer> packer(buffer);
    packer.pack_array(3);
    packer.pack(edges.source);
    packer.pack(edges.target);
    packer.pack(edges.time);
    return {buffer.data(), buffer.size()};
  }
  static edge_columns decode(std::string const& bytes) {
    auto const unpacked = msgpack::unpack(bytes.data(), bytes.size());
    auto const& all = unpacked.get().via.array;
    verify(all.size == 3, "the structure was not packed as three columns");
    edge_columns edges;
    all.ptr[0].convert(edges.source);
    all.ptr[1].convert(edges.target);
    all.ptr[2].convert(edges.time);
    return edges;
  }
};

constexpr scenario scenarios[] = {{"handoff", encoded_handoff<msgpack_codec>}};

}  // namespace

int main(int argc, char** argv) { drive(argc, argv, scenarios); }
