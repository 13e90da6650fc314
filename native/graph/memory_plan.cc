#include "graph/memory_plan.h"

#include <algorithm>
#include <numeric>

#include "core/memory.h"

namespace deeplab {

// Greedy by size: the largest buffer first, each at the lowest offset where it meets no buffer of its time.
MemoryPlan plan_memory(const std::vector<BufferRequest>& requests) {
  std::vector<int> order(requests.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return requests[a].bytes > requests[b].bytes; });

  MemoryPlan plan;
  plan.offsets.resize(requests.size());
  std::vector<int> placed;
  for (const int i : order) {
    const BufferRequest& request = requests[i];
    std::vector<int> neighbours;  // placed buffers that live at the same time, by offset
    for (const int j : placed) {
      if (requests[j].first <= request.last && request.first <= requests[j].last) neighbours.push_back(j);
    }
    std::sort(neighbours.begin(), neighbours.end(), [&](int a, int b) { return plan.offsets[a] < plan.offsets[b]; });
    size_t offset = 0;
    for (const int j : neighbours) {
      if (offset + request.bytes <= plan.offsets[j]) break;
      offset = std::max(offset, round_up(plan.offsets[j] + requests[j].bytes, kPlanAlignment));
    }
    plan.offsets[i] = offset;
    plan.bytes = std::max(plan.bytes, offset + request.bytes);
    placed.push_back(i);
  }
  return plan;
}

NetworkMemory plan_network_memory(const Graph& graph, const NodeBytes& bytes, ResidualMemory residual) {
  constexpr int kNone = -1;
  const std::vector<NodeId> last_use = last_uses(graph);
  const auto nodes = static_cast<NodeId>(graph.nodes.size());
  std::vector<BufferRequest> requests;
  // Indexes into `requests`; several nodes may have the same buffer.
  std::vector<int> buffer_of(nodes, kNone), scratch_of(nodes, kNone);
  for (NodeId id = 0; id < nodes; ++id) {
    const Node& node = graph.nodes[id];
    const auto* conv = std::get_if<Conv2d>(&node.op);
    if (residual == ResidualMemory::kOverwritten && conv != nullptr && conv->residual) {
      const int buffer = buffer_of[id] = buffer_of[node.inputs[1]];
      requests[buffer].last = std::max<int>(requests[buffer].last, last_use[id]);
    } else if (bytes.output[id] != 0) {
      buffer_of[id] = static_cast<int>(requests.size());
      requests.push_back({bytes.output[id], id, last_use[id]});
    }
  }
  for (NodeId id = 0; id < nodes; ++id) {
    if (bytes.scratch[id] == 0) continue;
    scratch_of[id] = static_cast<int>(requests.size());
    requests.push_back({bytes.scratch[id], id, id});
  }

  const MemoryPlan plan = plan_memory(requests);
  const auto offset = [&](int buffer) { return buffer == kNone ? 0 : plan.offsets[buffer]; };
  NetworkMemory memory{{}, plan.bytes};
  for (NodeId id = 0; id < nodes; ++id) {
    StepMemory step{{}, offset(buffer_of[id]), offset(scratch_of[id])};
    for (const NodeId input : graph.nodes[id].inputs) step.inputs.push_back(offset(buffer_of[input]));
    memory.steps.push_back(std::move(step));
  }
  return memory;
}

}  // namespace deeplab
