// A loaded model at work: one queue, and one thread that loads the model, then serves the queue. The thread owns the
// network; everybody else talks to it through the queue.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "backend/backend.h"
#include "session/model.h"

namespace deeplab {

struct SessionOptions {
  std::string path;
  std::string device = "auto";
  std::optional<Precision> precision;  // none: the device's best
  int threads = 1;
  bool winograd = true;
  int cache_size = 8;  // image shapes whose executables are kept, least recently used first out
};

// Known once the model is loaded, constant from then on.
struct SessionInfo {
  ModelConfig config;
  std::string device;
  Precision precision = Precision::kF32;
  int threads = 1;
};

struct SegmentRequest {
  uint64_t id = 0;
  Shape image;                              // [1,channels,H,W]
  std::vector<uint8_t> pixels;              // [H,W,channels]
  RunOutput output;                         // must stay valid until `done`
  std::function<void(const Status&)> done;  // called once, on any thread
};

class Session {
 public:
  // Starts loading; `loaded` is called once, on the session's thread.
  Session(SessionOptions options, std::function<void(const Status&)> loaded);
  ~Session() { stop(); }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // These two only after `loaded` was called with success.
  const SessionInfo& info() const { return info_; }
  Result<Shape> logits_shape(const Shape& image) const;

  void submit(SegmentRequest request);
  // Ends the request with ERR_ABORTED: at once if it waits, before the next layer if it runs. Unknown ids are ignored.
  void cancel(uint64_t id);
  // Requests made so far are served, later ones get ERR_CLOSED; then the network is freed and `closed` called once.
  void close(std::function<void()> closed);
  // Cancels everything and waits for the thread.
  void stop();

 private:
  void thread_main(const std::function<void(const Status&)>& loaded);
  Status load();
  void serve();
  Status run(const SegmentRequest& request);
  Result<Executable*> executable_for(const Shape& image);

  const SessionOptions options_;
  SessionInfo info_;
  Graph graph_;

  // Of the session's thread alone.
  std::unique_ptr<Network> network_;
  std::list<std::pair<Shape, std::unique_ptr<Executable>>> executables_;  // most recently used first

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<SegmentRequest> queue_;
  uint64_t running_id_ = 0;
  std::atomic<bool> cancelled_{false};  // the running request
  bool closing_ = false;
  bool finished_ = false;
  std::vector<std::function<void()>> closed_;

  std::thread thread_;
};

}  // namespace deeplab
