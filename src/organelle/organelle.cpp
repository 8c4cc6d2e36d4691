// SPDX-License-Identifier: Apache-2.0
#include <karyon/organelle/organelle.hpp>

#include "organelle/function_core.hpp"
#include "organelle/library.hpp"

namespace karyon {

load_result<organelle> organelle::load(organelle_file file) {
  auto loaded = detail::library::load(std::move(*file.sealed_));
  if (!loaded) return tl::unexpected<load_error>(loaded.error());
  return organelle(*loaded);
}

load_result<organelle> organelle::load(const std::string& path, const load_options& options) {
  auto file = organelle_file::open(path, options);
  if (!file) return tl::unexpected<load_error>(file.error());
  return load(std::move(*file));
}

organelle::organelle(const organelle& other) noexcept : library_(other.library_) {
  if (library_ != nullptr) library_->keep();
}

organelle::~organelle() {
  if (library_ != nullptr) library_->release();
}

std::string_view organelle::name() const noexcept { return library_->table().name; }
std::string_view organelle::version() const noexcept { return library_->table().version; }
const std::string& organelle::path() const noexcept { return library_->path(); }
std::uint64_t organelle::features() const noexcept { return library_->table().head.features; }

std::vector<std::string_view> organelle::functions() const {
  std::vector<std::string_view> names;
  for (const detail::native_function& f : library_->functions()) names.push_back(f.name);
  return names;
}

result<organelle_function> organelle::function(std::string_view name) const {
  const detail::native_function* const found = library_->find(name);
  if (found == nullptr) {
    return fail(errc::not_found, std::string(this->name()) + " has no function '" + std::string(name) + "'");
  }
  return organelle_function(std::make_shared<detail::function_core>(*library_, *found));
}

}  // namespace karyon
