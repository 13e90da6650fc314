// What V8 is told that a JavaScript object holds outside of its heap, so that it collects the object in time: to V8 a
// forgotten model of half a gigabyte is an object of a hundred bytes.
#pragma once

#include <napi.h>

namespace deeplab {

// On the JavaScript thread alone.
class ExternalMemory {
 public:
  // The object holds `bytes` from now on. To be zero when it goes.
  void set(napi_env env, size_t bytes) {
    int64_t all = 0;
    const int64_t change = static_cast<int64_t>(bytes) - static_cast<int64_t>(told_);
    // Not node-addon-api's call, which throws: this is called by destructors.
    if (change != 0 && napi_adjust_external_memory(env, change, &all) == napi_ok) told_ = bytes;
  }

 private:
  size_t told_ = 0;
};

}  // namespace deeplab
