// SPDX-License-Identifier: Apache-2.0
#include "nerve/nats_connection.hpp"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "core/file_descriptor.hpp"
#include "nerve/security.hpp"
#include "nerve/subject_tree.hpp"

namespace karyon::detail {

namespace {

[[noreturn]] void refuse(errc code, const std::string& what) { throw runtime_error(error(code, what)); }

void check(natsStatus s, const char* option) {
  if (s == NATS_OK) return;
  const char* why = nats_GetLastError(nullptr);
  refuse(errc::invalid_argument, std::string("NATS: ") + option + ": " + natsStatus_GetText(s) +
                                     (why != nullptr ? std::string(", ") + why : ""));
}

struct options_deleter {
  void operator()(natsOptions* o) const noexcept { natsOptions_Destroy(o); }
};

/// As a message may name it: without the user and password that a server's URL can have.
std::string name_of(const std::string& server) {
  const std::size_t scheme = server.find("://");
  const std::size_t host = scheme != std::string::npos ? scheme + 3 : 0;
  const std::size_t at = server.rfind('@');
  return at != std::string::npos && at >= host ? server.substr(0, host) + server.substr(at + 1) : server;
}

std::vector<std::string> servers_of(std::string_view given) {
  std::string_view list = given;
  std::vector<std::string> servers;
  while (!list.empty()) {
    const std::size_t comma = list.find(',');
    if (comma != 0) servers.emplace_back(list.substr(0, comma));
    list = comma == std::string_view::npos ? std::string_view() : list.substr(comma + 1);
  }
  for (const std::string& s : servers) {
    if (!s.starts_with("nats://") && !s.starts_with("tls://"))
      refuse(errc::invalid_argument, '"' + name_of(s) + "\" is no server: nats://host:port, or tls://host:port");
  }
  // nats.c would take its own default, a server on this machine.
  if (servers.empty()) refuse(errc::invalid_argument, "\"" + std::string(given) + "\" names no server");
  return servers;
}

/// Signals of one subject must not overtake each other, by whichever of our patterns they come: one thread delivers all.
void open_library() {
  static const natsStatus opened = [] {
    const natsStatus s = nats_Open(-1);
    return s == NATS_OK ? nats_SetMessageDeliveryPoolSize(1) : s;
  }();
  check(opened, "nats_Open");
}

void ignored(natsConnection*, natsSubscription*, natsStatus, void*) {}

/// Of "nats://user:password@host:port", the brackets of an IPv6 address included.
std::string_view host_of(std::string_view server) {
  server.remove_prefix(server.find("://") + 3);
  if (const std::size_t at = server.rfind('@'); at != std::string_view::npos) server.remove_prefix(at + 1);
  const std::size_t bracket = server.starts_with('[') ? server.find(']') : std::string_view::npos;
  return server.substr(0, bracket != std::string_view::npos ? bracket + 1 : server.find_first_of(":/"));
}

/// A secret is its owner's alone. Where that is somebody else, a group may read it: the one by which it was handed to this process, as
/// Kubernetes does it, whose files can not be changed.
void check_private(const struct stat& about, const char* option, const std::string& path) {
  const bool own = about.st_uid == ::geteuid();
  if ((about.st_mode & (own ? 077U : 037U)) == 0) return;
  const char* const wrong = own ? "\" is open to others than its owner: chmod 600 it"
                                : "\" is open to more than being read by its owner and group: chmod 440 it";
  refuse(errc::refused,
         std::string("NATS: ") + option + ": \"" + path + wrong + ", and have a new one made if others could read it");
}

/// nats.c opens the file with each connection, and says little of what is wrong with it.
void check_credentials(const std::string& path) {
  const auto wrong = [&](const std::string& why) {
    refuse(errc::invalid_argument, "NATS: credentials_file: \"" + path + "\" " + why);
  };
  // Nothing is waited for: a pipe would keep who opens it.
  const file_descriptor file(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  struct stat about {};
  if (file.get() < 0 || ::fstat(file.get(), &about) != 0)
    wrong("can not be read: " + std::generic_category().message(errno));
  if (!S_ISREG(about.st_mode)) wrong("is no file");
  check_private(about, "credentials_file", path);
  std::vector<char> text(64U << 10U);
  std::size_t size = 0;
  while (size != text.size()) {
    const ssize_t n = ::read(file.get(), text.data() + size, text.size() - size);
    if (n <= 0) break;
    size += static_cast<std::size_t>(n);
  }
  const std::string_view all(text.data(), size);
  const bool has_both = all.find("BEGIN NATS USER JWT") != all.npos && all.find("BEGIN USER NKEY SEED") != all.npos;
  ::explicit_bzero(text.data(), text.size());  // a seed is a secret
  if (!has_both) wrong("has not the token of a user and its seed, as nsc writes them");
}

void configure_security(natsOptions* o, const endocrine_options& options, const std::vector<std::string>& servers) {
  const nats_options& n = options.nats;
  if (!n.credentials_file.empty()) {
    check_credentials(n.credentials_file);
    check(natsOptions_SetUserCredentialsFromFiles(o, n.credentials_file.c_str(), nullptr), "credentials_file");
  }
  if (!n.ca_file.empty()) check(natsOptions_LoadCATrustedCertificates(o, n.ca_file.c_str()), "ca_file");
  if (!n.certificate_file.empty() || !n.key_file.empty()) {
    struct stat about {};
    if (::stat(n.key_file.c_str(), &about) == 0) check_private(about, "key_file", n.key_file);
    check(natsOptions_LoadCertificatesChain(o, n.certificate_file.c_str(), n.key_file.c_str()),
          "certificate_file, key_file");
  }
  const bool asked_for =
      std::any_of(servers.begin(), servers.end(), [](const auto& s) { return s.starts_with("tls"); });
  // Then it is on for all of them.
  if (asked_for || !n.ca_file.empty() || !n.certificate_file.empty()) {
    return check(natsOptions_SetSecure(o, true), "tls");
  }
  if (n.plaintext_beyond_loopback) return;
  for (const std::string& s : servers) {
    const std::string host(host_of(s));
    if (is_loopback("tcp://" + host + ":0")) continue;
    refuse(errc::refused,
           host +
               " is beyond the loopback, where whoever is on the way could read and forge everything: use "
               "TLS (\"tls://...\", ca_file), or set plaintext_beyond_loopback");
  }
  check(natsOptions_SetIgnoreDiscoveredServers(o, true), "plaintext_beyond_loopback");  // they may lie anywhere
}

/// Credentials are shown by signing a word of the server's. nats.c before 3.8.0 leaves out a signature that begins with a zero byte, as one
/// of 256 does, and the server refuses whom it should not. Who calls again has another word to sign; whoever is refused so often is not
/// wanted. nats.c itself calls again when it loses a server.
natsStatus let_in(natsConnection** made, natsOptions* o, bool signs) {
  constexpr std::uint32_t mended_in = 3U << 16U | 8U << 8U;
  const int calls = signs && nats_GetVersionNumber() < mended_in ? 3 : 1;
  natsStatus s = natsConnection_Connect(made, o);
  for (int i = 1; i < calls && s == NATS_CONNECTION_AUTH_FAILED; ++i) s = natsConnection_Connect(made, o);
  return s;
}

}  // namespace

void nats_connection::configure(natsOptions* o, const endocrine_options& options, purpose what, share* closure) {
  const nats_options& n = options.nats;
  const std::vector<std::string> servers = servers_of(options.server);
  std::vector<const char*> names;
  for (const std::string& s : servers) names.push_back(s.c_str());
  check(natsOptions_SetServers(o, names.data(), static_cast<int>(names.size())), "server");
  check(natsOptions_SetTimeout(o, std::max<std::int64_t>(1, n.connect_timeout.count())), "connect_timeout");
  check(natsOptions_SetWriteDeadline(o, std::max<std::int64_t>(1, n.write_timeout.count())), "write_timeout");
  check(natsOptions_SetPingInterval(o, std::max<std::int64_t>(1, n.heartbeat.count())), "heartbeat");
  check(natsOptions_SetMaxPingsOut(o, 2), "heartbeat");
  check(natsOptions_SetMaxReconnect(o, -1), "reconnects");
  check(natsOptions_SetReconnectWait(o, std::max<std::int64_t>(1, n.reconnect_wait.count())), "reconnect_wait");
  check(natsOptions_SetReconnectJitter(o, 50, 50), "reconnect_wait");
  // Nothing is kept for a server that is not there, whatever the header's comment says of 0: tests hold it.
  check(natsOptions_SetReconnectBufSize(o, 0), "no reconnect buffer");
  if (!options.process_name.empty()) check(natsOptions_SetName(o, options.process_name.c_str()), "process_name");
  check(natsOptions_SetDisconnectedCB(o, &disconnected, closure), "callbacks");
  check(natsOptions_SetReconnectedCB(o, &reconnected, closure), "callbacks");
  check(natsOptions_SetClosedCB(o, &closed, closure), "callbacks");
  // Its default writes to the standard error. What is lost is counted (dropped_slow).
  check(natsOptions_SetErrorHandler(o, &ignored, nullptr), "callbacks");
  configure_security(o, options, servers);
  if (what == purpose::sends) {
    check(natsOptions_SetSendAsap(o, true), "writes at once");
  } else {
    check(natsOptions_UseGlobalMessageDelivery(o, true), "one thread for all subscriptions");
  }
}

nats_connection::nats_connection(const endocrine_options& options, purpose what, std::shared_ptr<nats_life> life) {
  open_library();
  natsOptions* raw = nullptr;
  check(natsOptions_Create(&raw), "options");
  const std::unique_ptr<natsOptions, options_deleter> o(raw);
  auto closure = std::make_unique<share>(share{life});
  configure(raw, options, what, closure.get());
  // Before it is there: a callback may come at once.
  life->over.store(false, std::memory_order_relaxed);
  // Release pairs with the acquire of nats_bus::is_up: who sees this sees that the connection is only being made anew (renewing).
  life->up.store(true, std::memory_order_release);
  const natsStatus s = let_in(&connection_, raw, !options.nats.credentials_file.empty());
  if (s != NATS_OK) {
    life->up.store(false, std::memory_order_relaxed);
    // Looked at by the thread that made it, or after that has handed over what came of it (nats_bus::take_over).
    life->over.store(true, std::memory_order_relaxed);
    const char* why = nats_GetLastError(nullptr);
    std::string names;
    for (const std::string& server : servers_of(options.server)) names += (names.empty() ? "" : ",") + name_of(server);
    const std::string& file = options.nats.credentials_file;
    refuse(errc::refused, "the NATS server " + names + " can not be used" +
                              (file.empty() ? std::string() : " with the credentials of \"" + file + '"') + ": " +
                              natsStatus_GetText(s) + (why != nullptr ? std::string(", ") + why : ""));
  }
  static_cast<void>(closure.release());  // closed() frees it, the last of the callbacks
}

nats_connection::~nats_connection() {
  natsConnection_Close(connection_);
  natsConnection_Destroy(connection_);
}

void nats_connection::disconnected(natsConnection*, void* closure) {
  nats_life& l = *static_cast<share*>(closure)->of;
  l.up.store(false, std::memory_order_relaxed);
  l.gate->disconnects.fetch_add(1, std::memory_order_relaxed);
}

void nats_connection::reconnected(natsConnection*, void* closure) {
  static_cast<share*>(closure)->of->up.store(true, std::memory_order_release);  // as the constructor: partner is is_up
}

void nats_connection::closed(natsConnection*, void* closure) {
  const std::unique_ptr<share> last(static_cast<share*>(closure));
  last->of->up.store(false, std::memory_order_relaxed);
  // Release pairs with the acquires of nats_bus::renew: whoever sees it over says `up` after this has said that it is not.
  last->of->over.store(true, std::memory_order_release);
}

}  // namespace karyon::detail
