// SPDX-License-Identifier: Apache-2.0
//
// A node in a process of its own, with groups and names: services_helper NAME ENDPOINT [CALLED...]
//
// Each line on its standard input is answered by one: "join GROUP" and "name NAME" by "ok" or what is wrong, "count GROUP" by a number,
// "owner NAME" by the number of the node whose it is ("0" for its own, "nobody" if nobody's).
#include <iostream>
#include <sstream>
#include <string>

#include <karyon/discover/groups.hpp>
#include <karyon/discover/registry.hpp>
#include <karyon/nerve/node.hpp>

namespace {

class dweller : public karyon::cell {
public:
  using accepts = karyon::signals<>;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  karyon::runtime_options quiet;
  quiet.scheduler.binding.workers = 1;
  karyon::runtime rt(quiet);
  auto groups = *karyon::process_groups::open(rt, "scope");
  auto names = *karyon::registry::open(rt, "scope");
  karyon::node_options options;
  options.name = argv[1];
  options.synapse.listen = {argv[2]};
  options.synapse.silence_max = std::chrono::seconds(20);
  options.synapse.handshake = std::chrono::seconds(10);
  for (int i = 3; i < argc; ++i) options.synapse.peers.push_back({argv[i], ""});
  const karyon::node here(rt, options);
  std::cout << "ready" << std::endl;
  const auto say = [](const karyon::result<void>& r) { std::cout << (r ? "ok" : to_string(r.error())) << std::endl; };
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string what;
    std::string which;
    words >> what >> which;
    if (what == "join") say(groups.join(which, rt.spawn<dweller>()));
    if (what == "name") say(names.add(which, rt.spawn<dweller>()));
    if (what == "count") std::cout << groups.members(which).size() << std::endl;
    if (what == "owner") {
      const auto found = names.find(which);
      std::cout << (found ? std::to_string(found->node().value) : "nobody") << std::endl;
    }
  }
  return 0;
}
