// SPDX-License-Identifier: Apache-2.0
#include "harness/context.hpp"

#include "build_info.hpp"

#include <sys/utsname.h>

#include <cctype>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <thread>

namespace karyon::bench {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

fs::path const cpus{"/sys/devices/system/cpu"};

/// The first line of a file, or nothing when there is no such file.
std::string line_of(fs::path const& file) {
  std::ifstream in{file};
  std::string line;
  std::getline(in, line);
  return line;
}

/// The chosen word of a sysfs switch, such as "always [madvise] never".
std::string chosen_word(fs::path const& file) {
  auto const line = line_of(file);
  auto const open = line.find('[');
  auto const close = line.find(']');
  return open == std::string::npos || close == std::string::npos ? "unknown" : line.substr(open + 1, close - open - 1);
}

std::string cpu_info(std::string const& key) {
  std::ifstream in{"/proc/cpuinfo"};
  for (std::string line; std::getline(in, line);) {
    if (line.rfind(key, 0) == 0 && line.find(": ") != std::string::npos) {
      return line.substr(line.find(": ") + 2);
    }
  }
  return {};
}

std::string date() {
  auto const now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  char text[64];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S%z", &local);
  return text;
}

/// How many processors a list such as "0-3,8" names.
std::size_t count_of(std::string const& list) {
  std::size_t count = 0;
  std::istringstream ranges{list};
  for (std::string range; std::getline(ranges, range, ',');) {
    auto const dash = range.find('-');
    auto const first = std::strtoul(range.c_str(), nullptr, 10);
    auto const last = dash == std::string::npos ? first : std::strtoul(range.c_str() + dash + 1, nullptr, 10);
    count += last - first + 1;
  }
  return count;
}

ordered_json caches() {
  auto found = ordered_json::array();
  for (int i = 0; fs::exists(cpus / "cpu0/cache" / ("index" + std::to_string(i))); ++i) {
    auto const cache = cpus / "cpu0/cache" / ("index" + std::to_string(i));
    found.push_back({{"type", line_of(cache / "type")},
                     {"level", std::atoi(line_of(cache / "level").c_str())},
                     {"size", std::atoll(line_of(cache / "size").c_str()) * 1024},
                     {"num_sharing", count_of(line_of(cache / "shared_cpu_list"))}});
  }
  return found;
}

/// Packages, NUMA nodes, cores and hardware threads that are online.
std::string topology() {
  std::set<std::string> packages;
  std::set<std::string> cores;
  std::size_t threads = 0;
  for (auto const& entry : fs::directory_iterator(cpus)) {
    auto const name = entry.path().filename().string();
    auto const cores_list = line_of(entry.path() / "topology/core_cpus_list");
    if (name.rfind("cpu", 0) == 0 && name.size() > 3 && std::isdigit(static_cast<unsigned char>(name[3])) != 0 &&
        !cores_list.empty()) {
      packages.insert(line_of(entry.path() / "topology/physical_package_id"));
      cores.insert(cores_list);
      ++threads;
    }
  }
  auto const nodes = count_of(line_of("/sys/devices/system/node/has_memory"));
  auto const part = [](std::size_t count, char const* what) {
    return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
  };
  return part(packages.size(), "package") + ", " + part(nodes, "node") + ", " + part(cores.size(), "core") + ", " +
         part(threads, "thread");
}

ordered_json load_average() {
  double loads[3] = {0, 0, 0};
  auto const count = getloadavg(loads, 3);
  auto values = ordered_json::array();
  for (int i = 0; i < count; ++i) {
    values.push_back(loads[i]);
  }
  return values;
}

double memory_gib() {
  std::ifstream in{"/proc/meminfo"};
  std::string key;
  double kibibytes = 0;
  in >> key >> kibibytes;
  return kibibytes / (1024 * 1024);
}

}  // namespace

ordered_json describe_context() {
  utsname kernel{};
  uname(&kernel);
  auto governor = line_of(cpus / "cpu0/cpufreq/scaling_governor");
  ordered_json context;
  context["date"] = date();
  context["num_cpus"] = std::thread::hardware_concurrency();
  context["mhz_per_cpu"] = static_cast<int>(std::strtod(cpu_info("cpu MHz").c_str(), nullptr));
  context["cpu_model"] = cpu_info("model name");
  context["cpu_scaling_enabled"] = !governor.empty() && governor != "performance";
  context["caches"] = caches();
  context["load_avg"] = load_average();
  context["memory_gib"] = memory_gib();
  context["topology"] = topology();
  context["governor"] = governor.empty() ? "none" : governor;
  context["transparent_huge_pages"] = chosen_word("/sys/kernel/mm/transparent_hugepage/enabled");
  context["kernel"] = std::string{kernel.sysname} + " " + kernel.release;
  context["library_build_type"] = build_info::type;
  context["compiler"] = build_info::compiler;
  context["allocator"] = build_info::allocator;
  context["karyon_version"] = build_info::version;
  context["karyon_commit"] = build_info::commit();
  return context;
}

}  // namespace karyon::bench
