// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <filesystem>
#include <utility>

#include "organelle/organelle_file.hpp"
#include "organelle_testing.hpp"

namespace {

using namespace karyon;
using namespace karyon::tests;

/// A copy of the tally in a directory of its own, changed or not, with a checksum that fits.
struct copied_tally {
  temporary_tree tree;
  std::string bytes = read_file(tally_path);

  std::string write() const {
    tree.write("tally.so", bytes);
    tree.write("tally.so.sha256", sha256_of(bytes) + "  tally.so\n");
    return tree.path("tally.so");
  }
  /// Where the descriptor of its note begins.
  std::size_t note() const {
    const std::size_t at = bytes.find(std::string_view("Karyon\0\0", 8));
    REQUIRE(at != std::string::npos);
    REQUIRE(bytes.find(std::string_view("Karyon\0\0", 8), at + 1) == std::string::npos);
    return at + 8;
  }
};

load_refusal refusal(const std::string& path, const load_options& options = {}) {
  ::unsetenv("TALLY_CONSTRUCTED");
  const auto loaded = organelle::load(path, options);
  REQUIRE_FALSE(loaded);
  CHECK(loaded.error().message().find(path) != std::string::npos);
  CHECK(::getenv("TALLY_CONSTRUCTED") == nullptr);
  return loaded.error().cause();
}

}  // namespace

TEST_CASE("an organelle written in C is loaded, and says who it is") {
  ::unsetenv("TALLY_CONSTRUCTED");
  auto file = organelle_file::open(tally_path);
  REQUIRE(file);
  CHECK(file->version() == "1.0.0");
  CHECK(file->sha256() == sha256_of(read_file(tally_path)));
  CHECK(::getenv("TALLY_CONSTRUCTED") == nullptr);
  const auto tally = organelle::load(std::move(*file));
  REQUIRE(tally);
  CHECK(::getenv("TALLY_CONSTRUCTED") != nullptr);
  CHECK(tally->name() == "tally");
  CHECK(tally->version() == "1.0.0");
  CHECK(tally->features() == 5);
  CHECK(tally->functions().front() == "new");
  CHECK(tally->function("no such").error().code() == errc::not_found);
}

TEST_CASE("a library is closed when its last function and handle are gone") {
  ::unsetenv("TALLY_CLOSED");
  {
    handle kept;
    {
      const organelle tally = load_tally();
      kept = tally.function("new").value()("x").now()->get<handle>().value();
    }
    CHECK(::getenv("TALLY_CLOSED") == nullptr);
  }
  CHECK(::getenv("TALLY_CLOSED") != nullptr);
}

TEST_CASE("loading refuses what is not there or can not be read") {
  const copied_tally copy;
  const std::string path = copy.write();
  CHECK(refusal(copy.tree.path("other.so")) == load_refusal::missing);
  CHECK(refusal(path + "/below.so") == load_refusal::missing);
  copy.tree.link("tally.so", "link.so");
  CHECK(refusal(copy.tree.path("link.so")) == load_refusal::unreadable);
  copy.tree.pipe("pipe.so");
  CHECK(refusal(copy.tree.path("pipe.so")) == load_refusal::unreadable);
  CHECK(refusal(copy.tree.path()) == load_refusal::unreadable);
  load_options small;
  small.bytes_max = copy.bytes.size() - 1;
  CHECK(refusal(path, small) == load_refusal::unreadable);
  copy.tree.mode("tally.so", 0);
  bool refused = false;
  as_nobody([&] { return organelle_file::open(path).error().cause() == load_refusal::unreadable; }, refused);
  CHECK(refused);
}

TEST_CASE("loading refuses a library without a checksum that it could be held to") {
  const copied_tally copy;
  const std::string path = copy.write();
  std::filesystem::remove(path + ".sha256");
  CHECK(refusal(path) == load_refusal::checksum_absent);
  copy.tree.write("tally.so.sha256", "");
  CHECK(refusal(path) == load_refusal::checksum_absent);
  copy.tree.write("tally.so.sha256", sha256_of(copy.bytes) + "  other.so\n");
  CHECK(refusal(path) == load_refusal::checksum_absent);
  load_options given;
  given.checksum = "12";
  CHECK(refusal(path, given) == load_refusal::checksum_absent);
  given.checksum = sha256_of(copy.bytes);
  CHECK(organelle_file::open(path, given));
  given = {};
  given.checksum_file = copy.tree.path("sums");
  copy.tree.write("sums", std::string(64, '0') + "  other.so\n" + sha256_of(copy.bytes) + " */usr/lib/tally.so\n");
  CHECK(organelle_file::open(path, given));
}

TEST_CASE("loading refuses a memory that can not be sealed") {
  detail::descriptor memory(::memfd_create("not for sealing", MFD_CLOEXEC));
  REQUIRE(memory);
  const auto sealed = detail::sealed_bytes::seal(std::move(memory), "the copy");
  REQUIRE_FALSE(sealed);
  CHECK(sealed.error().cause() == load_refusal::not_sealed);
}

TEST_CASE("the sealed copy can not be changed, not even by this process") {
  const std::string text = "bytes";
  auto sealed = detail::sealed_bytes::copy_of(std::as_bytes(std::span(text)), "the copy");
  REQUIRE(sealed);
  const int fd = sealed->memory().get();
  CHECK(::pwrite(fd, "x", 1, 0) == -1);
  CHECK(::ftruncate(fd, 0) == -1);
  CHECK(::mmap(nullptr, 1, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
}

TEST_CASE("loading refuses a library that is no organelle, or one of another ABI") {
  copied_tally copy;
  const std::size_t note = copy.note();
  const std::string sound = copy.bytes;

  copy.bytes[note - 8] = 'L';
  CHECK(refusal(copy.write()) == load_refusal::note_absent);
  copy.bytes = sound;
  ++copy.bytes[note];
  CHECK(refusal(copy.write()) == load_refusal::major);
  copy.bytes = sound;
  ++copy.bytes[note + 8];
  CHECK(refusal(copy.write()) == load_refusal::layout);
  copy.bytes = sound;
  ++copy.bytes[note + 4];  // another minor version is fine, either way
  CHECK(organelle_file::open(copy.write()));
  copy.bytes = sound.substr(0, sound.size() / 2);
  CHECK(refusal(copy.write()) == load_refusal::not_a_library);
  copy.bytes = "no library at all";
  CHECK(refusal(copy.write()) == load_refusal::not_a_library);
  copy.bytes.clear();
  CHECK(refusal(copy.write()) == load_refusal::not_a_library);
}

TEST_CASE("loading refuses a library that needs one that is not allowed") {
  copied_tally copy;
  const std::size_t at = copy.bytes.find(std::string_view("libc.so.6\0", 10));
  REQUIRE(at != std::string::npos);
  copy.bytes.replace(at, 9, "libx.so.6");
  const std::string path = copy.write();
  CHECK(refusal(path) == load_refusal::needed_library);
  load_options options;
  options.also_allowed = {"libx.so.6"};
  CHECK(organelle_file::open(path, options));
}

TEST_CASE("loading refuses an organelle whose table is of another version than its note") {
  copied_tally copy;
  copy.bytes[copy.note() + 16] = '9';
  const std::string path = copy.write();
  const auto loaded = organelle::load(path);
  REQUIRE_FALSE(loaded);
  CHECK(loaded.error().cause() == load_refusal::table);
}

TEST_CASE("loading refuses an organelle that needs what this host does not offer") {
  const auto loaded = organelle::load(tally_demands_path);
  REQUIRE_FALSE(loaded);
  CHECK(loaded.error().cause() == load_refusal::features);
}

TEST_CASE("loading refuses an organelle with two functions of one name") {
  const auto loaded = organelle::load(tally_twice_path);
  REQUIRE_FALSE(loaded);
  CHECK(loaded.error().cause() == load_refusal::table);
}

TEST_CASE("an organelle that refuses to open is refused with its own words") {
  ::setenv("TALLY_REFUSES", "yes", 1);
  const auto loaded = organelle::load(tally_path);
  ::unsetenv("TALLY_REFUSES");
  REQUIRE_FALSE(loaded);
  CHECK(loaded.error().cause() == load_refusal::not_opened);
  CHECK(loaded.error().message().find("not today") != std::string::npos);
}

TEST_CASE("a library with any one of its bytes changed is refused before any of it runs") {
  const copied_tally copy;
  const std::string path = copy.write();
  const detail::descriptor file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  REQUIRE(file);
  ::unsetenv("TALLY_CONSTRUCTED");
  std::size_t refused = 0;
  for (std::size_t i = 0; i < copy.bytes.size(); ++i) {
    const char sound = copy.bytes[i];
    const char changed = static_cast<char>(sound ^ 0x40);
    REQUIRE(::pwrite(file.get(), &changed, 1, static_cast<off_t>(i)) == 1);
    const auto loaded = organelle::load(path);
    refused += !loaded && loaded.error().cause() == load_refusal::checksum ? 1U : 0U;
    REQUIRE(::pwrite(file.get(), &sound, 1, static_cast<off_t>(i)) == 1);
  }
  CHECK(refused == copy.bytes.size());
  CHECK(::getenv("TALLY_CONSTRUCTED") == nullptr);
  CHECK(organelle::load(path));  // as it was, it is loaded
  CHECK(::getenv("TALLY_CONSTRUCTED") != nullptr);
}

TEST_CASE("a library that is changed together with its checksum is read without harm") {
  // Every byte of the headers and of the notes, and one in 31 of the rest: most lead to refusals, some change nothing that is read.
  const std::string sound = read_file(tally_path);
  std::size_t refused = 0;
  for (std::size_t i = 0; i < sound.size(); i += i < 1500 ? 1 : 31) {
    for (const char flip : {'\x01', '\x80', '\xff'}) {
      std::string bytes = sound;
      bytes[i] = static_cast<char>(bytes[i] ^ flip);
      load_options options;
      options.checksum = sha256_of(bytes);
      auto sealed = detail::sealed_bytes::copy_of(std::as_bytes(std::span(bytes)), "tally.so");
      REQUIRE(sealed);
      refused += detail::check_sealed(std::move(*sealed), "tally.so", options) ? 0U : 1U;
    }
  }
  CHECK(refused > 300);
}

TEST_CASE("a library that is cut off anywhere is read without harm") {
  const std::string sound = read_file(tally_path);
  for (std::size_t size = 0; size < sound.size(); size += size < 1500 ? 1 : 61) {
    // Exactly so many bytes, so that a sanitizer notices a look beyond them.
    const std::vector<std::byte> bytes(reinterpret_cast<const std::byte*>(sound.data()),
                                       reinterpret_cast<const std::byte*>(sound.data()) + size);
    const auto image = detail::read_elf(bytes);
    if (size < 1000) CHECK_FALSE(image);
  }
}

TEST_CASE("what runs is what was checked, whatever happens to the file in between") {
  const copied_tally copy;
  const std::string path = copy.write();
  auto file = organelle_file::open(path);
  REQUIRE(file);
  SECTION("another file takes its name") {
    copy.tree.write("other", read_file(tally_stays_path));
    std::filesystem::rename(copy.tree.path("other"), path);
  }
  SECTION("it is written over in place") {
    std::fstream in_place(path, std::ios::binary | std::ios::in | std::ios::out);
    const std::string other = read_file(tally_stays_path);
    in_place.write(other.data(), static_cast<std::streamsize>(other.size()));
  }
  const auto loaded = organelle::load(std::move(*file));
  REQUIRE(loaded);
  CHECK(loaded->version() == "1.0.0");
}

TEST_CASE("a library that the system never lets go of is not taken for the next one") {
  for (int i = 0; i < 3; ++i) {
    {
      const auto stays = organelle::load(tally_stays_path);
      REQUIRE(stays);
      CHECK(stays->version() == "1.0.1");
    }
    const organelle other = load_tally();
    CHECK(other.version() == "1.0.0");
  }
}

TEST_CASE("two libraries with one name and different bytes are loaded side by side") {
  const organelle first = load_tally();
  const auto second = organelle::load(tally_stays_path);
  REQUIRE(second);
  CHECK(first.version() == "1.0.0");
  CHECK(second->version() == "1.0.1");
  const auto third = organelle::load(tally_path);  // the same file once more: a library of its own
  REQUIRE(third);
  const handle h = first.function("new").value()("x").now()->get<handle>().value();
  CHECK(seen(first.function("seen").value(), 0) == 1);
  CHECK(seen(third->function("seen").value(), 0) == 0);
  CHECK_FALSE(third->function("add").value()(h, 1).now());  // a tally, but not one of its own
}
