/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_NTK_PROJECT_PARTS_H
#define NTK_NTK_PROJECT_PARTS_H

#include "ntk/block.h"
#include "ntk/project.h"

/* Private to src/ntk. */
struct ntk_projector {
  ntk_projector_spec spec;
  ntk_sweep *sweep;
  int64_t n, o;  /* of the projection in hand */
  double *phi;   /* [n, o, dim], the caller's */
  void *x;       /* [g, n, t, k] */
  void *d;       /* [n, g, chunk of 16 c, o, t, 16], zeros behind C */
  void *scratch; /* [threads][scratch_elements] */
  int64_t scratch_elements;
  double seconds;
};

/* Parameters of a panel, packed in half of a second cache; of those that are made before
 * they are packed, in the first. */
static inline int64_t ntk_panel_parameters(ntk_dtype dtype) {
  return 1024 / (int64_t)ntk_dtype_bytes(dtype);
}
enum { NTK_PANEL_PART = 8 };
static inline int64_t ntk_path_chunks(const ntk_path *path) {
  return (path->use.C + NTK_CHUNK - 1) / NTK_CHUNK;
}
/* Scratch elements of a thread for a panel of R: packed, the numbers of its parameters. */
static inline int64_t ntk_panel_elements(ntk_dtype dtype) {
  return ntk_panel_parameters(dtype) * (NTK_SKETCH_ROWS + 2);
}

/* J of a tensor, [n, o, size] (outer stride 0: of all samples), to phi. */
void ntk_project_j_f32(ntk_projector *p, const ntk_path *path, ntk_array j);
void ntk_project_j_f64(ntk_projector *p, const ntk_path *path, ntk_array j);
/* X of a use, taken from the values of the sweep, and D of the root's cotangent. */
void ntk_project_x_f32(ntk_projector *p, const ntk_path *path, ntk_array cotangent);
void ntk_project_x_f64(ntk_projector *p, const ntk_path *path, ntk_array cotangent);

#endif
