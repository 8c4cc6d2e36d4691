// SPDX-License-Identifier: Apache-2.0
#include "tools/colony/source_graph.hpp"

#include <algorithm>
#include <chrono>
#include <deque>
#include <filesystem>
#include <utility>

#include <karyon/cell/runtime.hpp>
#include <karyon/organelle/rhizome.hpp>

#include "tools/colony/chronicler.hpp"
#include "tools/colony/git_history.hpp"
#include "tools/colony/progress.hpp"
#include "tools/colony/walker.hpp"

namespace karyon::tools {

namespace {

using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;

constexpr auto redraw_every = 100ms;
constexpr std::uint32_t chroniclers_a_worker = 2;  // one whose file is parsed, one whose file is read or stored

error as_error(const organelle_error& why) { return {why.code(), why.message()}; }

runtime_options options_for(const source_graph::settings& s) {
  runtime_options options;
  options.scheduler.binding.workers = s.workers;
  return options;
}

result<handle> handle_of(const organelle_result& r) {
  if (!r) {
    return tl::unexpected<error>(as_error(r.error()));
  }
  return r->get<handle>();
}

}  // namespace

struct source_graph::parts {
  parts(organelle e, const settings& s, rhizome::code_functions call, handle code)
      : engine(std::move(e)), desk{.call = std::move(call), .code = std::move(code)}, host(options_for(s)) {
    desk.file_bytes_max = s.file_bytes_max;
  }
  ~parts() { static_cast<void>(host.shutdown(5s)); }
  parts(const parts&) = delete;
  parts& operator=(const parts&) = delete;

  /// The files of a root come with git's history, if it has one.
  void add_history(const std::string& root, std::vector<chronicle>& files) {
    auto found = git_history::of(root);
    if (!found) {
      return;
    }
    const git_history& history = histories.emplace_back(std::move(*found));
    const std::string prefix = root.ends_with('/') ? root : root + '/';
    const auto on_disk_end = static_cast<std::ptrdiff_t>(on_disk);
    for (const auto& [path, versions] : history.files()) {
      const std::string name = prefix + path;
      const auto at = std::lower_bound(files.begin(), files.begin() + on_disk_end, name,
                                       [](const chronicle& c, const std::string& n) { return c.path < n; });
      if (at != files.begin() + on_disk_end && at->path == name) {
        at->history = &history;
        at->versions = versions;
      } else if (has_source_name(std::filesystem::path(path).filename().string())) {
        files.push_back({name, false, &history, versions});
      }
    }
  }

  using list_question = organelle_function rhizome::code_functions::*;
  [[nodiscard]] result<std::vector<std::string>> ask(list_question question, const std::string& about,
                                                     std::optional<std::int64_t> at) const {
    const organelle_function& f = desk.call.*question;
    const organelle_result r = at ? f(desk.code, about, *at).now() : f(desk.code, about).now();
    if (!r) {
      return tl::unexpected<error>(as_error(r.error()));
    }
    const auto texts = rhizome::texts_of(*r->get_if<view>());
    return std::vector<std::string>(texts.begin(), texts.end());
  }

  organelle engine;  // outlives the runtime
  std::deque<git_history> histories;
  std::size_t on_disk = 0;
  chronicle_desk desk;
  runtime host;
};

source_graph::source_graph(std::unique_ptr<parts> p) noexcept : parts_(std::move(p)) {}
source_graph::source_graph(source_graph&&) noexcept = default;
source_graph::~source_graph() = default;

result<source_graph> source_graph::open(const settings& s) {
  auto engine = organelle::load(s.engine.empty() ? rhizome::installed_engine() : s.engine);
  if (!engine) {
    return tl::unexpected<error>(engine.error().as_error());
  }
  const auto functions = rhizome::functions::of(*engine);
  auto code = rhizome::code_functions::of(*engine);
  if (!functions || !code) {
    return tl::unexpected<error>(!functions ? functions.error() : code.error());
  }
  if (const auto parsed = code->parse("", "cpp").now(); !parsed) {
    return tl::unexpected<error>(as_error(parsed.error()));
  }
  constexpr bool symmetric = false;
  constexpr bool unique = false;
  const auto graph = handle_of(functions->make(std::monostate(), symmetric, unique).now());
  if (!graph) {
    return tl::unexpected<error>(graph.error());
  }
  auto programs = handle_of(code->code(*graph).now());
  if (!programs) {
    return tl::unexpected<error>(programs.error());
  }
  auto made = std::make_unique<parts>(std::move(*engine), s, std::move(*code), std::move(*programs));
  return source_graph(std::move(made));
}

result<graph_census> source_graph::learn(const std::vector<std::string>& files, const std::vector<std::string>& roots,
                                         progress& shown) {
  parts& p = *parts_;
  const auto start = clock::now();
  shown.begin("reading syntax trees");
  for (const std::string& file : files) {
    p.desk.files.push_back({file, true, nullptr, {}});
  }
  const auto by_path = [](const chronicle& a, const chronicle& b) { return a.path < b.path; };
  std::sort(p.desk.files.begin(), p.desk.files.end(), by_path);
  p.on_disk = p.desk.files.size();
  for (const std::string& root : roots) {
    std::error_code not_there;
    if (std::filesystem::is_directory(root, not_there)) {
      p.add_history(root, p.desk.files);
    }
  }
  std::vector<future<chronicle_counts>> asked;
  for (std::uint32_t i = 0; i < chroniclers_a_worker * p.host.workers(); ++i) {
    asked.push_back(p.host.ask_async(p.host.spawn<chronicler>(&p.desk), chronicle_all{}));
  }
  graph_census census;
  census.repositories = p.histories.size();
  for (auto& answer : asked) {
    result<chronicle_counts> counts = answer.get(redraw_every);
    while (!counts && counts.error().code() == errc::timeout) {
      shown.update(p.desk.done.load(std::memory_order_relaxed), p.desk.files.size(), 0);
      counts = answer.get(redraw_every);
    }
    if (!counts) {
      shown.end();
      return tl::unexpected<error>(counts.error());
    }
    census.files += counts->files;
    census.versions += counts->versions;
    census.unread += counts->unread;
  }
  shown.end();
  std::sort(p.desk.files.begin(), p.desk.files.end(), by_path);  // nobody reads them any more
  census.seconds = std::chrono::duration<double>(clock::now() - start).count();
  return census;
}

std::vector<std::string> source_graph::files_named(std::string_view name) const {
  const auto plain = [](std::string_view path) { return std::filesystem::path(path).lexically_normal().string(); };
  const std::string wanted = plain(name);
  const std::string ending = '/' + wanted;
  std::vector<std::string> endings;
  for (const chronicle& file : parts_->desk.files) {
    const std::string path = plain(file.path);
    if (path == wanted) {
      return {file.path};
    }
    if (path.ends_with(ending)) {
      endings.push_back(file.path);
    }
  }
  return endings;
}

result<std::vector<touched_file>> source_graph::impact(const std::string& file, std::optional<std::int64_t> at) const {
  const chronicle_desk& desk = parts_->desk;
  const organelle_result r =
      at ? desk.call.code_impact(desk.code, file, *at).now() : desk.call.code_impact(desk.code, file).now();
  if (!r) {
    if (r.error().status() == KARYON_NOT_FOUND) {  // no version of it could be read
      return std::vector<touched_file>();
    }
    return tl::unexpected<error>(as_error(r.error()));
  }
  const auto texts = rhizome::texts_of(*r->get_if<view>(0));
  const ArrowArray& columns = *r->get_if<karyon::columns>(1)->array();
  const auto* const distances = static_cast<const std::uint32_t*>(columns.children[0]->buffers[1]);
  const auto* const includes = static_cast<const std::uint32_t*>(columns.children[1]->buffers[1]);
  std::vector<touched_file> touched;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    touched.push_back({std::string(texts[i]), distances[i], includes[i] != 0});
  }
  return touched;
}

result<std::vector<std::string>> source_graph::definers(const std::string& name, std::optional<std::int64_t> at) const {
  return parts_->ask(&rhizome::code_functions::code_definers, name, at);
}
result<std::vector<std::string>> source_graph::users(const std::string& name, std::optional<std::int64_t> at) const {
  return parts_->ask(&rhizome::code_functions::code_users, name, at);
}

}  // namespace karyon::tools
