#include "backend/cpu/cpu_backend.h"
#include "comparison.h"

namespace deeplab {

Result<Backend*> device_under_test(const std::string&) { return cpu_backend(); }

}  // namespace deeplab
