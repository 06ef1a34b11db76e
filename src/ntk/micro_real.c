/* SPDX-License-Identifier: Apache-2.0 */
#include "ntk/micro.h"
#include <stdlib.h>
#include <string.h>

extern const NTK_REAL(ntk_micro) NTK_MICRO(portable);
#ifdef NTK_HAS_X86
extern const NTK_REAL(ntk_micro) NTK_MICRO(avx2), NTK_MICRO(avx512);
#endif

/* Widest first. */
static const NTK_REAL(ntk_micro) * choose(void) {
  const char *asked = getenv("SCANTK_SIMD");
#ifdef NTK_HAS_X86
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 =
      avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
  if (avx512 && (!asked || strcmp(asked, "avx512") == 0))
    return &NTK_MICRO(avx512);
  if (avx2 && (!asked || strcmp(asked, "portable") != 0))
    return &NTK_MICRO(avx2);
#endif
  (void)asked;
  return &NTK_MICRO(portable);
}

const NTK_REAL(ntk_micro) * NTK_REAL(ntk_micro_get)(void) {
  static const NTK_REAL(ntk_micro) * chosen;
  const NTK_REAL(ntk_micro) *micro = __atomic_load_n(&chosen, __ATOMIC_RELAXED);
  if (!micro) {
    micro = choose();
    __atomic_store_n(&chosen, micro, __ATOMIC_RELAXED);
  }
  return micro;
}
