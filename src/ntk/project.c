/* SPDX-License-Identifier: Apache-2.0 */
#include "ntk/project.h"
#include "base/context.h"
#include "base/memory.h"
#include "ntk/project_parts.h"
#include "ntk/uses.h"
#include <omp.h>

static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

/* ---- ways -----------------------------------------------------------------------------
 */

static bool has_factors(const ntk_source_uses *part) {
  if (part->dense || part->count == 0)
    return false;
  for (int i = 0; i < part->count; i++) {
    const ntk_use *u = &part->uses[i].use;
    if (u->x_operand < 0 || u->d_window || u->K == 1)
      return false;
  }
  return true;
}

/* Is X first cheaper? In flops for each c; what goes through memory counts for some. Of a
 * table only the rows that are looked up take part. */
static bool takes_x(const ntk_source_uses *part, int64_t outputs) {
  int64_t T = 0;
  if (part->parts != 1 || !has_factors(part))
    return false;
  for (int i = 0; i < part->count; i++)
    T += part->uses[i].layout.T1 * part->uses[i].layout.T2;
  const ntk_use *u = &part->uses[0].use;
  const double K = (double)u->K, O = (double)outputs;
  return (double)T * ((u->one_hot ? 0 : K) + O + 32) <= O * (K + 64);
}

static ntk_status add_path(ntk_paths *paths, int root, int64_t size, ntk_path **out) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_realloc(NTK_MEMORY_GENERAL, paths->count + 1, sizeof **out, &paths->items));
  *out = &paths->items[paths->count++];
  **out = (ntk_path){.root = root, .first = paths->parameters, .size = size};
  paths->wanted[root] = true;
done:
  return status;
}

/* A group of the one use. */
static ntk_status set_use(ntk_path *path, const ntk_net *net, const ntk_found_use *found) {
  ntk_status status = NTK_SUCCESS;
  const ntk_use *u = &found->use;
  ntk_group *group = &path->use;
  const int64_t T = found->layout.T1 * found->layout.T2;
  path->takes_x = true;
  path->wg = u->wg;
  path->wk = u->wk;
  path->wc = u->wc;
  *group = (ntk_group){.G = u->G,
                       .T = T,
                       .K = u->K,
                       .C = found->layout.C,
                       .row_K = u->one_hot ? 0 : u->K,
                       .one_hot = u->one_hot,
                       .section_count = 1,
                       .x_count = 1,
                       .d_count = 1};
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, 1, sizeof *group->sections, &group->sections));
  ntk_section *section = group->sections;
  section->T = T;
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, 1, sizeof *section->x, &section->x));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, 1, sizeof *section->d, &section->d));
  *section->x = (ntk_x_part){.value = net->graph->nodes[found->node].inputs[u->x_operand],
                             .node = found->node,
                             .operand = found->operand,
                             .scale = found->scale,
                             .K = u->K,
                             .use = *u};
  *section->d = (ntk_d_part){.root = found->root, .layout = found->layout};
done:
  return status;
}

static ntk_status make_map(ntk_paths *paths, const ntk_source_uses *part, double **out) {
  ntk_status status = NTK_SUCCESS;
  const ntk_use *u = &part->uses[0].use;
  double *map = NULL;
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, u->G * u->K * u->C, sizeof *map, &map));
  NTK_TRY(ntk_realloc(NTK_MEMORY_GENERAL, paths->map_count + 1, sizeof *paths->maps,
                      &paths->maps));
  paths->maps[paths->map_count++] = *out = map;
  map = NULL;
  NTK_TRY(ntk_use_map(paths->net, part->source, &part->uses[0], *out));
done:
  ntk_free(&map);
  return status;
}

/* X first, use by use. */
static ntk_status add_uses(ntk_paths *paths, const ntk_source_uses *part, int64_t size,
                           int64_t outputs) {
  ntk_status status = NTK_SUCCESS;
  double *map = NULL;
  if (!ntk_use_is_strided(paths->net, &part->uses[0]))
    NTK_TRY(make_map(paths, part, &map));
  for (int i = 0; i < part->count; i++) {
    ntk_path *path;
    NTK_TRY(add_path(paths, part->uses[i].root, size, &path));
    path->map = map;
    NTK_TRY(set_use(path, paths->net, &part->uses[i]));
    const ntk_group *u = &path->use;
    paths->flops += 2.0 * (double)(u->G * u->T * u->C) * (double)(u->row_K + outputs);
  }
done:
  return status;
}

ntk_status ntk_paths_find(const ntk_net *net, int64_t outputs, ntk_paths *out) {
  ntk_status status = NTK_SUCCESS;
  const ntk_graph *graph = net->graph;
  ntk_paths paths = {.net = net};
  ntk_uses_list uses = {0};
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, graph->value_count, sizeof(bool), &paths.wanted));
  for (int i = 0; i < graph->parameter_count; i++) {
    const int source = graph->parameters[i];
    const int64_t size = ntk_graph_size(graph, source);
    ntk_path *path;
    NTK_TRY(ntk_uses_find(net, source, &uses));
    if (takes_x(&uses.items[0], outputs)) {
      NTK_TRY(add_uses(&paths, &uses.items[0], size, outputs));
    } else {
      NTK_TRY(add_path(&paths, source, size, &path));
      paths.largest = larger(paths.largest, size);
      paths.flops += 2.0 * (double)outputs * (double)size;
    }
    paths.dense_flops += 2.0 * (double)outputs * (double)size;
    paths.parameters += size;
    ntk_uses_clear(&uses);
  }
  *out = paths;
  paths = (ntk_paths){0};
done:
  ntk_uses_clear(&uses);
  ntk_paths_clear(&paths);
  return status;
}

void ntk_paths_clear(ntk_paths *paths) {
  for (int i = 0; i < paths->count; i++)
    if (paths->items[i].use.sections) {
      ntk_free(&paths->items[i].use.sections->x);
      ntk_free(&paths->items[i].use.sections->d);
      ntk_free(&paths->items[i].use.sections);
    }
  for (int i = 0; i < paths->map_count; i++)
    ntk_free(&paths->maps[i]);
  ntk_free(&paths->items);
  ntk_free(&paths->maps);
  ntk_free(&paths->wanted);
}

/* ---- memory ---------------------------------------------------------------------------
 */

static ntk_sweep_limits limits_of(const ntk_projector_spec *spec) {
  return (ntk_sweep_limits){
      .samples = spec->samples, .cotangents = spec->outputs, .own_seeds = spec->own_seeds};
}

/* Elements of X, D and a thread's scratch. */
typedef struct elements {
  int64_t x, d, scratch;
} elements;

static elements elements_of(const ntk_projector_spec *spec) {
  const ntk_paths *paths = spec->paths;
  const int64_t panel = ntk_panel_elements(paths->net->dtype);
  elements e = {0, 0, panel};
  for (int i = 0; i < paths->count; i++) {
    const ntk_path *path = &paths->items[i];
    const ntk_group *u = &path->use;
    if (!path->takes_x)
      continue;
    const int64_t positions = spec->samples * u->G * u->T;
    e.x = larger(e.x, positions * u->row_K);
    e.d = larger(e.d, positions * spec->outputs * ntk_path_chunks(path) * NTK_CHUNK);
    e.scratch = larger(e.scratch, ntk_capture_scratch(paths->net, u, NTK_ORDER_INSIDE_OUT));
    e.scratch =
        larger(e.scratch, panel + (spec->samples + 1) * u->T * NTK_CHUNK * NTK_SKETCH_ROWS);
  }
  e.scratch = (e.scratch + 31) / 16 * 16;
  return e;
}

ntk_status ntk_projector_bytes(const ntk_projector_spec *spec, int64_t *bytes) {
  ntk_status status = NTK_SUCCESS;
  const elements e = elements_of(spec);
  NTK_TRY(ntk_sweep_bytes(spec->paths->net, limits_of(spec), spec->paths->wanted, bytes));
  *bytes += (e.x + e.d + omp_get_max_threads() * e.scratch) *
            (int64_t)ntk_dtype_bytes(spec->paths->net->dtype);
done:
  return status;
}

ntk_status ntk_projector_create(const ntk_projector_spec *spec, ntk_projector **out) {
  ntk_status status = NTK_SUCCESS;
  const ntk_net *net = spec->paths->net;
  const size_t bytes = ntk_dtype_bytes(net->dtype);
  const elements e = elements_of(spec);
  ntk_projector *p = NULL;
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, 1, sizeof *p, &p));
  p->spec = *spec;
  p->scratch_elements = e.scratch;
  NTK_TRY(ntk_sweep_create(net, limits_of(spec), spec->paths->wanted, &p->sweep));
  NTK_TRY(ntk_malloc(NTK_MEMORY_FACTORS, e.x, bytes, &p->x));
  NTK_TRY(ntk_malloc(NTK_MEMORY_FACTORS, e.d, bytes, &p->d));
  NTK_TRY(
      ntk_malloc(NTK_MEMORY_SWEEP, omp_get_max_threads() * e.scratch, bytes, &p->scratch));
  *out = p;
  p = NULL;
done:
  ntk_projector_destroy(&p);
  return status;
}

void ntk_projector_destroy(ntk_projector **handle) {
  ntk_projector *p = *handle;
  if (!p)
    return;
  ntk_sweep_destroy(&p->sweep);
  ntk_free(&p->x);
  ntk_free(&p->d);
  ntk_free(&p->scratch);
  ntk_free(handle);
}

/* ---- projecting -----------------------------------------------------------------------
 */

ntk_status ntk_projector_forward(ntk_projector *p, int64_t n, const void *rows,
                                 int64_t first_sample, double *outputs) {
  ntk_status status = NTK_SUCCESS;
  p->n = n;
  NTK_TRY(ntk_sweep_forward_rows(p->sweep, n, rows, first_sample));
  ntk_sweep_outputs(p->sweep, outputs);
done:
  return status;
}

static bool is_dropped(const ntk_projector *p) {
  return p->spec.stop && *p->spec.stop == NTK_STOP_DROP;
}

static void take_cotangent(void *user, int value, ntk_array cotangent) {
  ntk_projector *p = user;
  const ntk_paths *paths = p->spec.paths;
  const bool wide = paths->net->dtype == NTK_F64;
  const double start = ntk_seconds();
  for (int i = 0; i < paths->count; i++) {
    const ntk_path *path = &paths->items[i];
    if (path->root != value || is_dropped(p))
      continue;
    if (path->takes_x)
      (wide ? ntk_project_x_f64 : ntk_project_x_f32)(p, path, cotangent);
    else
      (wide ? ntk_project_j_f64 : ntk_project_j_f32)(p, path, cotangent);
  }
  p->seconds += ntk_seconds() - start;
}

void ntk_projector_project(ntk_projector *p, int64_t o, ntk_seeds seeds, double *phi) {
  const int64_t size = p->n * o * p->spec.sketch.dim;
  p->o = o;
  p->phi = phi;
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < size; i++)
    phi[i] = 0;
  ntk_sweep_backward(p->sweep, o, seeds, false, take_cotangent, p);
}

double ntk_projector_seconds(const ntk_projector *p) { return p->seconds; }
