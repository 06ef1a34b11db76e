/* SPDX-License-Identifier: Apache-2.0 */
#include "ntk/micro.h"
#include <stdlib.h>
#include <string.h>

extern const NTK_REAL(ntk_micro) NTK_MICRO(portable);
#ifdef NTK_HAS_X86
extern const NTK_REAL(ntk_micro) NTK_MICRO(avx2), NTK_MICRO(avx512);
#endif

const NTK_REAL(ntk_micro) * NTK_REAL(ntk_micro_at)(int i) {
  const NTK_REAL(ntk_micro) * all[3] = {NULL};
  int count = 0;
#ifdef NTK_HAS_X86
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq"))
    all[count++] = &NTK_MICRO(avx512);
  if (avx2)
    all[count++] = &NTK_MICRO(avx2);
#endif
  all[count++] = &NTK_MICRO(portable);
  return i < count ? all[i] : NULL;
}

static const NTK_REAL(ntk_micro) * choose(void) {
  const char *asked = getenv("SCANTK_SIMD");
  const NTK_REAL(ntk_micro) * micro;
  for (int i = 0; asked && (micro = NTK_REAL(ntk_micro_at)(i)); i++)
    if (strcmp(asked, micro->name) == 0)
      return micro;
  return NTK_REAL(ntk_micro_at)(0);
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
