// What the cases of the comparison program share: the device under test, how errors are measured, and the report.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "reference.h"

namespace deeplab {

// One figure of a case. NaN passes nothing.
struct Measure {
  std::string what;
  double value = 0;
  double bound = 0;
  bool at_least = false;  // else at most

  bool passed() const { return at_least ? value >= bound : value <= bound; }
};

class Comparison {
 public:
  Backend* device = nullptr;
  uint64_t seed = 0;
  std::vector<Precision> precisions;
  bool quick = false;
  int threads = 1;  // of the CPU backend

  // Prints a line. `what` is a precision's name, or what else distinguishes the results of one case.
  void report(const std::string& name, const std::string& what, const Result<std::vector<Measure>>& result);
  int passed() const { return passed_; }
  int failed() const { return failed_; }
  Status write_json(const std::string& path) const;

  NetworkOptions options(Precision precision) const { return {precision, threads, /*winograd=*/false}; }

 private:
  struct Line {
    std::string name, what, failure;
    std::vector<Measure> measures;
    bool passed;
  };
  std::vector<Line> lines_;
  int passed_ = 0, failed_ = 0;
};

struct Case {
  std::string name;
  bool quick = true;  // small enough for a device that is emulated
  std::function<void(Comparison&, const std::string& name)> run;
};

// Logits, labels and scores of every operation (operation_cases.cc) and of whole networks (network_cases.cc).
std::vector<Case> operation_cases();
std::vector<Case> network_cases();
// run_cases.cc: runs that overlap, follow each other, are cancelled or are too large.
std::vector<Case> run_cases();
// crf_cases.cc
std::vector<Case> crf_cases();
// training_cases.cc
std::vector<Case> training_cases();

// ‖a - b‖ / ‖b‖ that a precision may have.
double relative_bound(Precision precision, bool whole_network);

double relative_error(const float* values, const std::vector<double>& reference);
// max |a - b| / rms(b): a wrong value among many right ones.
double peak_error(const float* values, const std::vector<double>& reference);
double largest_difference(const float* values, const float* reference, size_t count);
double root_mean_square(const std::vector<double>& values);
// Part of the labels that are the same, among those whose margin is above `tie`.
double agreement(const std::vector<uint8_t>& labels, const std::vector<uint8_t>& reference,
                 const std::vector<double>& margins, double tie);

// The device under test: find_backend("cuda"), the CUDA backend's sources on the host, or the CPU's. Each program of
// CMakeLists.txt has its own.
Result<Backend*> device_under_test(const std::string& name);

}  // namespace deeplab
