// A host that loads the organelle named by its argument.
#include <cstdint>
#include <cstdio>

#include <karyon/karyon.hpp>

int main(int argc, char** argv) {
  const auto loaded = karyon::organelle::load(argc > 1 ? argv[1] : "length.so");
  if (!loaded) {
    std::puts(loaded.error().message().c_str());
    return 1;
  }
  const auto length = loaded->function("length").value()("organelle").now();
  return length && length->get<std::uint64_t>().value() == 9 ? 0 : 1;
}
