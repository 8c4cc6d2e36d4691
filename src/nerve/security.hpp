// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <karyon/core/export.hpp>
#include <karyon/core/result.hpp>

namespace karyon::detail {

/// A CURVE key, public or secret (Curve25519).
using curve_key = std::array<std::uint8_t, 32>;

struct curve_pair {
  curve_key open{};  // the public one
  curve_key secret{};
};

/// 64 hexadecimal digits. libzmq's own form, Z85, has characters that shells and comments take for theirs.
[[nodiscard]] KARYON_API std::string to_hex(const curve_key& key);
[[nodiscard]] KARYON_API std::optional<curve_key> key_from_hex(std::string_view text) noexcept;

/// A new pair, from the system's random source. `unsupported` where libzmq was built without CURVE.
[[nodiscard]] KARYON_API result<curve_pair> new_pair();
/// Writes a pair to a new file of mode 0600; `already_present` if there is one of this name.
[[nodiscard]] KARYON_API result<void> write_pair(const curve_pair& pair, const std::string& path);
/// Reads what write_pair wrote; `refused` if others than the owner may read it, or if it belongs to somebody else.
[[nodiscard]] KARYON_API result<curve_pair> read_pair(const std::string& path);

/// The public keys that are let in, each with the name of the node that may use it.
class KARYON_API allow_list {
public:
  /// Reads a file of lines `<64 hexadecimal digits> <name or *>`; empty lines and such that begin with # are left out. Any other
  /// line refuses the file: half a list is no list. `refused` too if everybody may write it, or if it belongs to another user
  /// than this one or root.
  [[nodiscard]] static result<allow_list> read(const std::string& path);

  [[nodiscard]] bool has(const curve_key& key) const noexcept;
  /// Whether the owner of this key may be the node of this id.
  [[nodiscard]] bool allows(const curve_key& key, std::uint64_t node) const noexcept;
  [[nodiscard]] std::size_t size() const noexcept { return entries_.size(); }

private:
  struct entry {
    curve_key key{};
    std::uint64_t node = 0;
    bool any_name = false;
  };
  std::vector<entry> entries_;
};

/// A node's id: its name, hashed (FNV-1a, 64 bits); never 0, which is no node.
[[nodiscard]] KARYON_API std::uint64_t node_id_of(std::string_view name) noexcept;

enum class endpoint_kind : std::uint8_t { ipc, tcp };
/// What sort of endpoint this is; invalid_argument with a sentence where it is none that a synapse can use.
[[nodiscard]] KARYON_API result<endpoint_kind> kind_of(std::string_view endpoint);
/// Whether a tcp endpoint's host is the machine itself: 127.x.x.x, ::1 or localhost.
[[nodiscard]] KARYON_API bool is_loopback(std::string_view tcp_endpoint) noexcept;

/// Checks that the folder of an ipc endpoint belongs to this user alone (0700), and makes it if `make` and it is not there.
[[nodiscard]] KARYON_API result<void> check_folder(std::string_view ipc_endpoint, bool make);
/// Whether some process listens on this ipc endpoint. Binding it would take it away from that.
[[nodiscard]] KARYON_API bool is_listened_to(std::string_view ipc_endpoint) noexcept;

}  // namespace karyon::detail
