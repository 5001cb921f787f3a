// What the files that Highway compiles once per level leave out. They include themselves, with the same definitions each time.
#pragma once

/// Kernels keep vectors in arrays, which SVE's types without a size do not allow; NEON is the level on ARM.
#define QUANTSCOPE_SVE (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
