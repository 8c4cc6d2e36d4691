#include <karyon/nerve/node.hpp>

#include <utility>

#include "cell/runtime_core.hpp"
#include "nerve/node_core.hpp"
#include "sched/wait.hpp"

namespace karyon {

namespace detail {

namespace {

result<remote_cell> not_published(const std::string& name) {
  return fail(errc::not_found, "nothing is published there under the name " + name);
}

}  // namespace

void node_core::set_desk(const ref<node_desk>& desk) {
  desk_ = desk;
  exports_.set_node({handle_access::of(desk), false});
}

void node_core::publish(std::string under, const exported_cell& c, std::string_view cell_class) {
  const std::lock_guard lock(names_mutex_);
  published_.insert_or_assign(std::move(under), published{c, std::string(cell_class)});
}

bool node_core::withdraw(std::string_view name) {
  const std::lock_guard lock(names_mutex_);
  const auto found = published_.find(name);
  if (found == published_.end()) return false;
  published_.erase(found);
  return true;
}

result<remote_cell> node_core::look_up_here(const look_up& question) const {
  const std::lock_guard lock(names_mutex_);
  const auto found = published_.find(question.name);
  if (found == published_.end()) return not_published(question.name);
  if (found->second.cell_class != question.cell_class) {
    return fail(errc::invalid_argument,
                question.name + " is a " + found->second.cell_class + " there, not a " + question.cell_class);
  }
  return remote_cell_access::make(found->second.cell.at, found->second.cell.role);
}

void node_core::offer(std::string type, std::string_view cell_class, std::string argument_types, remote_starter start) {
  const std::lock_guard lock(names_mutex_);
  offered_.insert_or_assign(std::move(type),
                            offered{std::string(cell_class), std::move(argument_types), std::move(start)});
}

result<remote_cell> node_core::start_here(const start_cell& request) {
  offered o;
  {
    const std::lock_guard lock(names_mutex_);
    const auto found = offered_.find(request.type);
    if (found == offered_.end()) return fail(errc::not_found, "no type " + request.type + " is offered there");
    o = found->second;
  }
  if (o.cell_class != request.cell_class || o.argument_types != request.argument_types) {
    return fail(errc::invalid_argument, request.type + " is a " + o.cell_class + " made from " + o.argument_types +
                                            " there, not a " + request.cell_class + " made from " +
                                            request.argument_types);
  }
  payload_reader r;  // not the thread's: what is started may be asked for in turn
  r.begin(request.arguments, *this);
  return o.start(r);
}

result<ref<node_desk>> node_core::desk_of(std::string_view peer) {
  peer_state* const p = newest_peer(wire_hash(peer));
  if (p == nullptr) return fail(errc::no_route, "no node of the name " + std::string(peer) + " has been met");
  address at;
  if (!intern(*p, {}, at)) return fail(errc::no_credit, "too many cells of that node are known");
  return handle_access::make<ref<node_desk>>(at);
}

result<std::vector<std::byte>> node_core::write_arguments(const std::function<void(wire_writer&)>& write) {
  payload_writer w;
  w.begin(*this, options_.frame_bytes_max);
  write(w);
  const std::span<const std::byte> bytes = w.finish();
  if (w.failed()) return fail(errc::too_large, "the arguments are larger than a frame may be");
  return std::vector<std::byte>(bytes.begin(), bytes.end());
}

}  // namespace detail

// ---- the desk ------------------------------------------------------------------------------------------------------

result<remote_cell> node_desk::on(const look_up& question) { return core_->look_up_here(question); }

result<remote_cell> node_desk::on(const start_cell& request) {
  try {
    return core_->start_here(request);
  } catch (const std::exception& e) {
    return fail(errc::start_failed, e.what());
  }
}

// ---- node ----------------------------------------------------------------------------------------------------------

node::node(runtime& host, node_options options)
    : host_(host), core_(std::make_shared<detail::node_core>(host, std::move(options))) {
  core_->set_desk(host.spawn<node_desk>(*core_));
  try {
    core_->install_services();
    core_->open_synapse();
  } catch (...) {
    core_->close();
    core_->end_desk();
    throw;
  }
}

node::~node() {
  core_->close_synapse();  // first: then no more frames come
  core_->close();
  core_->end_desk();
}

const std::string& node::name() const noexcept { return core_->options().name; }
std::uint64_t node::incarnation() const noexcept { return core_->self().incarnation; }

void node::publish_cell(std::string under, const detail::address& at, bool role, std::string_view cell_class) {
  core_->publish(std::move(under), {at, role}, cell_class);
}
bool node::withdraw(std::string_view name) { return core_->withdraw(name); }

void node::offer_type(std::string type, std::string_view cell_class, std::string argument_types,
                      detail::remote_starter start) {
  core_->offer(std::move(type), cell_class, std::move(argument_types), std::move(start));
}
result<std::vector<std::byte>> node::write_arguments(const std::function<void(detail::wire_writer&)>& write) {
  return core_->write_arguments(write);
}

result<void> node::connect(const synapse_peer& peer) { return core_->connect(peer); }
std::vector<std::string> node::endpoints() const { return core_->endpoints(); }

result<ref<node_desk>> node::known_desk(std::string_view peer) const { return core_->desk_of(peer); }
ref<node_desk> node::desk(std::string_view peer) const { return core_->desk_of(peer).value_or(ref<node_desk>()); }

std::vector<peer_info> node::peers() const { return core_->peers(); }

bool node::wait_connected(std::string_view peer, std::chrono::nanoseconds timeout) const {
  const auto connected = [&] { return core_->connected(peer); };
  if (detail::in_runtime()) return connected();
  return detail::poll_until(connected,
                            detail::deadline_in(static_cast<std::uint64_t>(timeout.count() > 0 ? timeout.count() : 0)));
}

node_stats node::stats() const { return core_->stats(); }

}  // namespace karyon
