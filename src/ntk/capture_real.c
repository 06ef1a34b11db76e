/* SPDX-License-Identifier: Apache-2.0 */
#include "ntk/micro.h"
#include "ntk/pixels.h"
#include <omp.h>
#include <string.h>

/* A thread's scratch: X of one sample; then what the operator needs to make it, and, once
 * it is made, X of one channel group packed and D of one output and channel group (sizes
 * as in ntk_capture_scratch). */
typedef struct areas {
  real *x, *work, *packed, *d;
} areas;

static areas areas_of(const ntk_capture *c, const ntk_group *group) {
  areas area;
  area.x = (real *)c->scratch + omp_get_thread_num() * c->scratch_stride;
  area.work = area.x + ntk_capture_x_elements(group);
  area.packed = area.work;
  area.d = area.packed + ntk_packed(group->K, group->T);
  return area;
}

/* ---- X --------------------------------------------------------------------------------
 */

/* Patches of one sample come from the operator: out rows (g,t) at g * ld_g + t * ld. */
static void fill_patches(const ntk_capture *c, const ntk_x_part *x, int64_t sample,
                         real *out, int64_t G, int64_t T, int64_t ld_g, int64_t ld,
                         const areas *area) {
  const ntk_node *node = &c->net->graph->nodes[x->node];
  const ntk_kernels *kernels = node->op->kernels[c->net->dtype];
  const bool direct = G == 1 || ld_g == T * ld;
  ntk_array value = ntk_sweep_value(c->sweep, x->value);
  value.data = (real *)value.data + sample * value.outer;
  kernels->factor_x(node, x->operand, 1, value, direct ? out : area->x, direct ? ld : x->K,
                    area->work);
  if (direct && x->scale == 1)
    return;
  for (int64_t g = 0; g < G; g++)
    for (int64_t t = 0; t < T; t++) {
      real *to = out + g * ld_g + t * ld;
      const real *from = direct ? to : area->x + (g * T + t) * x->K;
      for (int64_t k = 0; k < x->K; k++)
        to[k] = (real)x->scale * from[k];
    }
}

static void fill_strided(const ntk_capture *c, const ntk_x_part *x, int64_t sample,
                         real *out, int64_t G, int64_t T, int64_t ld_g, int64_t ld) {
  const ntk_use *u = &x->use;
  const real scale = (real)x->scale;
  const real *from = NULL;
  if (x->value >= 0) {
    const ntk_array value = ntk_sweep_value(c->sweep, x->value);
    from = (const real *)value.data + sample * value.outer;
  }
  for (int64_t g = 0; g < G; g++)
    for (int64_t t = 0; t < T; t++) {
      real *to = out + g * ld_g + t * ld;
      if (!from) {
        to[0] = scale;
        continue;
      }
      const real *row = from + g * u->xg + t / u->T2 * u->xt1 + t % u->T2 * u->xt2;
      for (int64_t k = 0; k < x->K; k++)
        to[k] = scale * row[k * u->xk];
    }
}

/* X [g, t, k] of one section of one sample; without the parts kept as pixels if `rows`. */
static void fill_x(const ntk_capture *c, const ntk_group *group, const ntk_section *section,
                   int64_t sample, bool rows, real *out, int64_t ld_g, int64_t ld,
                   const areas *area) {
  for (int i = 0; i < group->x_count; i++) {
    const ntk_x_part *x = &section->x[i];
    const int64_t at = rows ? x->at : x->k0;
    if (rows && x->pixels)
      continue;
    if (x->value >= 0 && x->use.x_custom)
      fill_patches(c, x, sample, out + at, group->G, section->T, ld_g, ld, area);
    else
      fill_strided(c, x, sample, out + at, group->G, section->T, ld_g, ld);
  }
}

static void keep_pixels(const ntk_capture *c, const ntk_group *group,
                        const ntk_place *place, int64_t sample) {
  for (int i = 0; i < group->x_count; i++) {
    const ntk_x_part *x = &group->sections[0].x[i];
    if (!x->pixels)
      continue;
    const ntk_array value = ntk_sweep_value(c->sweep, x->value);
    const int64_t size = x->use.channels * ntk_window_plane(x->use.window);
    for (int64_t g = 0; g < group->G; g++)
      NTK_REAL(ntk_pixels_keep)
    (x->use.window, x->use.channels, x->scale,
     (const real *)value.data + sample * value.outer + g * size,
     (real *)c->buffer + place->pixels + g * place->pixels_g +
         (c->i0 + sample) * place->pixels_n + x->at);
  }
}

void NTK_REAL(ntk_capture_x)(const ntk_capture *c, const ntk_group *group,
                             const ntk_place *place) {
  if (place->x < 0)
    return;
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < c->n; i++)
    for (int s = 0; s < group->section_count; s++) {
      const ntk_section *section = &group->sections[s];
      real *out =
          (real *)c->buffer + place->x + (c->i0 + i) * place->xn + section->t0 * place->xt;
      const areas area = areas_of(c, group);
      fill_x(c, group, section, i, true, out, place->xg, place->xt, &area);
      if (group->pixel_size > 0)
        keep_pixels(c, group, place, i);
    }
}

/* ---- D --------------------------------------------------------------------------------
 */

/* out[r, c] = from[r * dr + c * dc]. */
static void copy_matrix(int64_t rows, int64_t columns, const real *from, int64_t dr,
                        int64_t dc, real *out, int64_t ld) {
  if (dc == 1) {
    for (int64_t r = 0; r < rows; r++)
      memcpy(out + r * ld, from + r * dr, (size_t)columns * sizeof(real));
    return;
  }
  if (dr == 1) {
    NTK_REAL(ntk_micro_get)()->transpose(columns, rows, from, dc, out, ld);
    return;
  }
  for (int64_t r = 0; r < rows; r++)
    for (int64_t c = 0; c < columns; c++)
      out[r * ld + c] = from[r * dr + c * dc];
}

/* out[t, c] = D[t, c] of one sample, output and channel group. */
static void copy_d(const ntk_d_layout *l, const real *from, real *out, int64_t ld) {
  for (int64_t t = 0; t < l->T1; t++)
    copy_matrix(l->T2, l->C, from + t * l->dt1, l->dt2, l->dc, out + t * l->T2 * ld, ld);
}

/* out[c, t] = D[t, c] of the same. */
static void copy_d_transposed(const ntk_d_layout *l, const real *from, real *out) {
  for (int64_t t = 0; t < l->T1; t++)
    copy_matrix(l->C, l->T2, from + t * l->dt1, l->dc, l->dt2, out + t * l->T2,
                l->T1 * l->T2);
}

/* Channels c0 .. of one sample and g into chunks of 16. */
static void store_chunks(const ntk_capture *c, const ntk_place *place,
                         const ntk_d_part *part, const real *from, int64_t ld_from,
                         real *to) {
  for (int64_t k = 0; k < part->layout.C;) {
    ntk_d_layout layout = part->layout;
    const int64_t at = part->c0 + k, room = NTK_CHUNK - at % NTK_CHUNK;
    layout.C = room < layout.C - k ? room : layout.C - k;
    for (int64_t o = 0; o < c->o; o++)
      copy_d(&layout, from + o * ld_from + k * layout.dc,
             to + at / NTK_CHUNK * place->dchunk + o * NTK_CHUNK + at % NTK_CHUNK,
             place->dt);
    k += layout.C;
  }
}

static void store_d(const ntk_capture *c, const ntk_group *group, const ntk_place *place,
                    const ntk_section *section, const ntk_d_part *part, ntk_array cot) {
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < c->n; i++)
    for (int64_t g = 0; g < group->G; g++) {
      const real *from = (const real *)cot.data + i * cot.outer + g * part->layout.dg;
      real *to = (real *)c->buffer + place->d + g * place->dg + (c->i0 + i) * place->dn +
                 section->t0 * place->dt;
      if (place->dchunk > 0) {
        store_chunks(c, place, part, from, cot.inner, to);
        continue;
      }
      for (int64_t o = 0; o < c->o; o++)
        copy_d(&part->layout, from + o * cot.inner, to + o * place->d_o + part->c0,
               place->dt);
    }
}

/* ---- J --------------------------------------------------------------------------------
 */

/* J[o, c, k] of one channel group: a product for each output, or one where all of them lie
 * one behind the other, D and J alike. */
static void form_group(const ntk_d_layout *l, const NTK_REAL(ntk_product) * all, int64_t o,
                       int64_t stride, const real *from, int64_t jo, real *scratch) {
  const int64_t T = l->T1 * l->T2;
  const bool direct = l->T1 == 1 && (T == 1 || l->dt2 == 1);
  const bool whole = direct && stride == l->C * l->dc && jo == l->C * all->ldc;
  NTK_REAL(ntk_product) product = *all;
  product.rows = whole ? o * l->C : l->C;
  product.lda = direct ? l->dc : T;
  for (int64_t i = 0; i < (whole ? 1 : o); i++) {
    product.a = from + i * stride;
    product.c = all->c + i * jo;
    if (!direct) {
      copy_d_transposed(l, product.a, scratch);
      product.a = scratch;
    }
    NTK_REAL(ntk_micro_get)()->multiply(&product);
  }
}

static void form_j(const ntk_capture *c, const ntk_group *group, const ntk_place *place,
                   const ntk_section *section, const ntk_d_part *part, ntk_array cot,
                   int64_t i) {
  const ntk_d_layout *l = &part->layout;
  const int64_t T = section->T, K = group->K;
  const areas area = areas_of(c, group);
  const real *from = (const real *)cot.data + i * cot.outer;
  real *j = (real *)c->buffer + place->j + (c->i0 + i) * place->jn + part->c0 * K;
  fill_x(c, group, section, i, false, area.x, T * K, K, &area);
  for (int64_t g = 0; g < group->G; g++) {
    const NTK_REAL(ntk_product) all = {.columns = K,
                                       .k = T,
                                       .b = area.packed,
                                       .c = j + g * group->C * K,
                                       .ldc = K,
                                       .add = group->section_count > 1};
    NTK_REAL(ntk_micro_get)()->pack_columns(K, T, area.x + g * T * K, K, area.packed);
    form_group(l, &all, c->o, cot.inner, from + g * l->dg, place->jo, area.d);
  }
}

void NTK_REAL(ntk_capture_d)(const ntk_capture *c, const ntk_group *group,
                             const ntk_place *place, int section, int part,
                             ntk_array cotangent) {
  const ntk_section *s = &group->sections[section];
  if (place->d >= 0) {
    store_d(c, group, place, s, &s->d[part], cotangent);
    return;
  }
  if (place->j < 0)
    return;
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < c->n; i++)
    form_j(c, group, place, s, &s->d[part], cotangent, i);
}
