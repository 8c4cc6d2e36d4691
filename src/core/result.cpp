#include <karyon/core/result.hpp>

namespace karyon {

const char* to_string(errc code) noexcept {
  switch (code) {
    case errc::invalid_argument: return "invalid_argument";
    case errc::not_found: return "not_found";
    case errc::dead: return "dead";
    case errc::restarting: return "restarting";
    case errc::mailbox_full: return "mailbox_full";
    case errc::no_handler: return "no_handler";
    case errc::timeout: return "timeout";
    case errc::cell_failed: return "cell_failed";
    case errc::start_failed: return "start_failed";
    case errc::closed: return "closed";
    case errc::would_block: return "would_block";
    case errc::refused: return "refused";
    case errc::out_of_memory: return "out_of_memory";
    case errc::unsupported: return "unsupported";
    case errc::system_error: return "system_error";
    case errc::already_started: return "already_started";
    case errc::already_present: return "already_present";
    case errc::running: return "running";
    case errc::no_route: return "no_route";
    case errc::peer_down: return "peer_down";
    case errc::no_credit: return "no_credit";
    case errc::expired: return "expired";
    case errc::too_large: return "too_large";
    case errc::not_declared: return "not_declared";
  }
  return "unknown";
}

std::string to_string(const error& e) {
  std::string text = to_string(e.code());
  text += ": ";
  text += e.message();
  return text;
}

}  // namespace karyon
