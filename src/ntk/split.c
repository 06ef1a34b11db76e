/* SPDX-License-Identifier: Apache-2.0 */
#include "ntk/split.h"
#include "base/memory.h"
#include <stdlib.h>
#include <string.h>

/* Channels, or columns of X, first .. end of a group, and what contracting them takes. */
typedef struct piece {
  int group, share;
  int64_t first, end;
  double seconds;
} piece;

/* Being dealt. */
typedef struct deal {
  const ntk_groups *groups;
  const ntk_order *orders;
  const double *seconds;
  const ntk_cost_shape *shape;
  int shares, count, capacity;
  piece *pieces;
  double *loads; /* [shares] */
  bool *along_k; /* [groups] cut along k, else along c */
  double *fixed; /* [groups] seconds that each piece takes, however small */
} deal;

/* A share is long enough to be shortened where it exceeds the shortest by so much. */
static const double tolerance = 1.02;

static ntk_status add_piece(deal *d, piece p) {
  ntk_status status = NTK_SUCCESS;
  if (d->count == d->capacity) {
    d->capacity = 2 * d->capacity + 16;
    NTK_TRY(ntk_realloc(NTK_MEMORY_GENERAL, d->capacity, sizeof p, &d->pieces));
  }
  d->pieces[d->count++] = p;
  d->loads[p.share] += p.seconds;
done:
  return status;
}

static int extreme(const deal *d, bool longest) {
  int at = 0;
  for (int s = 1; s < d->shares; s++)
    if (longest ? d->loads[s] > d->loads[at] : d->loads[s] < d->loads[at])
      at = s;
  return at;
}

/* Along the axis that it is cut along. */
static int64_t length_of(const deal *d, int group) {
  const ntk_group *g = &d->groups->groups[group];
  return d->along_k[group] ? g->K : g->C;
}

/* Whole groups, the longest first, each to the share that has least. */
static ntk_status deal_whole(deal *d) {
  ntk_status status = NTK_SUCCESS;
  const int count = d->groups->count;
  bool *dealt = NULL;
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, count, sizeof *dealt, &dealt));
  for (int k = 0; k < count; k++) {
    int next = -1;
    for (int i = 0; i < count; i++)
      if (!dealt[i] && (next < 0 || d->seconds[i] > d->seconds[next]))
        next = i;
    dealt[next] = true;
    NTK_TRY(add_piece(d, (piece){.group = next,
                                 .share = extreme(d, false),
                                 .end = length_of(d, next),
                                 .seconds = d->seconds[next]}));
  }
done:
  ntk_free(&dealt);
  return status;
}

/* ---- cutting --------------------------------------------------------------------------
 */

/* The last place up to k where X may be cut: whole channels of patches stay together. */
static int64_t snap(const ntk_group *group, int64_t k) {
  for (int s = 0; s < group->section_count; s++)
    for (int i = 0; i < group->x_count; i++) {
      const ntk_x_part *x = &group->sections[s].x[i];
      const int64_t inside = k - x->k0;
      if (inside <= 0 || inside >= x->K || !x->use.x_custom)
        continue;
      k -= x->use.window ? inside % ntk_x_part_taps(x) : inside;
    }
  return k;
}

/* Where a piece that shall lose about so many of its last channels or columns is cut;
 * pieces begin at whole chunks, unless patches forbid. */
static int64_t cut_at(const deal *d, const piece *p, int64_t chunks) {
  const int64_t cut = (p->end - 1) / NTK_CHUNK * NTK_CHUNK - (chunks - 1) * NTK_CHUNK;
  return d->along_k[p->group] ? snap(&d->groups->groups[p->group], cut) : cut;
}

static int64_t most_chunks(const piece *p) { return (p->end - p->first - 1) / NTK_CHUNK; }

/* Rows of tables stay together, D that is constant is none of the group's own, and a tie is
 * one piece. */
static bool can_cut(const deal *d, int group, bool along_k) {
  const ntk_group *g = &d->groups->groups[group];
  if (g->roles)
    return false;
  return along_k ? !g->one_hot && g->K >= (int64_t)2 * NTK_CHUNK
                 : d->orders[group] != NTK_ORDER_CONSTANT && g->C >= (int64_t)2 * NTK_CHUNK;
}

static bool is_divisible(const deal *d, const piece *p) {
  return p->end - p->first >= (int64_t)2 * NTK_CHUNK &&
         can_cut(d, p->group, d->along_k[p->group]) && cut_at(d, p, 1) > p->first;
}

/* Each group is cut along the axis that leaves less to do again. */
static void choose_axes(deal *d) {
  for (int i = 0; i < d->groups->count; i++) {
    const ntk_group *g = &d->groups->groups[i];
    const double c = ntk_cost_fixed_share(g, d->orders[i], d->shape, false);
    const double k = ntk_cost_fixed_share(g, d->orders[i], d->shape, true);
    d->along_k[i] = can_cut(d, i, true) && (!can_cut(d, i, false) || k < c);
    d->fixed[i] = (d->along_k[i] ? k : c) * d->seconds[i];
  }
}

/* The longest piece of a share that can be cut; -1: none. */
static int longest_piece(const deal *d, int share) {
  int at = -1;
  for (int i = 0; i < d->count; i++) {
    const piece *p = &d->pieces[i];
    if (p->share == share && is_divisible(d, p) &&
        (at < 0 || p->seconds > d->pieces[at].seconds))
      at = i;
  }
  return at;
}

/* Moves channels or columns from the longest share to the shortest until they are alike;
 * false where that shortens nothing. */
static ntk_status cut_longest(deal *d, bool *has_cut) {
  ntk_status status = NTK_SUCCESS;
  const int from = extreme(d, true), to = extreme(d, false);
  const int at = longest_piece(d, from);
  *has_cut = false;
  if (at < 0 || d->loads[from] <= tolerance * d->loads[to])
    return NTK_SUCCESS;
  piece *p = &d->pieces[at];
  const double fixed = d->fixed[p->group];
  const double each = (d->seconds[p->group] - fixed) / (double)length_of(d, p->group);
  const double wish = (d->loads[from] - d->loads[to] - fixed) / (2 * each) / NTK_CHUNK;
  const int64_t most = most_chunks(p);
  const int64_t chunks = wish < (double)most ? (int64_t)(wish + 0.5) : most;
  const int64_t cut = chunks < 1 ? p->end : cut_at(d, p, chunks);
  const double moved = each * (double)(p->end - cut);
  if (cut <= p->first || cut >= p->end ||
      d->loads[to] + fixed + moved >= 0.99 * d->loads[from])
    return NTK_SUCCESS;
  const piece right = {p->group, to, cut, p->end, fixed + moved};
  p->seconds -= moved;
  d->loads[from] -= moved;
  p->end = cut;
  *has_cut = true;
  NTK_TRY(add_piece(d, right));
done:
  return status;
}

static int by_share(const void *a, const void *b) {
  const piece *p = a, *q = b;
  if (p->share != q->share)
    return p->share < q->share ? -1 : 1;
  if (p->group != q->group)
    return p->group < q->group ? -1 : 1;
  return p->first < q->first ? -1 : p->first > q->first;
}

/* ---- pieces as groups -----------------------------------------------------------------
 */

/* What of from .. from + count lies in range, and how far in; false: nothing. */
typedef struct range {
  int64_t first, end;
} range;

static bool overlap(range r, int64_t from, int64_t count, int64_t *skipped, int64_t *left) {
  const int64_t end = from + count;
  const int64_t first = from > r.first ? from : r.first, last = end < r.end ? end : r.end;
  *skipped = first - from;
  *left = last - first;
  return first < last;
}

/* Channels c of the D parts of a section. */
static ntk_status cut_d(const ntk_section *from, int count, range c, ntk_section *out,
                        int *out_count) {
  ntk_status status = NTK_SUCCESS;
  *out_count = 0;
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, count, sizeof *out->d, &out->d));
  for (int i = 0; i < count; i++) {
    ntk_d_part part = from->d[i];
    int64_t skipped, left;
    if (!overlap(c, part.c0, part.layout.C, &skipped, &left))
      continue;
    part.skip += skipped * part.layout.dc;
    part.c0 += skipped - c.first;
    part.layout.C = left;
    out->d[(*out_count)++] = part;
  }
done:
  return status;
}

/* Columns k of the X parts of a section. */
static ntk_status cut_x(const ntk_section *from, int count, range k, ntk_section *out,
                        int *out_count) {
  ntk_status status = NTK_SUCCESS;
  *out_count = 0;
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, count, sizeof *out->x, &out->x));
  for (int i = 0; i < count; i++) {
    ntk_x_part part = from->x[i];
    int64_t skipped, left;
    if (!overlap(k, part.k0, part.K, &skipped, &left))
      continue;
    part.k0 += skipped - k.first;
    part.K = left;
    if (part.use.window) {
      part.skip += skipped / ntk_x_part_taps(&part) * ntk_window_plane(part.use.window);
      part.use.channels = left / ntk_x_part_taps(&part);
    } else {
      part.skip += skipped * part.use.xk;
    }
    out->x[(*out_count)++] = part;
  }
done:
  return status;
}

/* A group with sections of its own; the rest is the whole group's. */
static ntk_status cut_group(const piece *p, bool along_k, ntk_group *group) {
  ntk_status status = NTK_SUCCESS;
  const ntk_section *whole = group->sections;
  const int x_count = group->x_count, d_count = group->d_count;
  const range k = {along_k ? p->first : 0, along_k ? p->end : group->K};
  const range c = {along_k ? 0 : p->first, along_k ? group->C : p->end};
  group->sections = NULL; /* the whole group's are not ours to free */
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, group->section_count, sizeof(ntk_section),
                     &group->sections));
  group->K = k.end - k.first;
  group->C = c.end - c.first;
  for (int s = 0; s < group->section_count; s++) {
    ntk_section *section = &group->sections[s];
    section->t0 = whole[s].t0;
    section->T = whole[s].T;
    NTK_TRY(cut_x(&whole[s], x_count, k, section, &group->x_count));
    NTK_TRY(cut_d(&whole[s], d_count, c, section, &group->d_count));
  }
  ntk_group_place_x(group);
done:
  return status;
}

static ntk_status make_pieces(const deal *d, ntk_split *out) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, d->count, sizeof(ntk_group), &out->pieces));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, d->count, sizeof(bool), &out->is_cut));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, d->count, sizeof(int), &out->group));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, d->shares + 1, sizeof(int), &out->first));
  out->shares = d->shares;
  out->passes = 1;
  for (int i = 0; i < d->count; i++) {
    const piece *p = &d->pieces[i];
    out->pieces[i] = d->groups->groups[p->group];
    out->group[i] = p->group;
    out->first[p->share + 1] = i + 1;
    out->count++;
    out->is_cut[i] = p->end - p->first < length_of(d, p->group);
    if (out->is_cut[i])
      NTK_TRY(cut_group(p, d->along_k[p->group], &out->pieces[i]));
  }
  for (int s = 1; s <= d->shares; s++) /* a share may have nothing */
    if (out->first[s] < out->first[s - 1])
      out->first[s] = out->first[s - 1];
done:
  return status;
}

ntk_status ntk_split_create(const ntk_groups *groups, const ntk_order *orders,
                            const double *seconds, const ntk_cost_shape *shape, int shares,
                            ntk_split *out) {
  ntk_status status = NTK_SUCCESS;
  deal d = {groups, orders, seconds, shape, .shares = shares};
  double *none = NULL, all = 0;
  bool has_cut = true;
  *out = (ntk_split){0};
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, groups->count, sizeof *none, &none));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, shares, sizeof *d.loads, &d.loads));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, groups->count, sizeof *d.along_k, &d.along_k));
  NTK_TRY(ntk_calloc(NTK_MEMORY_GENERAL, groups->count, sizeof *d.fixed, &d.fixed));
  if (!seconds)
    d.seconds = none;
  if (shares > 1)
    choose_axes(&d);
  NTK_TRY(deal_whole(&d));
  for (int i = 0; shares > 1 && i < 8 * shares && has_cut; i++)
    NTK_TRY(cut_longest(&d, &has_cut));
  qsort(d.pieces, (size_t)d.count, sizeof *d.pieces, by_share);
  NTK_TRY(make_pieces(&d, out));
  for (int i = 0; i < groups->count; i++)
    all += d.seconds[i];
  out->largest = all > 0 ? d.loads[extreme(&d, true)] / all : 1;
done:
  ntk_free(&none);
  ntk_free(&d.loads);
  ntk_free(&d.along_k);
  ntk_free(&d.fixed);
  ntk_free(&d.pieces);
  if (status != NTK_SUCCESS)
    ntk_split_clear(out);
  return status;
}

/* ---- passes ---------------------------------------------------------------------------
 */

/* Passes that pieces first .. end take with at most so many bytes in each; ends: where each
 * of them ends, or NULL. */
static int count_passes(const int64_t *bytes, int first, int end, int64_t most, int *ends) {
  int passes = 0;
  int64_t sum = 0;
  for (int i = first; i < end; i++) {
    if (i > first && sum + bytes[i] > most) {
      if (ends)
        ends[passes] = i;
      passes++;
      sum = 0;
    }
    sum += bytes[i];
  }
  if (ends)
    ends[passes] = end;
  return passes + 1;
}

/* The least bytes of the largest of so many passes. */
static int64_t least_bytes(const int64_t *bytes, int first, int end, int passes) {
  int64_t low = 0, high = 0;
  for (int i = first; i < end; i++) {
    low = bytes[i] > low ? bytes[i] : low;
    high += bytes[i];
  }
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    if (count_passes(bytes, first, end, middle, NULL) <= passes)
      high = middle;
    else
      low = middle + 1;
  }
  return low;
}

/* Of all its passes. */
static ntk_pieces pieces_of_share(const ntk_split *split, int share) {
  return (ntk_pieces){ntk_split_pieces(split, share, 0).first,
                      ntk_split_pieces(split, share, split->passes - 1).end};
}

ntk_status ntk_split_divide(ntk_split *split, const int64_t *bytes, int passes) {
  ntk_status status = NTK_SUCCESS;
  int *firsts = NULL, used = 1;
  for (int d = 0; d < split->shares; d++) {
    const ntk_pieces p = pieces_of_share(split, d);
    const int64_t most = least_bytes(bytes, p.first, p.end, passes);
    const int n = count_passes(bytes, p.first, p.end, most, NULL);
    used = n > used ? n : used;
  }
  NTK_TRY(
      ntk_calloc(NTK_MEMORY_GENERAL, split->shares * used + 1, sizeof *firsts, &firsts));
  int *ends = firsts + 1;
  for (int d = 0; d < split->shares; d++, ends += used) {
    const ntk_pieces p = pieces_of_share(split, d);
    const int64_t most = least_bytes(bytes, p.first, p.end, used);
    for (int n = count_passes(bytes, p.first, p.end, most, ends); n < used; n++)
      ends[n] = p.end;
  }
  ntk_free(&split->first);
  split->first = firsts;
  split->passes = used;
done:
  return status;
}

static void clear_piece(ntk_group *group) {
  for (int s = 0; group->sections && s < group->section_count; s++) {
    ntk_free(&group->sections[s].x);
    ntk_free(&group->sections[s].d);
  }
  ntk_free(&group->sections);
}

void ntk_split_clear(ntk_split *split) {
  for (int i = 0; i < split->count; i++)
    if (split->is_cut[i])
      clear_piece(&split->pieces[i]);
  ntk_free(&split->pieces);
  ntk_free(&split->is_cut);
  ntk_free(&split->group);
  ntk_free(&split->first);
}
