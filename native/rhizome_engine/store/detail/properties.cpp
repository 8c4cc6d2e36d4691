// SPDX-License-Identifier: Apache-2.0
#include "store/detail/properties.hpp"

#include <algorithm>
#include <cstring>
#include <new>

namespace rhizome::detail {

interval property_record::valid() const noexcept {
  interval out;
  if (has_valid != 0) std::memcpy(static_cast<void*>(&out), static_cast<const void*>(this + 1), sizeof out);
  return out;
}

value property_record::data() const {
  switch (kind) {
    case 1: {
      std::int64_t number = 0;
      std::memcpy(&number, payload(), sizeof number);
      return number;
    }
    case 2: {
      double number = 0;
      std::memcpy(&number, payload(), sizeof number);
      return number;
    }
    case 3: return std::string(reinterpret_cast<const char*>(payload()), length);
    default: return {};
  }
}

properties::~properties() {
  for (auto& c : vertices_) std::unique_ptr<vertex_column>(c.load(std::memory_order_relaxed)).reset();
  for (auto& c : arcs_) std::unique_ptr<arc_column>(c.load(std::memory_order_relaxed)).reset();
}

ref properties::make(ref previous, const value& data, const interval& valid, commit_number n) {
  const auto* text = std::get_if<std::string>(&data);
  std::size_t length = text != nullptr ? text->size() : (data.index() == 0 ? 0 : 8);
  bool has_valid = !valid.always();
  ref r = arena_.allocate(property_record::bytes(has_valid, length), memory_use::property);
  if (r == 0) return 0;
  auto* record = new (arena_.at<void>(r)) property_record;
  record->begin = n;
  record->previous.store(previous, std::memory_order_relaxed);
  record->kind = static_cast<std::uint8_t>(data.index());
  record->has_valid = has_valid ? 1 : 0;
  record->unused = 0;
  record->length = static_cast<std::uint32_t>(length);
  if (has_valid) std::memcpy(static_cast<void*>(record + 1), &valid, sizeof valid);
  auto* payload = const_cast<std::byte*>(record->payload());
  if (text != nullptr) {
    std::memcpy(payload, text->data(), length);
  } else if (const auto* whole = std::get_if<std::int64_t>(&data)) {
    std::memcpy(payload, whole, sizeof *whole);
  } else if (const auto* real = std::get_if<double>(&data)) {
    std::memcpy(payload, real, sizeof *real);
  }
  return r;
}

value properties::find(ref head, commit_number t, std::optional<time_us> moment) const {
  for (ref r = head; r != 0;) {
    const auto& record = *arena_.at<property_record>(r);
    if (record.tells(t, moment)) return record.data();
    r = record.previous.load(std::memory_order_relaxed);
  }
  return {};
}

// --- vertices --------------------------------------------------------------------------------------------------------------

bool properties::set(vertex v, property_key key, const value& data, const interval& valid, commit_number n) {
  vertex_column* c = vertices_[key].load(std::memory_order_relaxed);
  if (c == nullptr) {
    auto fresh = std::make_unique<vertex_column>();
    if (!fresh->heads.reserve(options_.vertices_max, {options_.huge_pages, options_.numa_node})) return false;
    c = fresh.release();
    vertices_[key].store(c, std::memory_order_release);  // partner: column()'s acquire
  }
  if (!c->heads.ensure(std::size_t{v} + 1)) return false;
  c->usable.store(c->heads.usable(), std::memory_order_release);  // partner: head()'s acquire; the heads are there
  if (v >= c->used) {
    column_bytes_ += (v + std::size_t{1} - c->used) * sizeof(ref);
    c->used = v + std::size_t{1};
  }
  ref r = make(c->heads[v].load(std::memory_order_relaxed), data, valid, n);
  if (r == 0) return false;
  c->heads[v].store(r, std::memory_order_release);  // partner: head()'s acquire
  return true;
}

std::size_t properties::claim(vertex v, property_key key) {
  const vertex_column* c = vertices_[key].load(std::memory_order_relaxed);
  const std::size_t used = c == nullptr ? 0 : c->used;
  const std::size_t wanted = v + std::size_t{1};
  if (wanted <= used) return 0;
  if (claims_.empty()) claims_.resize(property_keys_max);
  std::size_t& claimed = claims_[key];
  if (claimed == 0) claimed_.push_back(key);
  const std::size_t before = std::max(claimed, used);
  if (wanted <= before) return 0;
  claimed = wanted;
  return (wanted - before) * sizeof(ref);
}

void properties::forget_claims() noexcept {
  for (property_key key : claimed_) claims_[key] = 0;
  claimed_.clear();
}

ref properties::head(vertex v, property_key key) const noexcept {
  // The caller's v has been checked against its snapshot, but not against the column, which grows when something is set.
  const vertex_column* c = column(key);
  // Acquires pair with set's releases: the memory of the heads is there, and the record and all versions before it.
  if (c == nullptr || v >= c->usable.load(std::memory_order_acquire)) return 0;
  return c->heads[v].load(std::memory_order_acquire);
}

commit_number properties::changed(vertex v, property_key key) const {
  ref r = head(v, key);
  return r == 0 ? 0 : arena_.at<property_record>(r)->begin;
}

value properties::at(vertex v, property_key key, commit_number t, std::optional<time_us> moment) const {
  return find(head(v, key), t, moment);
}

bool properties::newest_answers(vertex v, property_key key, commit_number t,
                                std::optional<time_us> moment) const noexcept {
  ref r = head(v, key);
  return r == 0 || arena_.at<property_record>(r)->tells(t, moment);
}

std::vector<property_version> properties::history(ref newest, commit_number t) const {
  std::vector<property_version> out;
  for (ref r = newest; r != 0;) {
    const auto& record = *arena_.at<property_record>(r);
    if (record.begin <= t) out.push_back({record.begin, record.valid(), record.data()});
    r = record.previous.load(std::memory_order_relaxed);
  }
  std::reverse(out.begin(), out.end());
  return out;
}

// --- arcs --------------------------------------------------------------------------------------------------------------------

const arc_column* properties::column(label arcs, property_key key) const noexcept {
  // Relaxed: `next` does not change once the column is found, which is by columns().
  for (const arc_column* c = columns(arcs); c != nullptr; c = c->next.load(std::memory_order_relaxed))
    if (c->key == key) return c;
  return nullptr;
}

namespace {

std::size_t home_of(std::uint64_t key, std::uint64_t mask) noexcept {
  return ((key * 0x9e37'79b9'7f4a'7c15ULL) >> 29) & mask;
}

}  // namespace

std::atomic<ref>* properties::slot_of(const arc_column::slots& table, std::uint64_t key) noexcept {
  for (std::size_t i = home_of(key, table.mask);; i = (i + 1) & table.mask) {
    auto& s = const_cast<arc_column::slot&>(table.at()[i]);
    std::uint64_t there = s.key.load(std::memory_order_acquire);  // partner: place()'s release
    if (there == key) return &s.head;
    if (there == 0) return nullptr;
  }
}

bool properties::grow(arc_column& column) {
  ref old = column.table.load(std::memory_order_relaxed);
  std::size_t count = old == 0 ? 16 : (arena_.at<arc_column::slots>(old)->mask + 1) * 2;
  std::size_t bytes = arc_column::slots::bytes(count);
  ref r = arena_.allocate(bytes, memory_use::property);
  if (r == 0) return false;
  auto* fresh = arena_.at<arc_column::slots>(r);
  fresh->mask = count - 1;
  fresh->unused = 0;
  for (std::size_t i = 0; i < count; ++i) {
    auto* s = new (fresh->at() + i) arc_column::slot;
    s->key.store(0, std::memory_order_relaxed);
    s->head.store(0, std::memory_order_relaxed);
    s->unused = 0;
  }
  if (old != 0) {
    const auto* from = arena_.at<arc_column::slots>(old);
    for (std::size_t i = 0; i <= from->mask; ++i) {
      std::uint64_t key = from->at()[i].key.load(std::memory_order_relaxed);
      if (key == 0) continue;
      std::size_t at = home_of(key, fresh->mask);
      while (fresh->at()[at].key.load(std::memory_order_relaxed) != 0) at = (at + 1) & fresh->mask;
      fresh->at()[at].key.store(key, std::memory_order_relaxed);
      fresh->at()[at].head.store(from->at()[i].head.load(std::memory_order_relaxed), std::memory_order_relaxed);
    }
    arena_.retire(old, arena::size_class(arc_column::slots::bytes(from->mask + 1)), memory_use::property,
                  pins_.epoch());
  }
  column.table.store(r, std::memory_order_release);  // partner: head()'s acquire
  return true;
}

std::atomic<ref>* properties::place(arc_column& column, std::uint64_t key) {
  ref r = column.table.load(std::memory_order_relaxed);
  if (r != 0)
    if (auto* found = slot_of(*arena_.at<arc_column::slots>(r), key); found != nullptr) return found;
  if (r == 0 || (column.used + 1) * 4 > (arena_.at<arc_column::slots>(r)->mask + 1) * 3) {
    if (!grow(column)) return nullptr;
    r = column.table.load(std::memory_order_relaxed);
  }
  auto* table = arena_.at<arc_column::slots>(r);
  std::size_t i = home_of(key, table->mask);
  while (table->at()[i].key.load(std::memory_order_relaxed) != 0) i = (i + 1) & table->mask;
  ++column.used;
  table->at()[i].key.store(key,
                           std::memory_order_release);  // partner: slot_of's acquire; its head is 0 until it is set
  return &table->at()[i].head;
}

bool properties::set(label arcs, vertex source, vertex target, property_key key, const value& data, commit_number n) {
  auto* c = const_cast<arc_column*>(column(arcs, key));
  if (c == nullptr) {
    auto fresh = std::make_unique<arc_column>();
    fresh->key = key;
    arc_column* first = arcs_[arcs].load(std::memory_order_relaxed);
    fresh->next.store(first, std::memory_order_relaxed);
    fresh->owned_next.reset(first);
    c = fresh.release();
    arcs_[arcs].store(c, std::memory_order_release);  // partner: columns()'s acquire
  }
  std::atomic<ref>* head = place(*c, arc_column::key_of(source, target));
  if (head == nullptr) return false;
  ref r = make(head->load(std::memory_order_relaxed), data, {}, n);
  if (r == 0) return false;
  head->store(r, std::memory_order_release);  // partner: head()'s acquire
  return true;
}

bool properties::end(label arcs, vertex source, vertex target, commit_number n) {
  for (auto* c = arcs_[arcs].load(std::memory_order_relaxed); c != nullptr;
       c = c->next.load(std::memory_order_relaxed)) {
    ref table = c->table.load(std::memory_order_relaxed);
    if (table == 0) continue;
    auto* place = slot_of(*arena_.at<arc_column::slots>(table), arc_column::key_of(source, target));
    if (place == nullptr) continue;
    ref newest = place->load(std::memory_order_relaxed);
    if (newest == 0 || arena_.at<property_record>(newest)->kind == 0) continue;
    ref r = make(newest, {}, {}, n);
    if (r == 0) return false;
    place->store(r, std::memory_order_release);  // partner: head()'s acquire
  }
  return true;
}

ref properties::head(label arcs, vertex source, vertex target, property_key key) const noexcept {
  const arc_column* c = column(arcs, key);
  // Acquires pair with the releases of grow (the table) and of set and end (the record and all versions before it).
  ref table = c == nullptr ? 0 : c->table.load(std::memory_order_acquire);
  if (table == 0) return 0;
  const auto* place = slot_of(*arena_.at<arc_column::slots>(table), arc_column::key_of(source, target));
  return place == nullptr ? 0 : place->load(std::memory_order_acquire);
}

commit_number properties::changed(label arcs, vertex source, vertex target, property_key key) const {
  ref r = head(arcs, source, target, key);
  return r == 0 ? 0 : arena_.at<property_record>(r)->begin;
}

value properties::at(label arcs, vertex source, vertex target, property_key key, commit_number t) const {
  return find(head(arcs, source, target, key), t, std::nullopt);
}

// --- retention -----------------------------------------------------------------------------------------------------------------

void properties::cut(std::atomic<ref>& head, commit_number horizon) {
  // The newest version not after the horizon that says something about all of time hides all that came before it.
  for (ref r = head.load(std::memory_order_relaxed); r != 0;) {
    auto& record = *arena_.at<property_record>(r);
    ref older = record.previous.load(std::memory_order_relaxed);
    if (record.begin <= horizon && record.has_valid == 0) {
      record.previous.store(0, std::memory_order_relaxed);  // readers that went on before are behind a pin
      while (older != 0) {
        const auto& gone = *arena_.at<property_record>(older);
        ref next = gone.previous.load(std::memory_order_relaxed);
        std::size_t length = gone.length;
        arena_.retire(older, arena::size_class(property_record::bytes(gone.has_valid != 0, length)),
                      memory_use::property, pins_.epoch());
        older = next;
      }
      return;
    }
    r = older;
  }
}

void properties::trim(commit_number horizon, vertex vertices) {
  for (auto& column : vertices_) {
    vertex_column* c = column.load(std::memory_order_relaxed);
    if (c == nullptr) continue;
    std::size_t usable = std::min<std::size_t>(vertices, c->heads.usable());
    for (std::size_t v = 0; v < usable; ++v) cut(c->heads[v], horizon);
  }
  for (auto& first : arcs_) {
    for (auto* c = first.load(std::memory_order_relaxed); c != nullptr; c = c->next.load(std::memory_order_relaxed)) {
      ref table = c->table.load(std::memory_order_relaxed);
      if (table == 0) continue;
      auto* slots = arena_.at<arc_column::slots>(table);
      for (std::size_t i = 0; i <= slots->mask; ++i) cut(slots->at()[i].head, horizon);
    }
  }
}

}  // namespace rhizome::detail
