// SPDX-License-Identifier: Apache-2.0
#include "organelle/library.hpp"

#include <dlfcn.h>
#include <link.h>
#include <unistd.h>

#include <algorithm>
#include <exception>
#include <system_error>
#include <thread>

namespace karyon::detail {

namespace {

/// The loader gives back the library that it has under a name already, also if the descriptor of that number is another file by now.
bool is_loaded_name(const std::string& name) noexcept {
  void* const known = ::dlopen(name.c_str(), RTLD_LAZY | RTLD_NOLOAD);
  if (known == nullptr) return false;
  ::dlclose(known);
  return true;
}

struct build_id_search {
  const ElfW(Dyn) * dynamic;
  std::vector<std::byte> build_id;
};

/// The library is the one whose dynamic section lies where the handle's does.
int find_loaded_build_id(dl_phdr_info* info, std::size_t, void* context) {
  auto& search = *static_cast<build_id_search*>(context);
  bool is_it = false;
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const ElfW(Phdr)& segment = info->dlpi_phdr[i];
    is_it |= segment.p_type == PT_DYNAMIC &&
             info->dlpi_addr + segment.p_vaddr == reinterpret_cast<std::uintptr_t>(search.dynamic);
  }
  if (!is_it) return 0;
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const ElfW(Phdr)& segment = info->dlpi_phdr[i];
    if (segment.p_type != PT_NOTE) continue;
    const auto* const at = reinterpret_cast<const std::byte*>(info->dlpi_addr + segment.p_vaddr);
    const auto found = find_build_id({at, segment.p_filesz}, segment.p_align);
    if (!found.empty()) search.build_id.assign(found.begin(), found.end());
  }
  return 1;
}

std::vector<std::byte> loaded_build_id(void* loaded) {
  link_map* map = nullptr;
  if (::dlinfo(loaded, RTLD_DI_LINKMAP, &map) != 0) return {};
  build_id_search search{map->l_ld, {}};
  ::dl_iterate_phdr(&find_loaded_build_id, &search);
  return std::move(search.build_id);
}

bool parse_letter(char letter, std::uint32_t& kind, bool& is_optional) noexcept {
  is_optional = letter >= 'A' && letter <= 'Z';
  switch (is_optional ? static_cast<char>(letter - 'A' + 'a') : letter) {
    case 'b': kind = KARYON_BOOLEAN; return true;
    case 'i': kind = KARYON_I64; return true;
    case 'u': kind = KARYON_U64; return true;
    case 'f': kind = KARYON_F64; return true;
    case 'r': kind = KARYON_RESOURCE; return true;
    case 'v': kind = KARYON_VIEW; return true;
    case 'c': kind = KARYON_COLUMNS; return true;
    default: return false;
  }
}

/// Null, or what is wrong with it.
const char* parse_function(const karyon_function& entry, native_function& function) {
  constexpr std::uint32_t results_least = 8;
  if (entry.name == nullptr || entry.call == nullptr || entry.parameters == nullptr || entry.results == nullptr) {
    return "has a function without a name, without code or without its parameters and results";
  }
  if (entry.run > KARYON_RUN_DIRTY_IO) return "has a function that runs at a place that this host does not know";
  function.entry = &entry;
  function.name = entry.name;
  std::string_view letters = entry.parameters;
  if (letters.ends_with("...")) {
    function.more_parameters = true;
    letters.remove_suffix(3);
  }
  for (const char letter : letters) {
    std::uint32_t kind = KARYON_NONE;
    bool is_optional = false;
    if (!parse_letter(letter, kind, is_optional))
      return "has a function with a parameter of no kind that this host knows";
    function.parameters.push_back(kind);
    function.optional.push_back(is_optional);
  }
  function.results_max = std::max(results_least, static_cast<std::uint32_t>(std::string_view(entry.results).size()));
  return nullptr;
}

}  // namespace

library::library() noexcept : host_{make_host_table(), this} {}

load_result<library*> library::load(sealed_organelle sealed) {
  auto* const made = new library();
  // Nobody refers to what could not be loaded.
  const auto undo = [](library* l) { l->release(); };
  std::unique_ptr<library, decltype(undo)> guard(made, undo);
  made->path_ = sealed.path;
  if (auto opened = made->open_system(sealed); !opened) return tl::unexpected<load_error>(opened.error());
  if (auto opened = made->open_table(sealed); !opened) return tl::unexpected<load_error>(opened.error());
  return guard.release();
}

load_result<void> library::open_system(sealed_organelle& sealed) {
  if (sealed.image.build_id.empty()) {
    return refuse(load_refusal::build_id, path_ + ": has no build id; link it with --build-id");
  }
  memory_ = std::move(sealed.bytes.memory());
  std::vector<descriptor> held;  // numbers under which the loader still knows other libraries
  system_name_ = "/proc/self/fd/" + std::to_string(memory_.get());
  while (is_loaded_name(system_name_)) {
    descriptor other(::dup(memory_.get()));
    if (!other) return refuse(load_refusal::not_loaded, path_ + ": no descriptor is left to load it by");
    held.push_back(std::exchange(memory_, std::move(other)));
    system_name_ = "/proc/self/fd/" + std::to_string(memory_.get());
  }
  loaded_ = ::dlopen(system_name_.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (loaded_ == nullptr) {
    const char* const words = ::dlerror();
    return refuse(load_refusal::not_loaded,
                  path_ + ": can not be loaded: " + (words != nullptr ? words : "no reason given"));
  }
  if (loaded_build_id(loaded_) != sealed.image.build_id) {
    return refuse(load_refusal::build_id, path_ + ": the system's loader came up with another library than this file");
  }
  return {};
}

load_result<void> library::open_table(const sealed_organelle& sealed) {
  void* const symbol = ::dlsym(loaded_, KARYON_ORGANELLE_OPEN_NAME);
  if (symbol == nullptr) {
    return refuse(load_refusal::table, path_ + ": does not export " KARYON_ORGANELLE_OPEN_NAME);
  }
  const auto open = reinterpret_cast<karyon_organelle_open_function>(symbol);
  karyon_error error{};
  const karyon_organelle* table = nullptr;
  const karyon_status status = open(KARYON_ABI_MAJOR, KARYON_ABI_MINOR, &host_.table, &table, &error);
  if (status != KARYON_OK) {
    error.text[sizeof error.text - 1] = '\0';
    return refuse(load_refusal::not_opened,
                  path_ + ": did not open: " +
                      (error.text[0] != '\0' ? std::string(error.text) : "status " + std::to_string(status)));
  }
  if (table == nullptr) return refuse(load_refusal::table, path_ + ": opened without a table of functions");
  table_ = table;
  return check_table(sealed);
}

load_result<void> library::check_table(const sealed_organelle& sealed) {
  const karyon_table_head& head = table_->head;
  const auto faulty = [&](const char* what) { return refuse(load_refusal::table, path_ + ": " + what); };
  constexpr std::size_t first_table = offsetof(karyon_organelle, close) + sizeof(karyon_organelle::close);
  constexpr std::size_t first_function = offsetof(karyon_function, flags) + sizeof(karyon_function::flags);
  if (head.major != KARYON_ABI_MAJOR || head.layout_hash != KARYON_ABI_LAYOUT_HASH || head.size < first_table) {
    table_ = nullptr;  // nothing in it can be relied on, close() neither
    return faulty("its table is of another ABI than its note");
  }
  if (table_->name == nullptr || table_->version == nullptr || table_->version != sealed.note.version) {
    return faulty("its table has no name, or another version than its note");
  }
  if ((table_->host_features_needed & ~host_.table.head.features) != 0) {
    return refuse(load_refusal::features, path_ + ": needs what this host does not offer");
  }
  if (table_->function_count > 0 && (table_->functions == nullptr || table_->function_size < first_function ||
                                     table_->function_size % alignof(karyon_function) != 0)) {
    return faulty("its functions are not where its table says");
  }
  for (std::uint32_t i = 0; i < table_->function_count; ++i) {
    const auto* const at =
        reinterpret_cast<const std::byte*>(table_->functions) + std::size_t{i} * table_->function_size;
    native_function function;
    if (const char* const fault = parse_function(*reinterpret_cast<const karyon_function*>(at), function)) {
      return faulty(fault);
    }
    if (find(function.name) != nullptr) return faulty("has two functions of one name");
    functions_.push_back(std::move(function));
  }
  return {};
}

const native_function* library::find(std::string_view name) const noexcept {
  for (const native_function& f : functions_) {
    if (f.name == name) return &f;
  }
  return nullptr;
}

void library::close() noexcept {
  if (table_ != nullptr && table_->close != nullptr) table_->close();
  if (loaded_ != nullptr) {
    ::dlclose(loaded_);
    // Some libraries stay (unique symbols, NODELETE): the loader knows them by that number for ever, so nobody else may get it.
    if (is_loaded_name(system_name_)) static_cast<void>(memory_.detach());
  }
  delete this;
}

void library::release_from_within() noexcept {
  // Pairs with release(), and as there.
  if (references_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  try {
    std::thread([this] { close(); }).detach();
  } catch (const std::system_error&) {
    // No thread: it stays loaded, which harms nobody.
  }
}

}  // namespace karyon::detail
