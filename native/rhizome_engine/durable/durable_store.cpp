// SPDX-License-Identifier: Apache-2.0
#include "durable/durable_store.hpp"

#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <new>
#include <span>
#include <utility>

#include "store/detail/core.hpp"
#include "store/image.hpp"

namespace rhizome {
namespace {

// Where the store sends its commits: it is made before there is a log.
class late_sink final : public commit_sink {
public:
  void lead_to(commit_sink* to, other_shards so_far) {
    to_ = to;
    others_ = std::move(so_far);
  }
  result<void> append(const commit_record& record) override {
    if (to_ == nullptr) return refuse();
    try {
      const std::lock_guard lock(others_lock_);
      others_.take(record);
    } catch (const std::bad_alloc&) {
      return fail(errc::out_of_memory, "no memory for what a commit is in other shards");
    }
    return to_->append(record);
  }
  result<void> sync() override { return to_ != nullptr ? to_->sync() : refuse(); }
  /// A snapshot, and what its commits are in other shards. Beside a commit, which need not end for it: of those that name other shards the
  /// sink was told at most one that is not visible, and that is the last one.
  result<snapshot> now(const store& of, std::vector<commit_part>& others) const {
    const std::lock_guard lock(others_lock_);
    auto taken = of.now();
    if (taken) others = others_.as_of(taken->commit());
    return taken;
  }

private:
  static result<void> refuse() { return fail(errc::read_only, "a store that was opened for salvage takes no writes"); }
  commit_sink* to_ = nullptr;
  mutable std::mutex others_lock_;
  other_shards others_;  // with the lock, which is never held while the disk is waited for
};

// A section of the file beside the image's, which have numbers below 256 and from 1024 on.
constexpr image_section parts_section{256, sizeof(commit_part)};
static_assert(sizeof(commit_part) == 8);

std::uint32_t kind_of(const durable_options& options) noexcept {
  const bool symmetric = options.store.arcs == arcs_kind::symmetric;
  return options.shard.kind | (symmetric ? 1U : 0U) | (options.store.unique_arcs ? 2U : 0U);
}

time_us wall_clock(const store_options& options) {
  if (options.clock != nullptr) return options.clock();
  const auto since = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::microseconds>(since).count();
}

}  // namespace

result<store_id> random_store_id() {
  store_id id{};
  if (::getrandom(id.data(), id.size(), 0) != static_cast<ssize_t>(id.size())) {
    return fail(errc::io, "the system gave no random numbers for a store's id");
  }
  return id;
}

void other_shards::take(const commit_record& record) {
  for (const commit_part& other : last) {
    commit_number& highest = settled[other.shard];
    highest = std::max(highest, other.number);
  }
  last.assign(record.others.begin(), record.others.end());
  number = record.number;
}

std::vector<commit_part> other_shards::as_of(commit_number commit) const {
  auto all = settled;
  if (number <= commit) {
    for (const commit_part& other : last) all[other.shard] = std::max(all[other.shard], other.number);
  }
  std::vector<commit_part> list;
  for (const auto& [shard, highest] : all) list.push_back({shard, highest});
  return list;
}

struct durable_store::parts {
  parts(std::string at, const durable_options& asked)
      : directory(std::move(at)), options(asked), on(asked.on != nullptr ? *asked.on : disk::system()) {
    options.store.sink = &sink;
    options.store.commit_base = 0;
  }

  [[nodiscard]] result<void> take_directory();
  [[nodiscard]] result<void> list();
  [[nodiscard]] result<void> load_checkpoint();
  [[nodiscard]] result<bool> try_checkpoint(commit_number commit);
  [[nodiscard]] result<void> take_parts(const mapped_checkpoint& from);
  [[nodiscard]] bool lost(const commit_part& part) const noexcept {
    const std::vector<commit_number>& ends = options.shard.ends;
    return !ends.empty() && (part.shard >= ends.size() || part.number > ends[part.shard]);
  }
  [[nodiscard]] result<void> replay_log();
  [[nodiscard]] result<void> open_log(const log_scan& scan);
  [[nodiscard]] result<void> remove_old();

  const std::string directory;
  durable_options options;
  disk& on;
  file lock;
  std::vector<std::string> unfinished;
  std::vector<commit_number> checkpoints;  // ascending, without those that were refused
  std::vector<std::string> refused;
  bool other_version = false;  // one of them is of another format
  bool has_log = false;
  late_sink sink;
  std::optional<store_identity> identity;
  std::unique_ptr<wal> log;
  std::optional<store> graph;  // below the sink and the log: it ends before them
  recovery_report report;
  std::mutex checkpoint_lock;
};

result<void> durable_store::parts::take_directory() {
  if (std::vector<std::string> names; options.shard.must_exist && on.list(directory, names) == -ENOENT)
    return fail(errc::corrupt, "the shard in " + directory + " is missing");
  auto taken = rhizome::take_directory(on, directory, !options.salvage && !options.shard.must_exist, options.salvage);
  if (!taken) return tl::unexpected(taken.error());
  lock = std::move(*taken);
  return {};
}

result<void> durable_store::parts::list() {
  std::vector<std::string> names;
  if (const int done = on.list(directory, names); done < 0) return disk_error("list", directory, -done);
  for (const std::string& name : names) {
    if (name.ends_with(unfinished_suffix)) unfinished.push_back(directory + '/' + name);
    if (numbered_name(name, "", ".wal")) has_log = true;
    const auto commit = numbered_name(name, "checkpoint-", ".rhz");
    if (commit && *commit < newest_commit) checkpoints.push_back(static_cast<commit_number>(*commit));
  }
  std::sort(checkpoints.begin(), checkpoints.end());
  report.created = !has_log && checkpoints.empty();
  if (report.created && !options.shard.id && std::find(names.begin(), names.end(), "shards") != names.end())
    return fail(errc::invalid_argument, directory + " has a store of several shards: open it as that");
  if (report.created && options.shard.must_exist)
    return fail(errc::corrupt, "the shard in " + directory + " is missing");
  return {};
}

// Whether it became the store; else the report says why not.
result<bool> durable_store::parts::try_checkpoint(commit_number commit) {
  auto mapped = mapped_checkpoint::open(on, directory + '/' + checkpoint_name(commit));
  if (mapped && (*mapped)->commit() != commit) {
    mapped = fail(errc::corrupt, checkpoint_name(commit) + " has another commit's number");
  }
  if (mapped && (*mapped)->store().kind != kind_of(options)) {
    return fail(errc::invalid_argument, directory + " has a store of another kind: arcs or unique_arcs differ");
  }
  if (mapped && options.shard.id && (*mapped)->store().id != *options.shard.id) {
    mapped = fail(errc::corrupt, checkpoint_name(commit) + " is of another store");
  }
  result<store> loaded = fail(errc::corrupt, "");
  if (mapped) {
    const auto whole = take_parts(**mapped);
    loaded = whole ? load(**mapped, options.store) : tl::unexpected(whole.error());
  }
  if (mapped && loaded) {
    identity = (*mapped)->store();
    graph = std::move(*loaded);
    report.checkpoint = commit;
    return true;
  }
  report.others = {};
  const error& why = mapped ? loaded.error() : mapped.error();
  if (why.code == errc::out_of_memory || why.code == errc::limit) return tl::unexpected(why);
  report.refused_checkpoints.push_back(why.text);
  other_version = other_version || why.code == errc::wrong_version;
  refused.push_back(directory + '/' + checkpoint_name(commit));
  return false;
}

// What the checkpoint says of other shards: all of it was durable there when it was written. One of a shard always says it: without
// that nobody could tell a shard that names no other from one of which it is not known whom it names.
result<void> durable_store::parts::take_parts(const mapped_checkpoint& from) {
  if (options.shard.id && !from.has(parts_section))
    return fail(errc::wrong_version, checkpoint_name(from.commit()) +
                                         " does not say which commits of other shards it goes with: open it with the "
                                         "version that wrote it, and copy the graph into a new one");
  const auto bytes = from.section(parts_section);
  for (std::size_t at = 0; at < bytes.size(); at += sizeof(commit_part)) {
    commit_part part;
    std::memcpy(&part, bytes.data() + at, sizeof part);
    if (lost(part))
      return fail(errc::corrupt, checkpoint_name(from.commit()) + " has a part of what shard " +
                                     std::to_string(part.shard) + " has lost");
    report.others.settled[part.shard] = part.number;
  }
  return {};
}

result<void> durable_store::parts::load_checkpoint() {
  for (; !checkpoints.empty(); checkpoints.pop_back()) {
    const auto used = try_checkpoint(checkpoints.back());
    if (!used) return tl::unexpected(used.error());
    if (*used) return {};
  }
  auto made = store::make(options.store);
  if (!made) return tl::unexpected(made.error());
  graph = std::move(*made);
  return {};
}

result<void> durable_store::parts::replay_log() {
  std::optional<error> resources;  // what the store said that is no fault of the log
  wanted_log wanted{
      .id = options.shard.id, .kind = kind_of(options), .after = report.checkpoint, .until = options.shard.until};
  if (identity) wanted.id = identity->id;
  auto scan = scan_log(on, directory, wanted, [&](const commit_record& record) -> result<void> {
    for (const commit_part& other : record.others) {
      if (lost(other)) return fail(errc::corrupt, "shard " + std::to_string(other.shard) + " has lost its part of it");
    }
    auto done = graph->replay(record);
    if (!done) {
      if (done.error().code == errc::out_of_memory || done.error().code == errc::limit) resources = done.error();
      return done;
    }
    report.others.take(record);
    return done;
  });
  if (!scan) return tl::unexpected(scan.error());
  if (resources) return tl::unexpected(*resources);
  report.newest = scan->last;
  report.replayed = scan->commits;
  report.log_bytes = scan->bytes;
  report.cut_bytes = scan->cut_bytes;
  report.ignored_bytes = scan->ignored_bytes;
  if (!has_log && !report.created) {
    scan->damage = error{errc::corrupt, "the log in " + directory + " is missing"};
  }
  if (scan->damage) {
    for (const std::string& why : report.refused_checkpoints) scan->damage->text += "; " + why;
    if (other_version && scan->damage->code == errc::corrupt) scan->damage->code = errc::wrong_version;  // not lost
    report.damage = scan->damage;
    if (!options.salvage || scan->damage->code == errc::invalid_argument) return tl::unexpected(*scan->damage);
  }
  return options.salvage ? result<void>{} : open_log(*scan);
}

result<void> durable_store::parts::open_log(const log_scan& scan) {
  for (const std::string& path : unfinished) {
    if (const int done = on.remove(path); done < 0) return disk_error("remove", path, -done);
  }
  result<std::unique_ptr<wal>> opened = fail(errc::io, "");
  if (has_log) {
    opened = wal::resume(on, directory, scan, options.log);
  } else {
    const auto id = options.shard.id ? result<store_id>(*options.shard.id) : random_store_id();
    if (!id) return tl::unexpected(id.error());
    identity = store_identity{*id, kind_of(options)};
    opened = wal::create(on, directory, *identity, 0, wall_clock(options.store), options.log);
  }
  if (!opened) return tl::unexpected(opened.error());
  identity = has_log ? scan.store : *identity;
  log = std::move(*opened);
  sink.lead_to(log.get(), report.others);
  return {};
}

result<durable_store> durable_store::open(const std::string& directory, const durable_options& options) {
  auto made = std::make_unique<parts>(directory, options);
  if (options.checkpoints_kept == 0) return fail(errc::invalid_argument, "checkpoints_kept is 0");
  for (auto step : {&parts::take_directory, &parts::list, &parts::load_checkpoint, &parts::replay_log}) {
    if (auto done = (made.get()->*step)(); !done) return tl::unexpected(done.error());
  }
  return durable_store(std::move(made));
}

result<commit_number> durable_store::checkpoint() {
  parts& p = *parts_;
  const std::lock_guard lock(p.checkpoint_lock);
  if (p.log == nullptr) return fail(errc::read_only, "a store that was opened for salvage takes no checkpoints");
  // Visible, therefore durable: the log has all of it.
  std::vector<commit_part> others;
  const auto now = p.sink.now(*p.graph, others);
  if (!now) return tl::unexpected(now.error());
  const commit_number commit = now->commit();
  if (commit == 0 || (!p.checkpoints.empty() && p.checkpoints.back() >= commit)) return commit;
  auto file = checkpoint_writer::create(p.on, p.directory, *p.identity, commit);
  if (!file) return tl::unexpected(file.error());
  if (auto done = save(*now, **file); !done) return tl::unexpected(done.error());
  if (p.options.shard.id) {
    if (auto done = (*file)->begin(parts_section); !done) return tl::unexpected(done.error());
    if (auto done = (*file)->write(std::as_bytes(std::span(others))); !done) return tl::unexpected(done.error());
  }
  if (auto done = (*file)->finish(wall_clock(p.options.store)); !done) return tl::unexpected(done.error());
  p.checkpoints.push_back(commit);
  std::erase(p.refused, p.directory + '/' + checkpoint_name(commit));  // it has taken a damaged one's place
  if (auto done = p.remove_old(); !done) return tl::unexpected(done.error());
  return commit;
}

result<void> durable_store::parts::remove_old() {
  while (checkpoints.size() > options.checkpoints_kept) {
    const std::string path = directory + '/' + checkpoint_name(checkpoints.front());
    if (const int done = on.remove(path); done < 0 && done != -ENOENT) return disk_error("remove", path, -done);
    checkpoints.erase(checkpoints.begin());
  }
  for (; !refused.empty(); refused.pop_back()) {
    const int done = on.remove(refused.back());
    if (done < 0 && done != -ENOENT) return disk_error("remove", refused.back(), -done);
  }
  if (checkpoints.size() < options.checkpoints_kept)
    return {};  // the log from its beginning stands in for the missing one
  return log->remove_before(checkpoints.front());
}

result<void> durable_store::close() {
  parts& p = *parts_;
  if (p.log == nullptr) return {};
  const std::lock_guard lock(p.checkpoint_lock);
  const std::lock_guard writer(p.graph->inside().writer);  // nobody commits meanwhile
  return p.log->close();
}

durable_store::durable_store(std::unique_ptr<parts> p) noexcept : parts_(std::move(p)) {}
durable_store::durable_store(durable_store&&) noexcept = default;
durable_store& durable_store::operator=(durable_store&&) noexcept = default;
durable_store::~durable_store() = default;

store& durable_store::graph() noexcept { return *parts_->graph; }
const recovery_report& durable_store::recovery() const noexcept { return parts_->report; }
const store_id& durable_store::id() const noexcept { return parts_->identity->id; }
std::vector<log_segment> durable_store::log_segments() const {
  return parts_->log == nullptr ? std::vector<log_segment>{} : parts_->log->segments();
}

}  // namespace rhizome
