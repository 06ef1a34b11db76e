/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_ONNX_NAMES_H
#define NTK_ONNX_NAMES_H

#include <scantk/status.h>
#include <stdint.h>

/* A map from names to numbers; keys are borrowed. {0} is empty. Local. */
typedef struct ntk_names {
  int64_t count, capacity; /* capacity: a power of two, or 0 */
  const char **keys;
  int64_t *numbers;
} ntk_names;

/* Sets the number of a name, replacing an old one. */
NTK_CHECKED ntk_status ntk_names_set(ntk_names *names, const char *key, int64_t number);
int64_t ntk_names_get(const ntk_names *names, const char *key); /* -1: not there */
NTK_CHECKED ntk_status ntk_names_copy(const ntk_names *from, ntk_names *to);
void ntk_names_clear(ntk_names *names);

#endif
