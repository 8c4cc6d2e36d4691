// SPDX-License-Identifier: Apache-2.0
#include <karyon/organelle/load_error.hpp>

namespace karyon {

const char* to_string(load_refusal cause) noexcept {
  switch (cause) {
    case load_refusal::missing: return "missing";
    case load_refusal::unreadable: return "unreadable";
    case load_refusal::not_sealed: return "not_sealed";
    case load_refusal::checksum_absent: return "checksum_absent";
    case load_refusal::checksum: return "checksum";
    case load_refusal::not_a_library: return "not_a_library";
    case load_refusal::note_absent: return "note_absent";
    case load_refusal::major: return "major";
    case load_refusal::layout: return "layout";
    case load_refusal::needed_library: return "needed_library";
    case load_refusal::signature: return "signature";
    case load_refusal::not_loaded: return "not_loaded";
    case load_refusal::build_id: return "build_id";
    case load_refusal::features: return "features";
    case load_refusal::table: return "table";
    case load_refusal::not_opened: return "not_opened";
  }
  return "unknown";
}

error load_error::as_error() const {
  switch (cause_) {
    case load_refusal::missing: return {errc::not_found, message_};
    case load_refusal::unreadable:
    case load_refusal::not_sealed:
    case load_refusal::not_loaded: return {errc::system_error, message_};
    case load_refusal::major:
    case load_refusal::layout:
    case load_refusal::features: return {errc::unsupported, message_};
    default: return {errc::refused, message_};
  }
}

}  // namespace karyon
