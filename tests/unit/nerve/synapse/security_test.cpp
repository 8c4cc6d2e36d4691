// SPDX-License-Identifier: Apache-2.0
#include "nerve/security.hpp"

#include <sys/stat.h>

#include "support/catch.hpp"
#include "support/temporary_tree.hpp"
#include "synapse_testing.hpp"

using namespace karyon;
using namespace karyon::tests;

namespace {

std::string why_not(const synapse_options& options) {
  auto opened = synapse::open(options, {11, 1});
  return opened ? "" : opened.error().message();
}

bool says(const std::string& text, const char* words) { return text.find(words) != std::string::npos; }

synapse_options at(const std::string& endpoint) {
  synapse_options o = patient();
  o.listen = {endpoint};
  return o;
}

/// Nodes with keys, each of which has a list of whom it lets in.
class keyring {
public:
  std::string make(const std::string& name) {
    const auto pair = new_pair();
    if (!pair || !write_pair(*pair, tree.path(name + ".key"))) return "";
    return to_hex(pair->open);
  }
  synapse_options options(const std::string& name, const std::string& allowed) {
    tree.write(name + ".allow", allowed);
    synapse_options o = at("tcp://127.0.0.1:*");
    o.key_file = tree.path(name + ".key");
    o.allow_file = tree.path(name + ".allow");
    return o;
  }
  temporary_tree tree;
};

peer_id named(const std::string& name) { return {node_id_of(name), 1}; }

}  // namespace

TEST_CASE("plaintext beyond the loopback is refused, unless a flag asks for it") {
  CHECK(says(why_not(at("tcp://0.0.0.0:*")), "beyond the loopback"));
  CHECK(says(why_not(at("tcp://127.0.0.1.example.org:7000")), "beyond the loopback"));
  CHECK(why_not(at("tcp://127.0.0.1:*")).empty());
  synapse_options o = at("tcp://0.0.0.0:*");
  o.plaintext_beyond_loopback = true;
  CHECK(why_not(o).empty());
  end a({11, 1}, at("tcp://127.0.0.1:*"));
  REQUIRE(a.is_open());
  const auto called = a->connect({"tcp://192.0.2.1:7000", ""});
  REQUIRE_FALSE(called);
  CHECK(called.error().code() == errc::refused);
}

TEST_CASE("an ipc endpoint lies in a folder that nobody else can enter, and is not taken over from another process") {
  temporary_tree tree;
  CHECK(why_not(at("ipc://" + tree.path("made/a"))).empty());
  struct stat about {};
  REQUIRE(::stat(tree.path("made").c_str(), &about) == 0);
  CHECK((about.st_mode & 0777U) == 0700U);
  tree.mode("made", 0750);
  CHECK(says(why_not(at("ipc://" + tree.path("made/a"))), "open to others"));
  tree.mode("made", 0700);
  end first({11, 1}, at("ipc://" + tree.path("made/a")));
  REQUIRE(first.is_open());
  CHECK(says(why_not(at("ipc://" + tree.path("made/a"))), "Another process listens"));
  CHECK(says(why_not(at("ipc://relative")), "absolute path"));
  CHECK(says(why_not(at("udp://127.0.0.1:1")), "no endpoint"));
}

TEST_CASE("options that can not work are refused with a sentence") {
  synapse_options o = patient();
  o.window_frames = 0;
  CHECK(says(why_not(o), "window_frames"));
  o = patient();
  o.frame_bytes_max = o.window_bytes;
  CHECK(says(why_not(o), "frame_bytes_max"));
  o = patient();
  o.silence_max = o.heartbeat;
  CHECK(says(why_not(o), "silence_max"));
  o = patient();
  o.peers = {{"tcp://127.0.0.1:7000", ""}};
  CHECK(says(why_not(o), "must listen itself"));
  o = patient();
  o.allow_file = "/nowhere";
  CHECK(says(why_not(o), "key_file"));
}

TEST_CASE("a pair of keys is written for its owner alone, never over another, and read only if it was kept so") {
  keyring keys;
  const std::string open = keys.make("a");
  REQUIRE(open.size() == 64);
  const auto read = read_pair(keys.tree.path("a.key"));
  REQUIRE(read);
  CHECK(to_hex(read->open) == open);
  const auto again = write_pair(*read, keys.tree.path("a.key"));
  REQUIRE_FALSE(again);
  CHECK(again.error().code() == errc::already_present);
  keys.tree.mode("a.key", 0640);
  CHECK(says(read_pair(keys.tree.path("a.key")).error().message(), "chmod 600"));
  keys.tree.write("bad.key", "public 12\n");
  keys.tree.mode("bad.key", 0600);
  CHECK_FALSE(read_pair(keys.tree.path("bad.key")));
}

TEST_CASE("a list of allowed keys is refused as a whole for one bad line, which is named") {
  temporary_tree tree;
  const std::string key(64, 'a');
  tree.write("good", "# comment\n\n" + key + " alpha\n" + std::string(64, 'b') + " *\n");
  const auto good = allow_list::read(tree.path("good"));
  REQUIRE(good);
  CHECK(good->size() == 2);
  CHECK(good->allows(*key_from_hex(key), node_id_of("alpha")));
  CHECK_FALSE(good->allows(*key_from_hex(key), node_id_of("beta")));
  CHECK(good->allows(*key_from_hex(std::string(64, 'B')), node_id_of("beta")));
  CHECK_FALSE(good->has(*key_from_hex(std::string(64, 'c'))));
  for (const std::string& line : {key, key + " a b", key.substr(1) + " alpha", std::string("alpha")}) {
    tree.write("bad", key + " alpha\n" + line + "\n");
    const auto bad = allow_list::read(tree.path("bad"));
    REQUIRE_FALSE(bad);
    CHECK(says(bad.error().message(), "line 2"));
  }
  tree.mode("good", 0666);
  const auto open = allow_list::read(tree.path("good"));
  REQUIRE_FALSE(open);
  CHECK(says(open.error().message(), "written by everybody"));
}

TEST_CASE("nodes whose keys are on each other's lists speak with each other, encrypted") {
  keyring keys;
  const std::string a_key = keys.make("alpha");
  const std::string b_key = keys.make("beta");
  end a(named("alpha"), keys.options("alpha", b_key + " beta\n"));
  end b(named("beta"), keys.options("beta", a_key + " alpha\n"));
  REQUIRE(a.is_open());
  REQUIRE(b.is_open());
  REQUIRE(a->connect({b->endpoints().front(), b_key}).has_value());
  REQUIRE(eventually([&] { return a.sink.is_up() && b.sink.is_up(); }));
  CHECK(a.send(b.id, 1) == frame_fate::accepted);
  CHECK(eventually([&] { return b.sink.numbers().size() == 1; }));

  SECTION("and no more once the list does not have them any longer") {
    keys.tree.write("beta.allow", "# nobody\n");
    REQUIRE(b->reload_allowed().has_value());
    CHECK(eventually([&] { return b.sink.losses() == std::vector<link_loss>{link_loss::refused}; }));
    CHECK(eventually([&] { return !a.sink.is_up(); }));
    CHECK(eventually([&] { return b->stats().keys_refused > 0; }));
    CHECK(b.sink.ups().size() == 1);
    keys.tree.write("beta.allow", "nonsense\n");
    CHECK_FALSE(b->reload_allowed());
    keys.tree.write("beta.allow", a_key + " alpha\n");
    REQUIRE(b->reload_allowed().has_value());
    CHECK(eventually([&] { return a.sink.is_up() && b.sink.ups().size() == 2; }));
  }
}

TEST_CASE("a key that is not on the list does not even get to say who it is") {
  keyring keys;
  const std::string a_key = keys.make("alpha");
  const std::string b_key = keys.make("beta");
  end a(named("alpha"), keys.options("alpha", b_key + " beta\n"));
  std::string nobodys(64, '0');
  nobodys += " alpha\n";
  end b(named("beta"), keys.options("beta", nobodys));
  REQUIRE(a->connect({b->endpoints().front(), b_key}).has_value());
  CHECK(eventually([&] { return b->stats().keys_refused > 0; }));
  CHECK(b.sink.ups().empty());
  CHECK(a.sink.ups().empty());
}

TEST_CASE("a key on the list does not open the door to another node's name") {
  keyring keys;
  const std::string a_key = keys.make("alpha");
  const std::string b_key = keys.make("beta");
  end a(named("mallory"), keys.options("alpha", b_key + " beta\n"));
  end b(named("beta"), keys.options("beta", a_key + " alpha\n"));
  REQUIRE(a->connect({b->endpoints().front(), b_key}).has_value());
  CHECK(eventually(
      [&] { return b->stats().greetings_refused[static_cast<std::size_t>(greeting_refusal::not_allowed)] > 0; }));
  CHECK(b.sink.ups().empty());
}

TEST_CASE("a node that others have told of is called by its own key, whoever has named its place with another's") {
  keyring keys;
  const std::string a_key = keys.make("alpha");
  const std::string b_key = keys.make("beta");
  const std::string c_key = keys.make("gamma");
  end a(named("alpha"), keys.options("alpha", b_key + " beta\n" + c_key + " gamma\n"));
  end b(named("beta"), keys.options("beta", a_key + " alpha\n"));
  REQUIRE(a.is_open());
  REQUIRE(b.is_open());
  CHECK(a->public_key() == key_from_hex(a_key));
  CHECK(a->allows(key_from_hex(b_key).value(), node_id_of("beta")));
  CHECK_FALSE(a->allows(key_from_hex(b_key).value(), node_id_of("gamma")));
  CHECK_FALSE(a->allows(key_from_hex(a_key).value(), node_id_of("alpha")));
  const std::string there = b->endpoints().front();
  REQUIRE(a->connect_passing({there, c_key}).has_value());
  REQUIRE(a->connect_passing({there, b_key}).has_value());
  CHECK(eventually([&] { return a.sink.is_up() && b.sink.is_up(); }));
  CHECK(a.sink.ups() == std::vector<peer_id>{named("beta")});
}

TEST_CASE("a node without keys gets nothing out of one that has some") {
  keyring keys;
  keys.make("beta");
  end b(named("beta"), keys.options("beta", "# nobody\n"));
  end a({11, 1}, at("tcp://127.0.0.1:*"));
  REQUIRE(a->connect({b->endpoints().front(), ""}).has_value());
  // Another one of its kind, whose fate can be seen, goes the same way later.
  end c({12, 1}, at("tcp://127.0.0.1:*"));
  REQUIRE(a->connect({c->endpoints().front(), ""}).has_value());
  CHECK(eventually([&] { return c.sink.is_up(); }));
  CHECK(eventually([&] { return a.sink.is_up(); }));  // either end may be the first to know
  CHECK(b->stats().links_made == 0);
  CHECK(a.sink.ups() == std::vector<peer_id>{{12, 1}});
}
