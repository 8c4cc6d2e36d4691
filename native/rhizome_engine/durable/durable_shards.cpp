// SPDX-License-Identifier: Apache-2.0
#include "durable/durable_shards.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <span>
#include <utility>

#include "durable/crc32c.hpp"
#include "durable/wal_reader.hpp"
#include "store/detail/core.hpp"

namespace rhizome {
namespace {

constexpr unsigned shards_max = 4'095;

/// The file DIR/shards; docs/internals/rhizome-shards.md has the table.
struct shards_file {
  std::array<char, 8> magic{'r', 'h', 'i', 'z', 's', 'h', 'd', '\n'};
  std::uint32_t version = 1;
  std::uint32_t bytes = 48;
  store_id id{};
  std::uint32_t count = 0;
  std::uint32_t bits = 0;
  std::uint32_t complete = 0;  ///< All shards have been made: one that is missing is damage.
  std::uint32_t crc = 0;       ///< Of all before it.
};
static_assert(sizeof(shards_file) == 48);

std::uint32_t crc_of(const shards_file& head) { return crc32c(0, &head, sizeof head - sizeof head.crc); }

// In the half of a store's kind that a single store leaves 0: the number, how many, and how ids are cut.
std::uint32_t kind_of(unsigned shard, const shards_file& head) {
  return 4U | head.bits << 3 | head.count << 8 | shard << 20;
}

bool is_of_plain_store(const std::string& name) {
  return numbered_name(name, "", ".wal") || numbered_name(name, "checkpoint-", ".rhz");
}

}  // namespace

struct durable_shards::parts {
  parts(std::string at, const durable_shards_options& asked)
      : directory(std::move(at)), options(asked), on(asked.each.on != nullptr ? *asked.each.on : disk::system()) {}

  [[nodiscard]] result<void> take_directory();
  [[nodiscard]] result<void> read_head();
  [[nodiscard]] result<void> write_head();
  [[nodiscard]] result<void> open_shard(unsigned shard, commit_number until, std::vector<commit_number> ends = {});
  [[nodiscard]] result<void> open_shards();
  [[nodiscard]] result<void> find_lost() const;
  [[nodiscard]] result<void> cut_halves();
  [[nodiscard]] result<void> salvage_whole();
  [[nodiscard]] result<void> check_ends();
  [[nodiscard]] bool lacks(const commit_part& part) const {
    return part.shard >= options.count || stores[part.shard]->recovery().newest < part.number;
  }
  [[nodiscard]] std::string path(std::string_view name) const { return directory + '/' + std::string(name); }

  const std::string directory;
  durable_shards_options options;
  disk& on;
  file lock;
  detail::sharding how;
  shards_file head;
  std::shared_ptr<detail::cut> shared = std::make_shared<detail::cut>();
  std::vector<std::optional<durable_store>> stores;
  std::optional<sharded_store> graph;  // below the stores: it ends before them
  unsigned halves = 0;
};

result<void> durable_shards::parts::take_directory() {
  auto taken = rhizome::take_directory(on, directory, !options.each.salvage, options.each.salvage);
  if (!taken) return tl::unexpected(taken.error());
  lock = std::move(*taken);
  return {};
}

result<void> durable_shards::parts::read_head() {
  std::vector<std::string> names;
  if (const int done = on.list(directory, names); done < 0) return disk_error("list", directory, -done);
  if (std::find(names.begin(), names.end(), "shards") == names.end()) {
    if (std::any_of(names.begin(), names.end(), is_of_plain_store))
      return fail(errc::invalid_argument, directory + " has a store by itself, not shards: open it as that");
    const bool others =
        std::any_of(names.begin(), names.end(), [](const std::string& name) { return name.starts_with("shard-"); });
    if (others || options.each.salvage) return fail(errc::corrupt, path("shards") + " is missing");
    const auto id = random_store_id();
    if (!id) return tl::unexpected(id.error());
    head.id = *id;
    head.count = options.count;
    head.bits = how.bits;
    return write_head();
  }
  auto opened = file::open(on, path("shards"), disk::mode::read);
  if (!opened) return tl::unexpected(opened.error());
  const auto got = opened->read(0, std::as_writable_bytes(std::span(&head, 1)));
  if (!got) return tl::unexpected(got.error());
  if (*got != sizeof head || head.magic != shards_file{}.magic || head.crc != crc_of(head))
    return fail(errc::corrupt, path("shards") + " is not what was written");
  if (head.version != shards_file{}.version || head.bytes != sizeof head)
    return fail(errc::wrong_version, path("shards") + " has format " + std::to_string(head.version));
  if (head.count != options.count || head.bits != how.bits)
    return fail(errc::invalid_argument, directory + " has " + std::to_string(head.count) + " shards of 2^" +
                                            std::to_string(head.bits) + " ids: open it with as many");
  return {};
}

// Under its own name the file is whole at all times.
result<void> durable_shards::parts::write_head() {
  head.crc = crc_of(head);
  const std::string unfinished = path("shards") + std::string(unfinished_suffix);
  if (const int done = on.remove(unfinished); done < 0 && done != -ENOENT)
    return disk_error("remove", unfinished, -done);
  {
    auto made = file::open(on, unfinished, disk::mode::create);
    if (!made) return tl::unexpected(made.error());
    if (auto done = made->write(0, std::as_bytes(std::span(&head, 1))); !done) return done;
    if (auto done = made->sync(); !done) return done;
  }
  if (const int done = on.rename(unfinished, path("shards")); done < 0) return disk_error("rename", unfinished, -done);
  return sync_directory(on, directory);
}

result<void> durable_shards::parts::open_shard(unsigned shard, commit_number until, std::vector<commit_number> ends) {
  durable_options each = options.each;
  each.store.shared = shared.get();
  each.store.shard = shard;
  if (!options.nodes.empty()) each.store.numa_node = options.nodes[shard % options.nodes.size()];
  each.shard = {kind_of(shard, head), head.id, head.complete != 0, until, std::move(ends)};
  stores[shard].reset();  // gives the directory free
  auto opened = durable_store::open(path("shard-" + std::to_string(shard)), each);
  if (!opened) return tl::unexpected(opened.error());
  stores[shard].emplace(std::move(*opened));
  return {};
}

result<void> durable_shards::parts::open_shards() {
  stores.resize(options.count);
  for (unsigned k = 0; k < options.count; ++k) {
    if (auto done = open_shard(k, newest_commit); !done) return done;
  }
  if (head.complete != 0 || options.each.salvage) return {};
  head.complete = 1;
  return write_head();
}

// A shard that went on after a transaction had waited for all parts of it: one that is missing now was on the disk then.
result<void> durable_shards::parts::find_lost() const {
  for (unsigned k = 0; k < options.count; ++k) {
    for (const auto& [shard, number] : stores[k]->recovery().others.settled) {
      if (!lacks({shard, number})) continue;
      return fail(errc::corrupt, path("shard-" + std::to_string(k)) + " went on after commit " +
                                     std::to_string(number) + " of shard " + std::to_string(shard) +
                                     ", which is lost; what all shards have can be read");
    }
  }
  return {};
}

// Each shard up to the first transaction that another one has lost its part of: which may make that so of others.
result<void> durable_shards::parts::salvage_whole() {
  const auto is_half = [this](unsigned k) {
    const other_shards& others = stores[k]->recovery().others;
    return std::any_of(others.last.begin(), others.last.end(),
                       [&](const commit_part& other) { return lacks(other); }) ||
           std::any_of(others.settled.begin(), others.settled.end(), [&](const auto& other) {
             return lacks({other.first, other.second});
           });
  };
  for (bool again = true; again;) {
    again = false;
    for (unsigned k = 0; k < options.count; ++k) {
      if (!is_half(k)) continue;
      std::vector<commit_number> ends;  // as they are now: those before this one may have become shorter
      for (const auto& one : stores) ends.push_back(one->recovery().newest);
      if (auto done = open_shard(k, newest_commit, ends); !done) return done;
      // Where only a checkpoint named what can not be, the log may have as much without it.
      const commit_number newest = stores[k]->recovery().newest;
      if (newest > ends[k] || (newest == ends[k] && is_half(k)))
        return fail(errc::corrupt, path("shard-" + std::to_string(k)) + " names a shard that can not be");
      again = again || newest < ends[k];
    }
  }
  return {};
}

// Nobody writes before all of them are cut: a number that one shard gives out again is in no other's log.
result<void> durable_shards::parts::cut_halves() {
  if (options.each.salvage) return salvage_whole();
  if (auto done = find_lost(); !done) return done;
  std::vector<std::pair<unsigned, commit_number>> torn;
  for (unsigned k = 0; k < options.count; ++k) {
    const recovery_report& found = stores[k]->recovery();
    for (const commit_part& other : found.others.last) {
      if (other.shard >= options.count || other.shard == k)
        return fail(errc::corrupt, path("shard-" + std::to_string(k)) + " names a shard that can not be");
      if (stores[other.shard]->recovery().newest >= other.number) continue;
      torn.emplace_back(k, found.newest - 1);
      break;
    }
  }
  for (const auto& [shard, until] : torn) {
    if (auto done = open_shard(shard, until); !done) return done;
  }
  halves = static_cast<unsigned>(torn.size());
  return {};
}

// Whoever reads the whole graph has an element for each vertex that there is, and none for others.
result<void> durable_shards::parts::check_ends() {
  for (unsigned k = 0; k < options.count; ++k) {
    const std::vector<vertex>& wanted = stores[k]->graph().inside().strangers;
    for (unsigned other = 0; other < wanted.size(); ++other) {
      if (wanted[other] <= stores[other]->graph().inside().vertices) continue;
      return fail(errc::corrupt, path("shard-" + std::to_string(k)) + " has an arc of vertex " +
                                     std::to_string(wanted[other] - 1) + " of shard " + std::to_string(other) +
                                     ", which has no such vertex");
    }
  }
  return {};
}

result<durable_shards> durable_shards::open(const std::string& directory, const durable_shards_options& options) {
  auto how = detail::make_sharding(options.each.store.vertices_max, options.count);
  if (!how) return tl::unexpected(how.error());
  if (options.count > shards_max) return fail(errc::invalid_argument, "more than 4,095 shards");
  auto made = std::make_unique<parts>(directory, options);
  made->how = made->shared->how = *how;
  for (auto step :
       {&parts::take_directory, &parts::read_head, &parts::open_shards, &parts::cut_halves, &parts::check_ends}) {
    if (auto done = (made.get()->*step)(); !done) return tl::unexpected(done.error());
  }
  std::vector<store*> stores;
  for (auto& one : made->stores) stores.push_back(&one->graph());
  made->graph.emplace(sharded_store::over(std::move(stores), made->shared, *how));
  return durable_shards(std::move(made));
}

result<void> durable_shards::checkpoint() {
  for (auto& one : parts_->stores) {
    if (auto done = one->checkpoint(); !done) return tl::unexpected(done.error());
  }
  return {};
}

result<void> durable_shards::close() {
  result<void> all;  // one that failed earlier does not keep the others from their seals
  for (auto& one : parts_->stores) {
    if (auto done = one->close(); !done && all) all = std::move(done);
  }
  return all;
}

durable_shards::durable_shards(std::unique_ptr<parts> p) noexcept : parts_(std::move(p)) {}
durable_shards::durable_shards(durable_shards&&) noexcept = default;
durable_shards& durable_shards::operator=(durable_shards&&) noexcept = default;
durable_shards::~durable_shards() = default;

sharded_store& durable_shards::graph() noexcept { return *parts_->graph; }
const recovery_report& durable_shards::recovery(unsigned shard) const noexcept {
  return parts_->stores[shard]->recovery();
}
unsigned durable_shards::cut() const noexcept { return parts_->halves; }

}  // namespace rhizome
