// Status and Result: how everything under native/ reports failure. Nothing here throws; native/addon turns a Status
// into a JavaScript error with the same code.
#pragma once

#include <sstream>
#include <string>
#include <utility>
#include <variant>

namespace deeplab {

enum class Code {
  kOk,
  kInvalidArgument,
  kNotFound,
  kInvalidWeights,
  kUnsupportedModel,
  kUnsupportedPrecision,
  kDeviceUnavailable,
  kDeviceFailed,
  kOutOfMemory,
  kClosed,
  kAborted,
  kInternal,
};

// The stable name that users see, such as "ERR_INVALID_WEIGHTS"; the catalogue is lib/errors.ts.
const char* code_name(Code code);

class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(Code code, std::string message) : code_(code), message_(std::move(message)) {}

  bool ok() const { return code_ == Code::kOk; }
  Code code() const { return code_; }
  const std::string& message() const { return message_; }

 private:
  Code code_ = Code::kOk;
  std::string message_;
};

// A value, or the Status that says why there is none.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : content_(std::in_place_index<1>, std::move(value)) {}
  Result(Status status) : content_(std::in_place_index<0>, std::move(status)) {}

  bool ok() const { return content_.index() == 1; }
  Status status() const { return ok() ? Status() : std::get<0>(content_); }
  T& operator*() { return std::get<1>(content_); }
  const T& operator*() const { return std::get<1>(content_); }
  T* operator->() { return &std::get<1>(content_); }
  const T* operator->() const { return &std::get<1>(content_); }

 private:
  std::variant<Status, T> content_;
};

// error(Code::kNotFound, "no such file: ", path)
template <typename... Parts>
Status error(Code code, const Parts&... parts) {
  std::ostringstream message;
  (message << ... << parts);
  return Status(code, message.str());
}

}  // namespace deeplab

#define DEEPLAB_RETURN_IF_ERROR(expression)                                      \
  do {                                                                           \
    if (::deeplab::Status status_ = (expression); !status_.ok()) return status_; \
  } while (false)
