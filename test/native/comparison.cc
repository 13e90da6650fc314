#include "comparison.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

namespace deeplab {

void Comparison::report(const std::string& name, const std::string& what, const Result<std::vector<Measure>>& result) {
  Line line{name,
            what,
            result.ok() ? "" : code_name(result.status().code()) + (": " + result.status().message()),
            {},
            result.ok()};
  if (result.ok()) line.measures = *result;
  for (const Measure& measure : line.measures) line.passed = line.passed && measure.passed();
  std::printf("%-6s %-5s %-58s", line.passed ? "ok" : "FAILED", what.c_str(), name.c_str());
  for (const Measure& measure : line.measures) {
    std::printf("  %s %.3g (%s %.3g)", measure.what.c_str(), measure.value,
                measure.at_least ? ">=" : "<=", measure.bound);
  }
  std::printf("%s\n", line.failure.empty() ? "" : ("  " + line.failure).c_str());
  std::fflush(stdout);
  ++(line.passed ? passed_ : failed_);
  lines_.push_back(std::move(line));
}

Status Comparison::write_json(const std::string& path) const {
  using nlohmann::json;
  json cases = json::array();
  for (const Line& line : lines_) {
    json measures = json::object();
    for (const Measure& measure : line.measures) {
      // JSON has no NaN: null.
      measures[measure.what] = {{"value", measure.value}, {"bound", measure.bound}, {"atLeast", measure.at_least}};
    }
    cases.push_back({{"name", line.name}, {"precision", line.what}, {"passed", line.passed}, {"measures", measures}});
    if (!line.failure.empty()) cases.back()["failure"] = line.failure;
  }
  const json result = {{"device", device->device()}, {"seed", seed},      {"quick", quick},
                       {"passed", passed_},          {"failed", failed_}, {"cases", cases}};
  std::ofstream file(path);
  file << result.dump(1) << '\n';
  return file.good() ? Status() : error(Code::kNotFound, "cannot write ", path);
}

double relative_bound(Precision precision, bool whole_network) {
  switch (precision) {
    case Precision::kF32: return 1e-5;
    case Precision::kTF32: return 1e-3;
    // A hundred layers of 8 bits: ResNet-101 in float64 arithmetic whose activations alone are rounded to bf16 is off
    // by 0.7 to 1.1 %. The blocks of MobileNetV2 are not small beside their shortcuts: it is off by up to 2.2 %.
    case Precision::kBF16: return whole_network ? 3e-2 : 1e-2;
    case Precision::kF16: return 1e-2;
  }
  return 0;
}

double root_mean_square(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value * value;
  return std::sqrt(sum / static_cast<double>(std::max<size_t>(values.size(), 1)));
}

double relative_error(const float* values, const std::vector<double>& reference) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < reference.size(); ++i) {
    difference += (values[i] - reference[i]) * (values[i] - reference[i]);
    norm += reference[i] * reference[i];
  }
  return std::sqrt(difference / norm);
}

double peak_error(const float* values, const std::vector<double>& reference) {
  double largest = 0;
  for (size_t i = 0; i < reference.size(); ++i) {
    const double difference = std::abs(values[i] - reference[i]);
    if (std::isnan(difference)) return difference;
    largest = std::max(largest, difference);
  }
  return largest / root_mean_square(reference);
}

double largest_difference(const float* values, const float* reference, size_t count) {
  double largest = 0;
  for (size_t i = 0; i < count; ++i) {
    const double difference = std::abs(static_cast<double>(values[i]) - reference[i]);
    if (std::isnan(difference)) return difference;
    largest = std::max(largest, difference);
  }
  return largest;
}

double agreement(const std::vector<uint8_t>& labels, const std::vector<uint8_t>& reference,
                 const std::vector<double>& margins, double tie) {
  size_t clear = 0, same = 0;
  for (size_t i = 0; i < margins.size(); ++i) {
    if (margins[i] <= tie) continue;
    ++clear;
    if (labels[i] == reference[i]) ++same;
  }
  return clear == 0 ? 1.0 : static_cast<double>(same) / static_cast<double>(clear);
}

}  // namespace deeplab
