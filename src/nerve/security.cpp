// SPDX-License-Identifier: Apache-2.0
#include "nerve/security.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <zmq.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include "core/file_descriptor.hpp"

namespace karyon::detail {

namespace {

constexpr std::string_view ipc_scheme = "ipc://";
constexpr std::string_view tcp_scheme = "tcp://";
constexpr std::size_t z85_characters = 40;
constexpr std::size_t file_bytes_max = 1U << 20U;

tl::unexpected<error> system_failure(const std::string& what) {
  return fail(errc::system_error, what + ": " + std::strerror(errno));
}

std::string folder_of(std::string_view ipc_endpoint) {
  const std::string_view path = ipc_endpoint.substr(ipc_scheme.size());
  const std::size_t slash = path.rfind('/');
  return std::string(path.substr(0, slash == 0 ? 1 : slash));
}

int digit_value(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

result<std::string> content(int fd, const std::string& path) {
  std::string text;
  char buffer[4096];
  for (ssize_t got = 0; (got = ::read(fd, buffer, sizeof buffer)) != 0;) {
    if (got < 0) return system_failure("Reading " + path + " failed");
    text.append(buffer, static_cast<std::size_t>(got));
    if (text.size() > file_bytes_max) return fail(errc::refused, path + " is longer than a file of keys can be.");
  }
  return text;
}

}  // namespace

std::string to_hex(const curve_key& key) {
  constexpr char digits[] = "0123456789abcdef";
  std::string text;
  for (const std::uint8_t byte : key) {
    text.push_back(digits[byte >> 4U]);
    text.push_back(digits[byte & 0x0FU]);
  }
  return text;
}

std::optional<curve_key> key_from_hex(std::string_view text) noexcept {
  curve_key key{};
  if (text.size() != 2 * key.size()) return std::nullopt;
  for (std::size_t i = 0; i < key.size(); ++i) {
    const int high = digit_value(text[2 * i]);
    const int low = digit_value(text[2 * i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    key[i] = static_cast<std::uint8_t>(high * 16 + low);
  }
  return key;
}

result<curve_pair> new_pair() {
  char open[z85_characters + 1] = {};
  char secret[z85_characters + 1] = {};
  if (zmq_curve_keypair(open, secret) != 0) {
    return fail(errc::unsupported, "This libzmq can not make keys: it was built without CURVE.");
  }
  curve_pair pair;
  if (zmq_z85_decode(pair.open.data(), open) == nullptr || zmq_z85_decode(pair.secret.data(), secret) == nullptr) {
    return fail(errc::unsupported, "This libzmq made a key that is none.");
  }
  return pair;
}

result<void> write_pair(const curve_pair& pair, const std::string& path) {
  const file_descriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (file.get() < 0) {
    if (errno == EEXIST) return fail(errc::already_present, path + " is there already, and is not overwritten.");
    return system_failure("Creating " + path + " failed");
  }
  const std::string text = "# A Karyon node's keys. The secret one is to leave this file for nowhere.\npublic " +
                           to_hex(pair.open) + "\nsecret " + to_hex(pair.secret) + "\n";
  if (::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) || ::fsync(file.get()) != 0) {
    const auto failure = system_failure("Writing " + path + " failed");
    ::unlink(path.c_str());
    return failure;
  }
  return {};
}

result<curve_pair> read_pair(const std::string& path) {
  const file_descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (file.get() < 0) return system_failure("Opening " + path + " failed");
  struct stat about {};
  if (::fstat(file.get(), &about) != 0) return system_failure("Looking at " + path + " failed");
  if (!S_ISREG(about.st_mode)) return fail(errc::refused, path + " is not a plain file.");
  if (about.st_uid != ::geteuid()) return fail(errc::refused, path + " belongs to another user.");
  if ((about.st_mode & 077U) != 0) {
    return fail(errc::refused,
                path + " may be read by others than its owner; chmod 600 it, and make new keys if they could.");
  }
  const auto text = content(file.get(), path);
  if (!text) return tl::unexpected<error>(text.error());
  std::optional<curve_key> open;
  std::optional<curve_key> secret;
  std::istringstream lines(*text);
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind("public ", 0) == 0) open = key_from_hex(std::string_view(line).substr(7));
    if (line.rfind("secret ", 0) == 0) secret = key_from_hex(std::string_view(line).substr(7));
  }
  if (!open || !secret)
    return fail(errc::invalid_argument, path + " holds no pair of keys as `karyon keys generate` writes it.");
  return curve_pair{*open, *secret};
}

result<allow_list> allow_list::read(const std::string& path) {
  const file_descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.get() < 0) return system_failure("Opening " + path + " failed");
  struct stat about {};
  if (::fstat(file.get(), &about) != 0) return system_failure("Looking at " + path + " failed");
  if (!S_ISREG(about.st_mode)) return fail(errc::refused, path + " is not a plain file.");
  // Who can write the list lets in whom they like.
  if (about.st_uid != ::geteuid() && about.st_uid != 0) return fail(errc::refused, path + " belongs to another user.");
  if ((about.st_mode & S_IWOTH) != 0) return fail(errc::refused, path + " may be written by everybody; chmod o-w it.");
  const auto text = content(file.get(), path);
  if (!text) return tl::unexpected<error>(text.error());
  allow_list list;
  std::istringstream lines(*text);
  std::size_t number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    if (line.empty() || line[0] == '#') continue;
    std::istringstream words(line);
    std::string key;
    std::string name;
    std::string more;
    words >> key >> name;
    const auto parsed = key_from_hex(key);
    if (!parsed || name.empty() || (words >> more)) {
      return fail(errc::invalid_argument, path + ", line " + std::to_string(number) +
                                              ": not a key of 64 hexadecimal digits and the name of a node (or *).");
    }
    list.entries_.push_back({*parsed, node_id_of(name), name == "*"});
  }
  return list;
}

bool allow_list::has(const curve_key& key) const noexcept {
  return std::any_of(entries_.begin(), entries_.end(), [&](const entry& e) { return e.key == key; });
}

bool allow_list::allows(const curve_key& key, std::uint64_t node) const noexcept {
  return std::any_of(entries_.begin(), entries_.end(),
                     [&](const entry& e) { return e.key == key && (e.any_name || e.node == node); });
}

std::uint64_t node_id_of(std::string_view name) noexcept {
  std::uint64_t hash = 0xcbf2'9ce4'8422'2325;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x0000'0100'0000'01b3;
  return hash != 0 ? hash : 1;
}

result<endpoint_kind> kind_of(std::string_view endpoint) {
  if (endpoint.size() > 256) return fail(errc::invalid_argument, "An endpoint has 256 characters at most.");
  if (endpoint.rfind(ipc_scheme, 0) == 0) {
    const std::string_view path = endpoint.substr(ipc_scheme.size());
    if (path.empty() || path.front() != '/' || path.back() == '/' || path.size() >= sizeof(sockaddr_un::sun_path)) {
      return fail(errc::invalid_argument,
                  "\"" + std::string(endpoint) +
                      "\": an ipc endpoint is ipc:// and an absolute path of at most 107 characters.");
    }
    return endpoint_kind::ipc;
  }
  if (endpoint.rfind(tcp_scheme, 0) == 0 && endpoint.find(':', tcp_scheme.size()) != std::string_view::npos) {
    return endpoint_kind::tcp;
  }
  return fail(errc::invalid_argument,
              "\"" + std::string(endpoint) + "\" is no endpoint: ipc:///folder/name or tcp://host:port is needed.");
}

bool is_loopback(std::string_view tcp_endpoint) noexcept {
  const std::string_view address = tcp_endpoint.substr(tcp_scheme.size());
  const std::string_view host = address.substr(0, address.rfind(':'));
  if (host == "localhost" || host == "[::1]" || host == "::1") return true;
  // Digits and dots only: 127.0.0.1.example.org is not this machine.
  return host.rfind("127.", 0) == 0 && host.find_first_not_of("0123456789.") == std::string_view::npos;
}

result<void> check_folder(std::string_view ipc_endpoint, bool make) {
  const std::string folder = folder_of(ipc_endpoint);
  if (make && ::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) {
    return system_failure("Making the folder " + folder + " failed");
  }
  struct stat about {};
  if (::lstat(folder.c_str(), &about) != 0) return system_failure("Looking at the folder " + folder + " failed");
  if (!S_ISDIR(about.st_mode)) return fail(errc::refused, folder + " is not a folder.");
  if (about.st_uid != ::geteuid()) return fail(errc::refused, "The folder " + folder + " belongs to another user.");
  if ((about.st_mode & 077U) != 0) {
    return fail(errc::refused, "The folder " + folder + " is open to others than its owner; chmod 700 it.");
  }
  return {};
}

bool is_listened_to(std::string_view ipc_endpoint) noexcept {
  const std::string_view path = ipc_endpoint.substr(ipc_scheme.size());
  sockaddr_un address{};
  if (path.size() >= sizeof address.sun_path) return false;
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  const file_descriptor probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (probe.get() < 0) return false;
  return ::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 || errno == EAGAIN;
}

}  // namespace karyon::detail
