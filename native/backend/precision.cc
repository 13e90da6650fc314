#include "backend/backend.h"

namespace deeplab {

const char* precision_name(Precision precision) {
  switch (precision) {
    case Precision::kF32: return "f32";
    case Precision::kTF32: return "tf32";
    case Precision::kBF16: return "bf16";
    case Precision::kF16: return "f16";
  }
  return "f32";
}

}  // namespace deeplab
