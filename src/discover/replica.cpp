#include "discover/replica.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include <karyon/discover/member.hpp>

#include "discover/names.hpp"

namespace karyon::detail {

namespace {

// Little-endian: a head of 28 bytes, then the entries.
//
//   0  'K' 'd'          magic
//   2  version          2
//   3  kind             frame_kind
//   4  epoch            u64, not 0
//   12 sequence         u64
//   20 request          u32  (discover, more, sync: the request that it answers)
//   24 count            u32  (delta: entries; sync: 1 if it is the last)
//   28 entries          add u8 (delta), times u32 (sync), member u64, time u64 (not in more), key length u8, key
enum class frame_kind : std::uint8_t { discover = 1, sync, delta, digest, bye, remove, more };
constexpr std::uint8_t frame_version = 2;
constexpr std::size_t entry_head_bytes = 4 + 8 + 8 + 1;
constexpr std::size_t delta_bytes_least = 1 + 8 + 8 + 1 + 1;

class writer {
public:
  writer(frame_kind kind, std::uint64_t epoch, std::uint64_t sequence, std::uint32_t request = 0) {
    bytes_.reserve(64);
    put(std::uint8_t{'K'}), put(std::uint8_t{'d'}), put(frame_version), put(static_cast<std::uint8_t>(kind));
    put(epoch), put(sequence), put(request), put(std::uint32_t{0});
  }
  template <class Number>
  void put(Number n) {
    for (std::size_t i = 0; i < sizeof n; ++i) bytes_.push_back(static_cast<std::byte>(n >> (8 * i) & 0xffu));
  }
  void put_entry(std::string_view key, std::uint64_t member, std::uint64_t time) {
    put(member), put(time), put_key(key);
  }
  void put_key(std::string_view key) {
    put(static_cast<std::uint8_t>(key.size()));
    const auto* const first = reinterpret_cast<const std::byte*>(key.data());
    bytes_.insert(bytes_.end(), first, first + key.size());
  }
  void set_count(std::uint32_t n) {
    for (std::size_t i = 0; i < 4; ++i) bytes_[24 + i] = static_cast<std::byte>(n >> (8 * i) & 0xffu);
  }
  [[nodiscard]] std::size_t size() const noexcept { return bytes_.size(); }
  [[nodiscard]] std::shared_ptr<const std::vector<std::byte>> take() {
    return std::make_shared<const std::vector<std::byte>>(std::move(bytes_));
  }

private:
  std::vector<std::byte> bytes_;
};

}  // namespace

struct replica::frame_in {
  std::span<const std::byte> rest;
  frame_kind kind = frame_kind::discover;
  std::uint64_t epoch = 0;
  std::uint64_t sequence = 0;
  std::uint32_t request = 0;
  std::uint32_t count = 0;
  bool fine = true;

  explicit frame_in(std::span<const std::byte> bytes) noexcept : rest(bytes) {
    const bool magic = get<std::uint8_t>() == 'K' && get<std::uint8_t>() == 'd' && get<std::uint8_t>() == frame_version;
    const auto k = get<std::uint8_t>();
    epoch = get<std::uint64_t>();
    sequence = get<std::uint64_t>();
    request = get<std::uint32_t>();
    count = get<std::uint32_t>();
    fine = fine && magic && k >= 1 && k <= 7 && epoch != 0;
    kind = static_cast<frame_kind>(k);
  }
  template <class Number>
  Number get() noexcept {
    if (rest.size() < sizeof(Number)) {
      fine = false;
      return 0;
    }
    Number n = 0;
    for (std::size_t i = 0; i < sizeof n; ++i) {
      n = static_cast<Number>(n | static_cast<Number>(static_cast<Number>(rest[i]) << (8 * i)));
    }
    rest = rest.subspan(sizeof n);
    return n;
  }
  std::string_view get_key() noexcept {
    const std::size_t n = get<std::uint8_t>();
    if (!fine || n == 0 || rest.size() < n) {
      fine = false;
      return {};
    }
    const std::string_view key(reinterpret_cast<const char*>(rest.data()), n);
    rest = rest.subspan(n);
    fine = is_utf8(key);
    return key;
  }
};

const replica::entries* replica::of(std::uint64_t node) const noexcept {
  const known_peer* const p = find(node);
  return p != nullptr ? &p->view : nullptr;
}

std::size_t replica::place_of(std::uint64_t node) const noexcept {
  const auto at = std::lower_bound(peers_.begin(), peers_.end(), node,
                                   [](const numbered_peer& p, std::uint64_t wanted) { return p.node < wanted; });
  return static_cast<std::size_t>(at - peers_.begin());
}

bool replica::apply(entries& to, const replica_op& op, std::size_t& bytes) {
  if (op.add) {
    const auto [place, fresh] = to.try_emplace({op.key, op.member});
    if (fresh) bytes += bytes_of(op.key);
    value& v = place->second;
    ++v.times;
    v.time = op.time;
    return true;
  }
  const auto found = to.find({op.key, op.member});
  if (found == to.end()) return false;
  if (--found->second.times == 0) {
    to.erase(found);
    bytes -= bytes_of(op.key);
  }
  return true;
}

// ---- events --------------------------------------------------------------------------------------------------------

void replica::peer_up(const peer& who, replica_effects& fx) {
  const std::size_t place = place_of(who.node);
  if (place == peers_.size() || peers_[place].node != who.node) {
    peers_.insert(peers_.begin() + static_cast<std::ptrdiff_t>(place), {who.node, std::make_unique<known_peer>()});
  }
  known_peer& p = *peers_[place].known;
  if (p.incarnation != who.incarnation) {
    replace(who.node, p, {}, fx);
    p = {};
    p.incarnation = who.incarnation;
  }
  discover(who, p, fx);
}

void replica::peer_down(const peer& who, replica_effects& fx) {
  known_peer* const p = find(who.node);
  if (p == nullptr || p->incarnation != who.incarnation) return;
  replace(who.node, *p, {}, fx);
  peers_.erase(peers_.begin() + static_cast<std::ptrdiff_t>(place_of(who.node)));
}

void replica::received(const peer& from, std::span<const std::byte> bytes, replica_effects& fx) {
  known_peer* const known = find(from.node);
  if (known == nullptr || known->incarnation != from.incarnation) return;  // late, of a life that is over
  known_peer& p = *known;
  frame_in in(bytes);
  if (!in.fine) {
    ++malformed_;
    return;
  }
  if (in.kind == frame_kind::bye) {
    if (in.epoch == p.epoch) adopt(from.node, p, 0, fx);
    return;
  }
  if (in.kind == frame_kind::remove) {
    const std::string_view key = in.get_key();
    if (!in.fine) {
      ++malformed_;
      return;
    }
    fx.requests.push_back({from.node, std::string(key)});
    return;
  }
  if (in.epoch != p.epoch) adopt(from.node, p, in.epoch, fx);
  switch (in.kind) {
    case frame_kind::discover:
      send_sync(from, in.request, nullptr, fx);
      compare(from, p, in.sequence, fx);
      break;
    case frame_kind::more: {
      entry_key behind;
      behind.second = in.get<std::uint64_t>();
      behind.first = in.get_key();
      if (!in.fine) break;
      send_sync(from, in.request, &behind, fx);
      compare(from, p, in.sequence, fx);
      break;
    }
    case frame_kind::sync: take_sync(from, p, in, fx); break;
    case frame_kind::delta: take_delta(from, p, in, fx); break;
    default: compare(from, p, in.sequence, fx); break;
  }
  if (!in.fine) ++malformed_;
}

void replica::tick(replica_effects& fx) {
  std::shared_ptr<const std::vector<std::byte>> digest;
  for (const numbered_peer& one : peers_) {
    known_peer& p = *one.known;
    const std::uint64_t node = one.node;
    p.asked = false;
    const peer to{node, p.incarnation};
    if (p.pulling && p.pulling->begun && !std::exchange(p.pulling->moved, false)) {
      ask_for_more(to, p, fx);
    } else if (p.behind || (p.pulling ? !p.pulling->begun : !p.synced)) {
      discover(to, p, fx);
    } else {
      if (digest == nullptr) digest = writer(frame_kind::digest, epoch_, sequence_).take();
      fx.sends.push_back({to, digest});
    }
  }
}

void replica::local(std::span<const replica_op> ops, replica_effects& fx) {
  // Where memory fails, something may have changed that no frame tells: a number that no frame has makes each peer ask for all.
  struct gap_unless_told {
    std::uint64_t& sequence;
    bool told = false;
    ~gap_unless_told() { sequence += told ? 0 : 1; }
  } gap{sequence_};
  while (!ops.empty()) {
    writer out(frame_kind::delta, epoch_, sequence_ + 1);
    std::uint32_t count = 0;
    for (; !ops.empty(); ops = ops.subspan(1)) {
      const replica_op& op = ops.front();
      if (count != 0 && out.size() + entry_head_bytes + op.key.size() > limits_.frame_bytes) break;
      if (!apply(own_, op, own_bytes_)) continue;
      out.put(static_cast<std::uint8_t>(op.add ? 1 : 0));
      out.put_entry(op.key, op.member, op.time);
      ++count;
    }
    if (count == 0) break;
    out.set_count(count);
    ++sequence_;
    const auto bytes = out.take();
    for (const numbered_peer& p : peers_) fx.sends.push_back({{p.node, p.known->incarnation}, bytes});
  }
  gap.told = true;
}

void replica::leave(replica_effects& fx) {
  own_.clear();
  own_bytes_ = 0;
  const auto bytes = writer(frame_kind::bye, epoch_, sequence_).take();
  for (const numbered_peer& p : peers_) fx.sends.push_back({{p.node, p.known->incarnation}, bytes});
}

void replica::ask_remove(std::uint64_t node, std::string_view key, replica_effects& fx) {
  const known_peer* const p = find(node);
  if (p == nullptr) return;
  writer out(frame_kind::remove, epoch_, sequence_);
  out.put_key(key);
  fx.sends.push_back({{node, p->incarnation}, out.take()});
}

// ---- what follows from them ----------------------------------------------------------------------------------------

/// All of the peer's entries from the beginning.
void replica::discover(const peer& to, known_peer& p, replica_effects& fx) {
  // Asked once more, it has the same number: where answers take longer than a tick, the first that comes counts.
  const std::uint32_t request = p.pulling && !p.pulling->begun ? p.pulling->request : ++requests_;
  p.pulling.reset();
  p.behind = p.asked;
  if (std::exchange(p.asked, true)) return;
  auto fresh = std::make_unique<pull>();
  fresh->request = request;
  p.pulling = std::move(fresh);
  fx.sends.push_back({to, writer(frame_kind::discover, epoch_, sequence_, request).take()});
}

void replica::ask_for_more(const peer& to, known_peer& p, replica_effects& fx) {
  writer out(frame_kind::more, epoch_, sequence_, p.pulling->request);
  out.put(p.pulling->last.second);
  out.put_key(p.pulling->last.first);
  fx.sends.push_back({to, out.take()});
}

void replica::compare(const peer& with, known_peer& p, std::uint64_t sequence, replica_effects& fx) {
  if (p.pulling && !p.pulling->begun) return;  // what will come has it
  const bool known = p.pulling ? sequence <= p.pulling->sequence : p.synced && sequence <= p.sequence;
  if (!known) discover(with, p, fx);
}

/// The peer's scope has begun another life: what is known of the one before is over.
void replica::adopt(std::uint64_t node, known_peer& p, std::uint64_t epoch, replica_effects& fx) const {
  // What was asked for at the beginning of this life is still to come.
  const bool waits = p.epoch == 0 && p.pulling && !p.pulling->begun;
  replace(node, p, {}, fx);
  p.epoch = epoch;
  p.sequence = 0;
  p.synced = false;
  p.view_count = 0;
  p.view_bytes = 0;
  if (!waits) p.pulling.reset();
}

void replica::send_sync(const peer& to, std::uint32_t request, const entry_key* behind, replica_effects& fx) const {
  writer out(frame_kind::sync, epoch_, sequence_, request);
  auto i = behind != nullptr ? own_.upper_bound(*behind) : own_.begin();
  for (bool any = false; i != own_.end(); ++i, any = true) {
    if (any && out.size() + entry_head_bytes + i->first.first.size() > limits_.frame_bytes) break;
    out.put(i->second.times);
    out.put_entry(i->first.first, i->first.second, i->second.time);
  }
  out.set_count(i == own_.end() ? 1 : 0);
  fx.sends.push_back({to, out.take()});
}

void replica::take_sync(const peer& from, known_peer& p, frame_in& in, replica_effects& fx) {
  if (!p.pulling || in.request != p.pulling->request) return;
  pull& got = *p.pulling;
  if (!got.begun && p.synced && in.sequence < p.sequence) return p.pulling.reset();  // overtaken by later changes
  // In between, changes were lost: what has come may be another's state.
  if (got.begun && in.sequence != got.sequence) return discover(from, p, fx);
  got.sequence = in.sequence;
  while (!in.rest.empty() && in.fine) {
    const auto times = in.get<std::uint32_t>();
    const auto member = in.get<std::uint64_t>();
    const auto time = in.get<std::uint64_t>();
    entry_key key(in.get_key(), member);
    const std::size_t bytes = bytes_of(key.first);
    in.fine = in.fine && times != 0 && times <= limits_.entries_max - got.count && time <= limits_.time_max &&
              got.bytes + bytes <= limits_.bytes_max && (!got.begun || got.last < key);
    if (!in.fine) return p.pulling.reset();
    got.incoming.emplace_hint(got.incoming.end(), key, value{times, time});
    got.count += times;
    got.bytes += bytes;
    got.last = std::move(key);
    got.begun = true;
  }
  if (in.count != 1) {
    in.fine = in.fine && got.begun;  // one without entries is the last
    if (!in.fine) return p.pulling.reset();
    got.moved = true;
    got.request = ++requests_;
    return ask_for_more(from, p, fx);
  }
  replace(from.node, p, std::move(got.incoming), fx);
  p.view_count = got.count;
  p.view_bytes = got.bytes;
  p.sequence = got.sequence;
  p.synced = true;
  p.asked = false;
  p.behind = false;
  p.pulling.reset();
}

replica_op replica::next_op(frame_in& in) {
  replica_op op;
  op.add = in.get<std::uint8_t>() != 0;
  op.member = in.get<std::uint64_t>();
  op.time = in.get<std::uint64_t>();
  op.key = in.get_key();
  return op;
}

void replica::take_delta(const peer& from, known_peer& p, frame_in& in, replica_effects& fx) {
  if (p.pulling && p.pulling->begun) return take_delta_of_pull(from, p, in, fx);
  if (p.synced && in.sequence <= p.sequence) return;
  if (!p.synced || in.sequence != p.sequence + 1) return compare(from, p, in.sequence, fx);
  // So that what is applied is said as well.
  fx.changes.reserve(fx.changes.size() + std::min<std::size_t>(in.count, in.rest.size() / delta_bytes_least));
  for (std::uint32_t i = 0; i < in.count; ++i) {
    replica_op op = next_op(in);
    in.fine = in.fine && fits(op, p.view_count, p.view_bytes);
    if (!in.fine) {
      p.synced = false;  // a part of it may have been applied
      return;
    }
    if (!apply(p.view, op, p.view_bytes)) continue;
    p.view_count = op.add ? p.view_count + 1 : p.view_count - 1;
    fx.changes.push_back({from.node, op.add, std::move(op.key), op.member, op.time, 1});
  }
  p.sequence = in.sequence;
}

void replica::take_delta_of_pull(const peer& from, known_peer& p, frame_in& in, replica_effects& fx) {
  pull& got = *p.pulling;
  if (in.sequence <= got.sequence) return;
  if (in.sequence != got.sequence + 1) return discover(from, p, fx);
  for (std::uint32_t i = 0; i < in.count; ++i) {
    const replica_op op = next_op(in);
    in.fine = in.fine && fits(op, got.count, got.bytes);
    if (!in.fine) return p.pulling.reset();
    if (got.last < entry_key(op.key, op.member) || !apply(got.incoming, op, got.bytes)) continue;
    got.count = op.add ? got.count + 1 : got.count - 1;
  }
  got.sequence = in.sequence;
}

/// The new entries in place of those that were known, and what differs as changes: so who watches sees a difference only.
void replica::replace(std::uint64_t node, known_peer& p, entries fresh, replica_effects& fx) {
  auto before = p.view.begin();
  auto after = fresh.begin();
  const auto say = [&](bool added, const entries::value_type& e, std::uint32_t times) {
    fx.changes.push_back({node, added, e.first.first, e.first.second, e.second.time, times});
  };
  // All of it is said, or nothing.
  struct unless_done {
    std::vector<replica_change>& changes;
    std::size_t as_before;
    ~unless_done() { changes.resize(std::min(changes.size(), as_before)); }
  } said{fx.changes, fx.changes.size()};
  while (before != p.view.end() || after != fresh.end()) {
    if (after == fresh.end() || (before != p.view.end() && before->first < after->first)) {
      say(false, *before, before->second.times);
      ++before;
    } else if (before == p.view.end() || after->first < before->first) {
      say(true, *after, after->second.times);
      ++after;
    } else {
      const value& was = before->second;
      const value& is = after->second;
      if (was.time != is.time) {
        say(false, *before, was.times);
        say(true, *after, is.times);
      } else if (was.times > is.times) {
        say(false, *before, was.times - is.times);
      } else if (was.times < is.times) {
        say(true, *after, is.times - was.times);
      }
      ++before;
      ++after;
    }
  }
  said.as_before = fx.changes.size();
  p.view = std::move(fresh);
}

}  // namespace karyon::detail
