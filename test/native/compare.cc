// Holds a backend against float64 and against the CPU backend, on networks, images and CRFs made from a seed. A line
// for each result: its errors, and the bounds of them. CONTRIBUTING.md says which programs are built of it.

#include <omp.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "comparison.h"

namespace deeplab {
namespace {

constexpr const char* kUsage =
    "usage: compare [--device NAME] [--seed N] [--filter TEXT|TEXT] [--except TEXT|TEXT] [--precisions f32,f16]\n"
    "               [--quick] [--threads N] [--json FILE] [--list]\n";

struct Arguments {
  std::string device, filter, except, precisions, json;
  uint64_t seed = static_cast<uint64_t>(std::time(nullptr));
  bool quick = false, list = false;
  int threads = omp_get_max_threads();
};

bool parse(int count, char** values, Arguments* arguments) {
  for (int i = 1; i < count; ++i) {
    const std::string name = values[i];
    if (name == "--quick") {
      arguments->quick = true;
    } else if (name == "--list") {
      arguments->list = true;
    } else {
      if (i + 1 == count) return false;
      const char* value = values[++i];
      if (name == "--device")
        arguments->device = value;
      else if (name == "--seed")
        arguments->seed = std::strtoull(value, nullptr, 10);
      else if (name == "--filter")
        arguments->filter = value;
      else if (name == "--except")
        arguments->except = value;
      else if (name == "--precisions")
        arguments->precisions = value;
      else if (name == "--threads")
        arguments->threads = std::max(std::atoi(value), 1);
      else if (name == "--json")
        arguments->json = value;
      else
        return false;
    }
  }
  return true;
}

// Whether the text has one of the parts of `filter`, which `|` separates.
bool matches(const std::string& text, const std::string& filter) {
  for (size_t begin = 0, end = 0; end != std::string::npos; begin = end + 1) {
    end = filter.find('|', begin);
    if (text.find(filter.substr(begin, end - begin)) != std::string::npos) return true;
  }
  return false;
}

std::vector<Case> chosen_cases(const Arguments& arguments) {
  std::vector<Case> cases;
  for (auto* make : {operation_cases, network_cases, run_cases, crf_cases, training_cases}) {
    for (Case& one : make()) {
      const bool excepted = !arguments.except.empty() && matches(one.name, arguments.except);
      const bool chosen = matches(one.name, arguments.filter) && !excepted;
      if (chosen && (one.quick || !arguments.quick)) cases.push_back(std::move(one));
    }
  }
  return cases;
}

// The device's, or those of them that are named.
std::vector<Precision> chosen_precisions(const Backend& device, const std::string& names) {
  std::vector<Precision> chosen;
  for (const Precision precision : device.precisions()) {
    const std::string name = precision_name(precision);
    if (names.empty() || ("," + names + ",").find("," + name + ",") != std::string::npos) chosen.push_back(precision);
  }
  return chosen;
}

int run(const Arguments& arguments) {
  const std::vector<Case> cases = chosen_cases(arguments);
  if (arguments.list) {
    for (const Case& one : cases) std::printf("%s\n", one.name.c_str());
    return 0;
  }
  auto device = device_under_test(arguments.device);
  if (!device.ok()) {
    std::fprintf(stderr, "%s: %s\n", code_name(device.status().code()), device.status().message().c_str());
    return 1;
  }
  omp_set_num_threads(arguments.threads);
  Comparison comparison;
  comparison.device = *device;
  comparison.seed = arguments.seed;
  comparison.quick = arguments.quick;
  comparison.threads = arguments.threads;
  comparison.precisions = chosen_precisions(**device, arguments.precisions);
  std::printf("%s, seed %llu\n", (*device)->device().c_str(), static_cast<unsigned long long>(arguments.seed));
  for (const Case& one : cases) {
    one.run(comparison, one.name);
    if (arguments.json.empty()) continue;
    // Each time: whoever stops the program has what came before.
    if (const Status written = comparison.write_json(arguments.json); !written.ok()) {
      std::fprintf(stderr, "%s\n", written.message().c_str());
      return 1;
    }
  }
  std::printf("%s, seed %llu: %d passed, %d failed\n", (*device)->device().c_str(),
              static_cast<unsigned long long>(arguments.seed), comparison.passed(), comparison.failed());
  // A filter or a precision that chooses nothing tested nothing.
  return comparison.failed() == 0 && comparison.passed() > 0 ? 0 : 1;
}

}  // namespace
}  // namespace deeplab

int main(int count, char** values) {
  deeplab::Arguments arguments;
  if (!deeplab::parse(count, values, &arguments)) {
    std::fputs(deeplab::kUsage, stderr);
    return 2;
  }
  return deeplab::run(arguments);
}
