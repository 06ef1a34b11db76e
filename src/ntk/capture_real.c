/* SPDX-License-Identifier: Apache-2.0 */
#include "ntk/micro.h"
#include "ntk/pixels.h"
#include <omp.h>
#include <string.h>

#define im2col NTK_REAL(ntk_im2col)

/* A thread's scratch: X of one sample; then what the operator needs to make it, and, once
 * it is made, X of one channel group packed and D of one output and channel group, or,
 * where J is not formed, nothing; and at last the patches of that D (sizes as in
 * ntk_capture_scratch). */
typedef struct areas {
  real *x, *work, *packed, *d, *patches;
} areas;

static areas areas_of(const ntk_capture *c, const ntk_group *group) {
  areas area;
  area.x = (real *)c->scratch + omp_get_thread_num() * c->scratch_stride;
  area.work = area.x + ntk_capture_x_elements(group);
  area.packed = area.work;
  area.d = area.packed + ntk_packed(ntk_formed_K(group), group->T);
  area.patches = area.d + group->C * group->T;
  return area;
}

/* ---- X --------------------------------------------------------------------------------
 */

static void scale_rows(const ntk_x_part *x, int64_t T, const real *from, int64_t ld_from,
                       real *to, int64_t ld) {
  for (int64_t t = 0; t < T; t++)
    for (int64_t k = 0; k < x->K; k++)
      to[t * ld + k] = (real)x->scale * from[t * ld_from + k];
}

/* Patches of one sample's planes: out rows (g,t) at g * ld_g + t * ld. */
static void fill_windows(const ntk_capture *c, const ntk_x_part *x, int64_t sample,
                         real *out, int64_t G, int64_t T, int64_t ld_g, int64_t ld) {
  const ntk_array value = ntk_sweep_value(c->sweep, x->value);
  const real *from = (const real *)value.data + sample * value.outer + x->skip;
  for (int64_t g = 0; g < G; g++, from += x->use.xg, out += ld_g) {
    im2col(x->use.window, x->use.channels, from, out, ld);
    if (x->scale != 1)
      scale_rows(x, T, out, ld, out, ld);
  }
}

/* Patches of other kinds come from the operator. */
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
  for (int64_t g = 0; g < G; g++) {
    real *to = out + g * ld_g;
    scale_rows(x, T, direct ? to : area->x + g * T * x->K, direct ? ld : x->K, to, ld);
  }
}

static void fill_strided(const ntk_capture *c, const ntk_x_part *x, int64_t sample,
                         real *out, int64_t G, int64_t T, int64_t ld_g, int64_t ld) {
  const ntk_use *u = &x->use;
  const real scale = (real)x->scale;
  const real *from = NULL;
  if (x->value >= 0) {
    const ntk_array value = ntk_sweep_value(c->sweep, x->value);
    from = (const real *)value.data + sample * value.outer + x->skip;
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

/* X [g, t, k] of one section of one sample; `rows`: of the parts kept as such. */
static void fill_x(const ntk_capture *c, const ntk_group *group, const ntk_section *section,
                   int64_t sample, bool rows, real *out, int64_t ld_g, int64_t ld,
                   const areas *area) {
  for (int i = 0; i < group->x_count; i++) {
    const ntk_x_part *x = &section->x[i];
    const int64_t at = rows ? x->at : x->k0;
    if (x->use.one_hot || (rows && x->pixels))
      continue;
    if (x->value >= 0 && x->use.window)
      fill_windows(c, x, sample, out + at, group->G, section->T, ld_g, ld);
    else if (x->value >= 0 && x->use.x_custom)
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
    for (int64_t g = 0; g < group->G; g++)
      NTK_REAL(ntk_pixels_keep)
    (x->use.window, x->use.channels, x->scale,
     (const real *)value.data + sample * value.outer + x->skip + g * x->use.xg,
     (real *)c->buffer + place->pixels + g * place->pixels_g +
         (c->i0 + sample) * place->pixels_n + x->at);
  }
}

/* Row of the table, counted from 0, that position t of a one-hot part looks up. */
static real row_at(const ntk_capture *c, const ntk_x_part *x, int64_t sample, int64_t g,
                   int64_t t) {
  const ntk_use *u = &x->use;
  const ntk_array value = ntk_sweep_value(c->sweep, x->value);
  const real index = ((const real *)value.data)[sample * value.outer + g * u->xg +
                                                t / u->T2 * u->xt1 + t % u->T2 * u->xt2];
  return index < 0 ? index + (real)x->K : index;
}

/* Which rows of tables a section looks up, and their scales. */
static void keep_indices(const ntk_capture *c, const ntk_group *group,
                         const ntk_place *place, const ntk_section *section,
                         int64_t sample) {
  for (int i = 0; i < group->x_count; i++) {
    const ntk_x_part *x = &section->x[i];
    for (int64_t k = 0; x->use.one_hot && k < group->G * section->T; k++) {
      const int64_t g = k / section->T, t = k % section->T;
      real *to = (real *)c->buffer + place->pixels + g * place->pixels_g +
                 (c->i0 + sample) * place->pixels_n + x->at + section->t0 + t;
      to[0] = row_at(c, x, sample, g, t);
      to[group->T] = (real)x->scale;
    }
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
      if (group->one_hot)
        keep_indices(c, group, place, section, i);
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

/* D of one sample, output and channel group, whose cotangent is `from`, as a strided array
 * in *l: patches are made in `out`. Returns its first element. */
static const real *strided_d(const ntk_d_part *part, const real *from, real *out,
                             ntk_d_layout *l) {
  *l = part->layout;
  if (!l->window)
    return from + part->skip;
  const int64_t taps = ntk_window_taps(l->window), plane = ntk_window_plane(l->window);
  const int64_t first = part->skip / taps, last = (part->skip + l->C - 1) / taps;
  const int64_t columns = (last + 1 - first) * taps;
  for (int64_t t = 0; t < l->T1; t++)
    im2col(l->window, last + 1 - first, from + t * l->dt1 + first * plane,
           out + t * l->T2 * columns, columns);
  l->T2 *= l->T1;
  l->T1 = 1;
  l->dt2 = columns;
  return out + part->skip - first * taps;
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

/* Channels c0 .. of one sample, output and g into chunks of 16. */
static void store_chunks(const ntk_place *place, const ntk_d_layout *l, int64_t c0,
                         const real *from, real *to) {
  for (int64_t k = 0; k < l->C;) {
    ntk_d_layout piece = *l;
    const int64_t at = c0 + k, room = NTK_CHUNK - at % NTK_CHUNK;
    piece.C = room < l->C - k ? room : l->C - k;
    copy_d(&piece, from + k * l->dc, to + at / NTK_CHUNK * place->dchunk + at % NTK_CHUNK,
           place->dt);
    k += piece.C;
  }
}

static void store_d(const ntk_capture *c, const ntk_group *group, const ntk_place *place,
                    const ntk_section *section, const ntk_d_part *part, ntk_array cot) {
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < c->n; i++)
    for (int64_t g = 0; g < group->G; g++) {
      const real *at = (const real *)cot.data + i * cot.outer + g * part->layout.dg;
      real *to = (real *)c->buffer + place->d + g * place->dg + (c->i0 + i) * place->dn +
                 section->t0 * place->dt;
      for (int64_t o = 0; o < c->o; o++, to += place->d_o) {
        ntk_d_layout l;
        const real *from = strided_d(part, at + o * cot.inner, areas_of(c, group).work, &l);
        if (place->dchunk > 0)
          store_chunks(place, &l, part->c0, from, to);
        else
          copy_d(&l, from, to + part->c0, place->dt);
      }
    }
}

/* ---- J --------------------------------------------------------------------------------
 */

/* J[o, c, k] of one channel group: a product for each output, or one where all of them lie
 * one behind the other, D and J alike. */
static void form_group(const ntk_d_part *part, const NTK_REAL(ntk_product) * all, int64_t o,
                       int64_t stride, const real *from, int64_t jo, const areas *area) {
  const ntk_d_layout *given = &part->layout;
  const int64_t T = given->T1 * given->T2;
  const bool direct = given->T1 == 1 && (T == 1 || given->dt2 == 1);
  const bool whole = direct && !given->window && stride == given->C * given->dc &&
                     jo == given->C * all->ldc;
  NTK_REAL(ntk_product) product = *all;
  product.rows = whole ? o * given->C : given->C;
  product.lda = direct ? given->dc : T;
  for (int64_t i = 0; i < (whole ? 1 : o); i++) {
    ntk_d_layout l;
    product.a = strided_d(part, from + i * stride, area->patches, &l);
    product.c = all->c + i * jo;
    if (!direct) {
      copy_d_transposed(&l, product.a, area->d);
      product.a = area->d;
    }
    NTK_REAL(ntk_micro_get)()->multiply(&product);
  }
}

/* J[o, c, row] += scale D[o, t, c]: D goes to the rows of the table that are looked up.
 * `j` is the group's, its first column being the table's first row. */
static void scatter_d(const ntk_capture *c, const ntk_x_part *x, const ntk_d_part *part,
                      int64_t sample, int64_t g, ntk_array cot, const real *from,
                      int64_t jo, int64_t K, real *j) {
  const ntk_d_layout *l = &part->layout;
  for (int64_t t = 0; t < l->T1 * l->T2; t++) {
    real *to = j + (int64_t)row_at(c, x, sample, g, t);
    const real *d = from + t / l->T2 * l->dt1 + t % l->T2 * l->dt2;
    for (int64_t o = 0; o < c->o; o++)
      for (int64_t k = 0; k < l->C; k++)
        to[o * jo + k * K] += (real)x->scale * d[o * cot.inner + k * l->dc];
  }
}

static void form_j(const ntk_capture *c, const ntk_group *group, const ntk_place *place,
                   const ntk_section *section, const ntk_d_part *part, ntk_array cot,
                   int64_t i) {
  const ntk_d_layout *l = &part->layout;
  const int64_t T = section->T, K = group->K, formed = ntk_formed_K(group);
  const areas area = areas_of(c, group);
  const real *from = (const real *)cot.data + i * cot.outer;
  real *j = (real *)c->buffer + place->j + (c->i0 + i) * place->jn + part->c0 * K;
  fill_x(c, group, section, i, group->one_hot, area.x, T * formed, formed, &area);
  for (int64_t g = 0; g < group->G; g++, j += group->C * K) {
    NTK_REAL(ntk_product)
    all = {.columns = K,
           .k = T,
           .b = area.packed,
           .c = j,
           .ldc = K,
           .add = group->section_count > 1};
    for (int p = 0; p < (group->one_hot ? group->x_count : 1); p++) {
      const ntk_x_part *x = &section->x[p];
      const int64_t at = group->one_hot ? x->at : 0;
      if (x->use.one_hot) {
        scatter_d(c, x, part, i, g, cot, from + part->skip + g * l->dg, place->jo, K,
                  j + x->k0);
        continue;
      }
      if (group->one_hot) {
        all.columns = x->K;
        all.c = j + x->k0;
      }
      NTK_REAL(ntk_micro_get)
      ()->pack_columns(all.columns, T, area.x + g * T * formed + at, formed, area.packed);
      form_group(part, &all, c->o, cot.inner, from + g * l->dg, place->jo, &area);
    }
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
