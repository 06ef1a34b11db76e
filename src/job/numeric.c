/* SPDX-License-Identifier: Apache-2.0 */
#include "job/numeric.h"
#include "base/memory.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void ntk_numeric_clear(ntk_numeric *numeric) { ntk_free(&numeric->orders); }

const char *ntk_reduction_name(ntk_reduction reduction) {
  static const char *const names[] = {"none", "trace", "diagonal", "pseudo"};
  return names[reduction];
}

/* ---- text -----------------------------------------------------------------------------
 */

static ntk_status write_group(ntk_order order, const ntk_group *g, ntk_text *text) {
  return ntk_text_add(
      text, "order %s G %" PRId64 " T %" PRId64 " K %" PRId64 " C %" PRId64 " %s\n",
      ntk_order_name(order), g->G, g->T, g->K, g->C, g->name);
}

ntk_status ntk_numeric_write(const ntk_numeric *p, const ntk_groups *groups,
                             ntk_text *text) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_text_add(text,
                       "scantk-plan 1\nalgorithm %s\nreduce %s\ntrace-scale %s\ndtype %s\n"
                       "outputs %" PRId64 "\nblock %" PRId64 "\noutputs-block %" PRId64
                       "\nsweep %" PRId64 "\ngroups %d\n",
                       ntk_algorithm_name(p->algorithm), ntk_reduction_name(p->reduction),
                       p->trace_sum ? "sum" : "mean", ntk_dtype_name(p->dtype), p->outputs,
                       p->block, p->outputs_block, p->sweep_samples, p->group_count));
  for (int i = 0; i < p->group_count; i++)
    NTK_TRY(write_group(p->orders[i], &groups->groups[i], text));
done:
  return status;
}

/* Number of `word` in a list of names, -1 where it is none of them. */
static int find_word(const char *word, const char *(*name)(int), int count) {
  for (int i = 0; i < count; i++)
    if (strcmp(word, name(i)) == 0)
      return i;
  return -1;
}
static const char *algorithm_at(int i) { return ntk_algorithm_name((ntk_algorithm)i); }
static const char *reduction_at(int i) { return ntk_reduction_name((ntk_reduction)i); }
static const char *dtype_at(int i) { return ntk_dtype_name((ntk_dtype)i); }
static const char *order_at(int i) { return ntk_order_name((ntk_order)i); }

static ntk_status parse_orders(const char *text, const char *path, ntk_numeric *p) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, p->group_count, sizeof *p->orders, &p->orders));
  for (int i = 0; i < p->group_count; i++) {
    char word[32];
    text = strstr(text, "\norder ");
    NTK_REQUIRE(text, NTK_ERR_FORMAT, "%s: the plan names %d groups but orders only %d",
                path, p->group_count, i);
    text += 1;
    const int order =
        sscanf(text, "order %31s", word) == 1 ? find_word(word, order_at, NTK_ORDERS) : -1;
    NTK_REQUIRE(order >= 0, NTK_ERR_FORMAT, "%s: unknown order in the plan: %.40s", path,
                text);
    p->orders[i] = (ntk_order)order;
  }
  NTK_REQUIRE(!strstr(text, "\norder "), NTK_ERR_FORMAT,
              "%s: the plan names %d groups but orders more", path, p->group_count);
done:
  return status;
}

ntk_status ntk_numeric_parse(const char *text, const char *path, ntk_numeric *out) {
  ntk_status status = NTK_SUCCESS;
  char algorithm[32], reduce[32], scale[32], dtype[32];
  ntk_numeric p = {0};
  const int fields = sscanf(
      text,
      "scantk-plan 1 algorithm %31s reduce %31s trace-scale %31s dtype %31s outputs "
      "%" SCNd64 " block %" SCNd64 " outputs-block %" SCNd64 " sweep %" SCNd64 " groups %d",
      algorithm, reduce, scale, dtype, &p.outputs, &p.block, &p.outputs_block,
      &p.sweep_samples, &p.group_count);
  NTK_REQUIRE(fields == 9, NTK_ERR_FORMAT, "%s: not a plan (scantk-plan 1)", path);
  const int a = find_word(algorithm, algorithm_at, 3),
            r = find_word(reduce, reduction_at, 4);
  const int d = find_word(dtype, dtype_at, 2);
  const bool sum = strcmp(scale, "sum") == 0;
  NTK_REQUIRE(a >= 0 && r >= 0 && d >= 0 && p.outputs > 0 && p.block > 0 &&
                  p.outputs_block > 0 && p.outputs_block <= p.outputs &&
                  p.sweep_samples > 0 && (sum || strcmp(scale, "mean") == 0) &&
                  p.group_count >= 0 && p.group_count < 1 << 20,
              NTK_ERR_FORMAT, "%s: a value of the plan is out of range", path);
  p.algorithm = (ntk_algorithm)a;
  p.reduction = (ntk_reduction)r;
  p.dtype = (ntk_dtype)d;
  p.trace_sum = sum;
  NTK_TRY(parse_orders(text, path, &p));
  *out = p;
done:
  if (status != NTK_SUCCESS)
    ntk_numeric_clear(&p);
  return status;
}

ntk_status ntk_numeric_check(const char *text, const char *path, const ntk_numeric *numeric,
                             const ntk_groups *groups) {
  ntk_status status = NTK_SUCCESS;
  ntk_text line = {0};
  NTK_REQUIRE(
      numeric->group_count == groups->count, NTK_ERR_ARGUMENT,
      "%s: the plan is for another network (%d groups of parameters, this one has %d)",
      path, numeric->group_count, groups->count);
  for (int i = 0; i < groups->count; i++) {
    ntk_text_clear(&line);
    NTK_TRY(write_group(numeric->orders[i], &groups->groups[i], &line));
    NTK_REQUIRE(strstr(text, line.data), NTK_ERR_ARGUMENT,
                "%s: the plan is for another network (no group %s)", path,
                groups->groups[i].name);
  }
done:
  ntk_text_clear(&line);
  return status;
}

/* ---- choice ---------------------------------------------------------------------------
 */

ntk_cost_shape ntk_numeric_cost_shape(const ntk_numeric *p, int64_t n1, int64_t n2,
                                      bool symmetric) {
  const int64_t most = n1 > n2 ? n1 : n2;
  return (ntk_cost_shape){.form = ntk_form_of(p->reduction),
                          .dtype = p->dtype,
                          .n1 = n1,
                          .n2 = n2,
                          .outputs = p->outputs,
                          .block = p->block < most ? p->block : most,
                          .outputs_block = p->outputs_block,
                          .symmetric = symmetric};
}

static void choose_orders(const ntk_network *network, const ntk_cost_shape *shape,
                          const ntk_rates *rates, ntk_order *orders) {
  for (int i = 0; i < network->groups->count; i++)
    orders[i] =
        ntk_order_choose(&network->groups->groups[i], shape, rates, &network->constants[i]);
}

static double block_bytes(const ntk_network *network, const ntk_numeric *p, int64_t n,
                          int64_t o) {
  const ntk_engine_spec spec = {.network = network,
                                .algorithm = p->algorithm,
                                .form = ntk_form_of(p->reduction),
                                .orders = p->orders};
  return (double)ntk_block_bytes(&spec, n, o);
}

/* Flops of a tile of B x B samples, Q x Q outputs; Jacobians are there. */
static double tile_flops(const ntk_network *network, const ntk_numeric *p,
                         const ntk_rates *rates) {
  ntk_cost_shape shape = ntk_numeric_cost_shape(p, p->block, p->block, false);
  shape.outputs = p->outputs_block;
  double flops = 0;
  for (int i = 0; i < network->groups->count; i++) {
    const ntk_cost cost = ntk_cost_of(&network->groups->groups[i], p->orders[i], &shape,
                                      rates, network->constants[i].count);
    flops += cost.flops - cost.forming_flops;
  }
  return flops;
}

static double tile_bytes(const ntk_numeric *p) {
  const double bytes =
      (double)p->block * (double)p->block * (double)ntk_dtype_bytes(p->dtype);
  const double Q = (double)p->outputs_block;
  if (ntk_form_of(p->reduction) == NTK_FORM_TRACE)
    return bytes;
  return bytes * (p->reduction == NTK_REDUCE_DIAGONAL ? Q : Q * Q);
}

static int64_t smaller(int64_t block) {
  block = 3 * block / 4;
  return block > 16 ? block / 16 * 16 : block;
}

/* Does a block take more than design section 5 grants? */
static bool is_too_large(const ntk_network *network, const ntk_rates *rates,
                         const ntk_numeric *p) {
  const double MiB = 1024.0 * 1024.0;
  return block_bytes(network, p, p->block, p->outputs_block) > 1280 * MiB ||
         tile_bytes(p) > 1024 * MiB || tile_flops(network, p, rates) > 5e11;
}

/* Enough tiles for many ranks; those that take no more than some hundredths of a second are
 * cut further only where there are few. They depend on no rate, rank or free memory. */
static void choose_block(const ntk_network *network, int64_t n1, int64_t n2,
                         const ntk_rates *rates, ntk_numeric *p) {
  const int64_t most = n1 > n2 ? n1 : n2;
  p->block = p->reduction == NTK_REDUCE_NONE ? 2048 / p->outputs_block : 2048;
  if (p->block < 1)
    p->block = 1;
  if (p->block > 16)
    p->block = p->block / 16 * 16;
  while (p->block > 1 && is_too_large(network, rates, p))
    p->block = smaller(p->block);
  while (smaller(p->block) >= 32) {
    const int64_t blocks = (most + p->block - 1) / p->block;
    if (blocks >= 64 || (blocks >= 16 && tile_flops(network, p, rates) <= 4e9))
      break;
    p->block = smaller(p->block);
  }
}

ntk_status ntk_numeric_choose(const ntk_network *network, int64_t n1, int64_t n2,
                              bool symmetric, const ntk_rates *rates, int64_t fixed_block,
                              int64_t fixed_outputs, ntk_numeric *p) {
  ntk_status status = NTK_SUCCESS;
  const double most_bytes = 256.0 * 1024 * 1024;
  p->outputs = network->outputs;
  p->group_count = network->groups->count;
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, p->group_count, sizeof *p->orders, &p->orders));
  p->outputs_block = fixed_outputs > 0 ? fixed_outputs : p->outputs;
  if (p->outputs_block > p->outputs)
    p->outputs_block = p->outputs;
  p->block = fixed_block > 0 ? fixed_block : 64;
  /* orders depend on the block and the block on the orders' factors: two rounds settle it
   */
  for (int round = 0; round < 2; round++) {
    const ntk_cost_shape shape = ntk_numeric_cost_shape(p, n1, n2, symmetric);
    choose_orders(network, &shape, rates, p->orders);
    while (fixed_outputs <= 0 && p->outputs_block > 1 &&
           block_bytes(network, p, 1, p->outputs_block) > most_bytes)
      p->outputs_block = (p->outputs_block + 1) / 2;
    if (fixed_block <= 0)
      choose_block(network, n1, n2, rates, p);
  }
  const int64_t most = n1 > n2 ? n1 : n2;
  NTK_TRY(ntk_engine_sweep_samples(network, p->algorithm, p->block < most ? p->block : most,
                                   p->outputs_block, &p->sweep_samples));
done:
  return status;
}
