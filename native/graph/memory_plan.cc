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
      offset = std::max(offset, round_up(plan.offsets[j] + requests[j].bytes, AlignedBuffer::kAlignment));
    }
    plan.offsets[i] = offset;
    plan.bytes = std::max(plan.bytes, offset + request.bytes);
    placed.push_back(i);
  }
  return plan;
}

ActivationBuffers activation_buffers(const Graph& graph, const std::function<size_t(NodeId)>& bytes_of) {
  const std::vector<NodeId> last_use = last_uses(graph);
  ActivationBuffers buffers;
  buffers.buffer_of.assign(graph.nodes.size(), -1);
  for (NodeId id = 0; id < static_cast<NodeId>(graph.nodes.size()); ++id) {
    const Node& node = graph.nodes[id];
    const auto* conv = std::get_if<Conv2d>(&node.op);
    if (conv != nullptr && conv->residual) {
      const int buffer = buffers.buffer_of[node.inputs[1]];
      buffers.buffer_of[id] = buffer;
      buffers.requests[buffer].last = std::max<int>(buffers.requests[buffer].last, last_use[id]);
    } else if (const size_t bytes = bytes_of(id); bytes != 0) {
      buffers.buffer_of[id] = static_cast<int>(buffers.requests.size());
      buffers.requests.push_back({bytes, id, last_use[id]});
    }
  }
  return buffers;
}

}  // namespace deeplab
