#pragma once

// Opt-in: cells and CAF actors in one program. The only public header that needs CAF's headers.

#include <memory>
#include <type_traits>
#include <utility>

#include <caf/actor.hpp>
#include <caf/actor_cast.hpp>
#include <caf/actor_system.hpp>
#include <caf/send.hpp>

#include <karyon/interop/detail/caf_bridge.hpp>

namespace karyon {

/// The CAF actor system inside a runtime. Stock actors spawned in it run on the runtime's workers, with its fairness; they
/// must be done, or be sent an exit, before the runtime goes. Its scheduler is the runtime's: do not configure it.
[[nodiscard]] inline caf::actor_system& caf_system(runtime& rt) { return detail::caf_system_of(rt); }

namespace detail {

template <class C, class T, class R>
class caf_reply final : public foreign_reply {
public:
  caf_reply(caf::strong_actor_ptr to, caf::message_id id) : to_(std::move(to)), id_(id) {}
  void answer(void* value) override {
    auto& r = *static_cast<result<R>*>(value);
    if (!r) return fail(r.error());
    if constexpr (std::is_void_v<R>) {
      respond(caf::make_message());
    } else {
      respond(caf::make_message(std::move(*r)));
    }
  }
  void fail(const error& e) override {
    respond(caf::make_message(caf::make_error(caf::sec::runtime_error, to_string(e))));
  }

private:
  void respond(caf::message m) { to_->enqueue(nullptr, id_, std::move(m), nullptr); }
  caf::strong_actor_ptr to_;
  caf::message_id id_;
};

template <class C, class T>
bool convert_one(caf::message& content, const caf::strong_actor_ptr& sender, caf::message_id id, signal*& out) {
  if (!content.match_elements<T>()) return false;
  if (id.is_request() && sender != nullptr) {
    using R = answer_of<C, T>;
    std::unique_ptr<foreign_reply> reply = std::make_unique<caf_reply<C, T, R>>(sender, id.response_id());
    auto question = make_question<C, T>(content.get_as<T>(0));
    question->reply = {reply.release(), 0, 0, reply_address::kind::foreign};
    out = question.release();
  } else {
    out = make_signal<payload_signal<T>>(&tell_ops<C, T>, content.get_as<T>(0));
  }
  return true;
}

template <class C, class... Ts>
signal* convert_caf(caf::message& content, const caf::strong_actor_ptr& sender, caf::message_id id, signals<Ts...>) {
  signal* out = nullptr;
  (void)(convert_one<C, Ts>(content, sender, id, out) || ...);
  return out;
}

}  // namespace detail

/// A cell as a CAF actor: CAF actors can send it any of the types it accepts (each known to CAF), request its answers, link
/// and monitor it. Of a supervised child the handle names the role: it stays usable after restarts, while links and
/// monitors see each end. Empty if the cell has ended. Handles must go before the runtime does.
template <class C>
[[nodiscard]] caf::actor to_caf(const ref<C>& cell) {
  detail::register_caf_converter(
      detail::class_info_of<C>::value,
      [](caf::message& content, const caf::strong_actor_ptr& sender, caf::message_id id) -> detail::signal* {
        return detail::convert_caf<C>(content, sender, id, typename C::accepts{});
      });
  caf::strong_actor_ptr handle = detail::expose_to_caf(detail::handle_access::of(cell));
  return handle != nullptr ? caf::actor_cast<caf::actor>(std::move(handle)) : caf::actor();
}

/// A CAF actor as a cell: forwards the signals named to it, ends when it ends, and ends it when it is itself ended.
/// Linking or monitoring this cell is linking or monitoring the actor.
template <class... Ts>
class caf_proxy : public cell {
public:
  using accepts = signals<Ts...>;

  explicit caf_proxy(caf::actor actor) : actor_(std::move(actor)) {}

  void on_start() {
    // The functor holds a plain handle: it may run at any time, on any thread, also after this cell has ended.
    actor_->attach_functor([me = cell_ref(self(this)), &rt = host()](const caf::error& why) {
      rt.exit(me, detail::to_exit_reason(why).why() == exit_reason::kind::normal
                      ? exit_reason(exit_reason::kind::shutdown)
                      : detail::to_exit_reason(why));
    });
  }
  template <class T>
  requires(std::is_same_v<T, Ts> || ...) void on(T value) { caf::anon_send(actor_, std::move(value)); }
  void on_exit(const exit_reason& why) {
    if (why.why() != exit_reason::kind::normal) {
      caf::anon_send_exit(
          actor_, why.why() == exit_reason::kind::killed ? caf::exit_reason::kill : caf::exit_reason::user_shutdown);
    }
  }

private:
  caf::actor actor_;
};

/// Any CAF actor as a cell that accepts Ts: `from_caf<ping, pong>(rt, actor)`; as a `cell_ref` it is like any other. Any thread.
/// Throws as runtime::spawn. The cell keeps the actor's handle until one of them ends, and must go, or end, before the runtime does.
template <class... Ts>
[[nodiscard]] ref<caf_proxy<Ts...>> from_caf(runtime& rt, const caf::actor& actor) {
  return rt.spawn<caf_proxy<Ts...>>(actor);
}

}  // namespace karyon
