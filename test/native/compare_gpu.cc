#include "comparison.h"

namespace deeplab {

Result<Backend*> device_under_test(const std::string& name) { return find_backend(name.empty() ? "cuda" : name); }

}  // namespace deeplab
