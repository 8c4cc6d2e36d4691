// SPDX-License-Identifier: Apache-2.0
#include "nerve/overlay_discovery.hpp"

#include <algorithm>
#include <array>
#include <new>
#include <utility>

#include <karyon/nerve/subject.hpp>

#include "nerve/overlay_bus.hpp"

namespace karyon::detail {

namespace {

constexpr std::byte sighting_head[] = {std::byte{0x4B}, std::byte{0x4E}, std::byte{2}};
constexpr std::size_t found_max = 64;
constexpr std::size_t heard_enough = 16;
constexpr std::size_t seldom_alone = 16;
constexpr std::size_t seldom = 64;
constexpr std::uint64_t pause_alone_ns = 900'000'000;  // the ticks come about once a second
constexpr std::uint64_t pause_least_ns = 2'000'000'000;

std::string subject_of(std::string_view compartment) {
  std::string subject = "karyon.nodes." + std::string(compartment);
  if (!is_subject(subject)) {
    throw runtime_error(error(errc::invalid_argument, "the compartment \"" + std::string(compartment) +
                                                          "\" can not be announced at a discovery_server: its name "
                                                          "is no subject"));
  }
  return subject;
}

}  // namespace

std::vector<std::byte> encode_sighting(const node_sighting& s) {
  overlay_envelope e;
  for (const std::string& endpoint : s.endpoints) {
    if (e.places.size() < sighting_endpoints_max) e.places.push_back({s.who, endpoint, s.key});
  }
  std::vector<std::byte> out(std::begin(sighting_head), std::end(sighting_head));
  const std::vector<std::byte> places = encode_envelope(e);
  out.insert(out.end(), places.begin(), places.end());
  return out;
}

bool decode_sighting(std::span<const std::byte> from, node_sighting& to) {
  constexpr std::size_t head = std::size(sighting_head);
  constexpr std::size_t longest = head + 1 + sighting_endpoints_max * (18 + std::tuple_size_v<curve_key> + 255);
  if (from.size() < head || from.size() > longest) return false;
  if (!std::equal(std::begin(sighting_head), std::end(sighting_head), from.begin())) return false;
  overlay_envelope e;
  if (!decode_envelope(from.subspan(head), e) || !e.message.empty()) return false;
  if (e.places.empty() || e.places.size() > sighting_endpoints_max) return false;
  to.who = e.places.front().who;
  to.key = e.places.front().key;
  to.endpoints.clear();
  if (to.who.node == 0 || to.who.incarnation == 0 || to.who.incarnation > latest_incarnation()) return false;
  for (overlay_envelope::place& p : e.places) {
    if (!(p.who == to.who) || p.key != to.key || !can_be_called(p.endpoint)) return false;
    to.endpoints.push_back(std::move(p.endpoint));
  }
  return true;
}

bool is_out_of_reach(std::string_view servers, const std::vector<std::string>& endpoints) {
  const auto is_near = [](std::string_view endpoint) {
    return !endpoint.starts_with("tcp://") || is_loopback(endpoint);
  };
  if (endpoints.empty() || !std::all_of(endpoints.begin(), endpoints.end(), is_near)) return false;
  while (true) {
    const std::size_t comma = servers.find(',');
    std::string_view server = servers.substr(0, comma);
    for (const std::string_view before : {"://", "@"}) {  // a scheme, and a user
      if (const std::size_t at = server.rfind(before); at != server.npos) server.remove_prefix(at + before.size());
    }
    if (!is_loopback("tcp://" + std::string(server))) return true;
    if (comma == servers.npos) return false;
    servers.remove_prefix(comma + 1);
  }
}

overlay_discovery::overlay_discovery(std::string_view compartment, std::uint64_t seed)
    : subject_(subject_of(compartment)), random_(seed) {}

void overlay_discovery::connect(const endocrine_options& options) {
  endocrine_options there = options;
  there.server = std::exchange(there.discovery_server, {});
  server_ = connect_nats(there, *this);
}

void overlay_discovery::listen(const peer_id& self, std::function<bool(const node_sighting&)> may_call) {
  self_ = self;
  may_call_ = std::move(may_call);
  if (server_ != nullptr) server_->listen(subject_);
}

void overlay_discovery::close() noexcept {
  if (server_ != nullptr) server_->close();
}

bool overlay_discovery::due(std::uint64_t now_ns, bool alone) noexcept {
  const std::uint64_t pause_ns = alone ? std::min(pause_alone_ns, pause_ns_) : pause_ns_;
  if (now_ns - announced_ns_ < pause_ns) return false;
  announced_ns_ = now_ns;
  const std::lock_guard lock(mutex_);
  pause_ns_ = pause_least_ns + random_.below(pause_least_ns);
  // Never so seldom that whoever makes up many keeps all others silent.
  const std::size_t heard = std::exchange(heard_since_, 0);
  const std::size_t least = heard / (alone ? seldom_alone : seldom);
  return heard < heard_enough || random_.below(heard) < std::max(heard_enough, least);
}

void overlay_discovery::announce(const node_sighting& me) noexcept {
  if (server_ == nullptr || me.endpoints.empty()) return;
  try {
    if (server_->send(subject_, encode_sighting(me)) == endocrine_carrier::fate::accepted) {
      announced_.fetch_add(1, std::memory_order_relaxed);
    }
  } catch (const std::bad_alloc&) {  // in a few seconds again
  }
}

/// A sample of all that came (Vitter's algorithm R): who announces itself a thousand times a second does not keep out the others.
void overlay_discovery::arrived(std::string_view subject, std::span<const std::byte> frame) noexcept try {
  node_sighting s;
  if (subject != subject_ || !decode_sighting(frame, s)) {
    malformed_.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  if (s.who.node == self_.node) return;
  heard_.fetch_add(1, std::memory_order_relaxed);
  if (may_call_ && !may_call_(s)) {
    not_allowed_.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  const std::lock_guard lock(mutex_);
  const auto known =
      std::find_if(found_.begin(), found_.end(), [&](const node_sighting& f) { return f.who.node == s.who.node; });
  if (known != found_.end()) {
    *known = std::move(s);
    return;
  }
  ++heard_since_;  // others, not how often the same one says it
  ++offered_;
  if (found_.size() < found_max) {
    found_.push_back(std::move(s));
  } else if (const std::size_t at = random_.below(offered_); at < found_.size()) {
    found_[at] = std::move(s);
  }
} catch (const std::bad_alloc&) {  // it is said again
}

std::vector<node_sighting> overlay_discovery::take_found() {
  const std::lock_guard lock(mutex_);
  offered_ = 0;
  std::vector<node_sighting> found = std::exchange(found_, {});
  for (std::size_t i = found.size(); i > 1; --i) std::swap(found[i - 1], found[random_.below(i)]);
  return found;
}

void overlay_discovery::count(carrier_counts& to) const noexcept {
  to.announced = announced_.load(std::memory_order_relaxed);
  to.announcements_heard = heard_.load(std::memory_order_relaxed);
  to.announcements_malformed = malformed_.load(std::memory_order_relaxed);
  to.announcements_not_allowed = not_allowed_.load(std::memory_order_relaxed);
  if (server_ != nullptr) to.disconnects = server_->counts().disconnects;
}

}  // namespace karyon::detail
