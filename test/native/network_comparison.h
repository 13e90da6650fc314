// Holds the logits, labels and scores of one network on a device against float64 and the CPU backend.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "comparison.h"
#include "graph/graph.h"
#include "graph/scales.h"

namespace deeplab {

struct NetworkCase {
  Graph graph;  // as a builder made it
  Shape image;
  bool whole_network = false;
  bool in_float64 = true;  // else the CPU backend stands in for it, where float64 would take minutes
  InferenceMode mode = {};

  Graph plain() const;
  Graph optimized() const;
};

class CaseList {
 public:
  void add(const std::string& name, const Graph& graph, const Shape& image) { add(name, {graph, image}, true); }
  void add(const std::string& name, const NetworkCase& test, bool quick);
  // What `make` makes of a seed.
  void add_random(const std::string& name, const std::function<NetworkCase(uint64_t seed)>& make);
  // What optimize() makes of a graph computes the same, in float64.
  void add_passes(const std::string& name, const Graph& graph, const Shape& image);
  std::vector<Case> take() { return std::move(cases_); }

 private:
  std::vector<Case> cases_;
};

}  // namespace deeplab
