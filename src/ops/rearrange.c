/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "base/status.h"
#include "ops/light.h"
#include <string.h>

/* Moves by a rule for one index: where does the result's element at it come from? */

/* What the rules know. */
typedef struct rule {
  ntk_shape x, y;
  int axis, other; /* of each operator's own meaning */
  int64_t block, diagonal;
  bool flag;
  const int64_t *list;
} rule;
/* Element of the input, -1: filled. `index` may be changed. */
typedef int64_t (*rule_fn)(const rule *r, int64_t *index);

static ntk_status move_by(ntk_graph *graph, ntk_node *node, const rule *r, rule_fn fn) {
  ntk_status status = NTK_SUCCESS;
  int64_t *from = NULL, index[NTK_MAX_DIMS] = {0};
  NTK_TRY(ntk_check_size(&r->y));
  const int64_t count = ntk_shape_size(&r->y);
  NTK_TRY(ntk_malloc(NTK_MEMORY_GENERAL, count, sizeof *from, &from));
  for (int64_t e = 0; e < count; e++) {
    ntk_shape_index(&r->y, e, index);
    from[e] = fn(r, index);
  }
  NTK_TRY(ntk_list_to_moves(graph, node, &r->y, from));
  ntk_set_output(graph, node, ntk_operand(graph, node, 0)->dtype, &r->y);
done:
  ntk_free(&from);
  return status;
}

/* ---- Tile -----------------------------------------------------------------------------
 */

static int64_t tile_rule(const rule *r, int64_t *index) {
  for (int d = 0; d < r->x.ndim; d++)
    index[d] %= r->x.dim[d];
  return ntk_shape_place(&r->x, index);
}

static ntk_status infer_tile(ntk_graph *graph, ntk_node *node) {
  ntk_status status = NTK_SUCCESS;
  int64_t *repeats = NULL, count;
  NTK_TRY(ntk_require_operands(graph, node, 2));
  rule r = {.x = ntk_operand(graph, node, 0)->shape};
  r.y = r.x;
  NTK_TRY(ntk_constant_ints(graph, node, 1, "repeats", &repeats, &count));
  NTK_REQUIRE(count == r.x.ndim, NTK_ERR_SHAPE, "%lld repeats for %d axes",
              (long long)count, r.x.ndim);
  for (int d = 0; d < r.x.ndim; d++)
    NTK_REQUIRE(repeats[d] >= 0 &&
                    !__builtin_mul_overflow(r.x.dim[d], repeats[d], &r.y.dim[d]),
                NTK_ERR_SHAPE, "%lld repeats", (long long)repeats[d]);
  NTK_TRY(move_by(graph, node, &r, tile_rule));
done:
  ntk_free(&repeats);
  return status;
}

/* The batch is not repeated. */
static bool tile_keeps(const ntk_graph *graph, const ntk_node *node,
                       const int *operand_axis, int output_axis) {
  return ntk_keeps_axis(graph, node, operand_axis, output_axis) &&
         ntk_operand(graph, node, 0)->shape.dim[output_axis] ==
             graph->values[node->outputs[0]].shape.dim[output_axis];
}
NTK_MOVE_ROW(tile, "Tile", 6, 2, tile_keeps, NTK_OP_MOVE, .not_parameter = 2)

/* ---- DepthToSpace, SpaceToDepth -------------------------------------------------------
 */

static ntk_status blocks_of(const ntk_graph *graph, const ntk_node *node, rule *r) {
  ntk_status status = NTK_SUCCESS;
  const char *mode = ntk_node_string(node, "mode", "DCR");
  NTK_TRY(ntk_require_operands(graph, node, 1));
  r->x = r->y = ntk_operand(graph, node, 0)->shape;
  r->block = ntk_node_int(node, "blocksize", 0);
  r->flag = strcmp(mode, "CRD") == 0;
  NTK_REQUIRE(r->flag || strcmp(mode, "DCR") == 0, NTK_ERR_UNSUPPORTED,
              "mode %s is not supported", mode);
  NTK_REQUIRE(r->x.ndim == 4, NTK_ERR_SHAPE, "%d axes, not 4", r->x.ndim);
  NTK_REQUIRE(r->block > 0 && r->block < 1 << 15, NTK_ERR_SHAPE, "a block size of %lld",
              (long long)r->block);
done:
  return status;
}

static int64_t to_space_rule(const rule *r, int64_t *index) {
  const int64_t b = r->block, channels = r->y.dim[1];
  const int64_t place = index[2] % b * b + index[3] % b;
  index[1] = r->flag ? index[1] * b * b + place : place * channels + index[1];
  index[2] /= b;
  index[3] /= b;
  return ntk_shape_place(&r->x, index);
}

static ntk_status infer_depthtospace(ntk_graph *graph, ntk_node *node) {
  ntk_status status = NTK_SUCCESS;
  rule r = {0};
  NTK_TRY(blocks_of(graph, node, &r));
  const int64_t b = r.block;
  NTK_REQUIRE(r.x.dim[1] % (b * b) == 0, NTK_ERR_SHAPE,
              "%lld channels are no multiple of %lld", (long long)r.x.dim[1],
              (long long)(b * b));
  r.y.dim[1] /= b * b;
  r.y.dim[2] *= b;
  r.y.dim[3] *= b;
  NTK_TRY(move_by(graph, node, &r, to_space_rule));
done:
  return status;
}

static int64_t to_depth_rule(const rule *r, int64_t *index) {
  const int64_t b = r->block, channels = r->x.dim[1];
  const int64_t place = r->flag ? index[1] % (b * b) : index[1] / channels;
  index[1] = r->flag ? index[1] / (b * b) : index[1] % channels;
  index[2] = index[2] * b + place / b;
  index[3] = index[3] * b + place % b;
  return ntk_shape_place(&r->x, index);
}

static ntk_status infer_spacetodepth(ntk_graph *graph, ntk_node *node) {
  ntk_status status = NTK_SUCCESS;
  rule r = {0};
  NTK_TRY(blocks_of(graph, node, &r));
  const int64_t b = r.block;
  NTK_REQUIRE(!r.flag || node->opset >= 28, NTK_ERR_UNSUPPORTED,
              "SpaceToDepth has no mode");
  NTK_REQUIRE(r.x.dim[2] % b == 0 && r.x.dim[3] % b == 0, NTK_ERR_SHAPE,
              "%lld x %lld pixels are no multiple of %lld", (long long)r.x.dim[2],
              (long long)r.x.dim[3], (long long)b);
  r.y.dim[1] *= b * b;
  r.y.dim[2] /= b;
  r.y.dim[3] /= b;
  NTK_TRY(move_by(graph, node, &r, to_depth_rule));
done:
  return status;
}

static bool first_axis_keeps(const ntk_graph *graph, const ntk_node *node,
                             const int *operand_axis, int output_axis) {
  return output_axis == 0 && ntk_keeps_axis(graph, node, operand_axis, output_axis);
}
NTK_MOVE_ROW(depthtospace, "DepthToSpace", 1, 1, first_axis_keeps,
             NTK_OP_MOVE | NTK_OP_BIJECTIVE, .not_parameter = 0)
NTK_MOVE_ROW(spacetodepth, "SpaceToDepth", 1, 1, first_axis_keeps,
             NTK_OP_MOVE | NTK_OP_BIJECTIVE, .not_parameter = 0)

/* ---- Trilu ----------------------------------------------------------------------------
 */

static int64_t trilu_rule(const rule *r, int64_t *index) {
  const int64_t over = index[r->x.ndim - 1] - index[r->x.ndim - 2];
  const bool inside = r->flag ? over >= r->diagonal : over <= r->diagonal;
  return inside ? ntk_shape_place(&r->x, index) : -1;
}

static ntk_status infer_trilu(ntk_graph *graph, ntk_node *node) {
  ntk_status status = NTK_SUCCESS;
  int64_t *k = NULL, count;
  NTK_TRY(ntk_require_operands(graph, node, 1));
  rule r = {.x = ntk_operand(graph, node, 0)->shape};
  r.y = r.x;
  r.flag = ntk_node_int(node, "upper", 1);
  NTK_REQUIRE(r.x.ndim >= 2, NTK_ERR_SHAPE, "%d axes; matrices have 2", r.x.ndim);
  if (ntk_operand(graph, node, 1)) {
    NTK_TRY(ntk_constant_ints(graph, node, 1, "the diagonal", &k, &count));
    NTK_REQUIRE(count == 1, NTK_ERR_SHAPE, "%lld diagonals", (long long)count);
    r.diagonal = k[0];
  }
  NTK_TRY(move_by(graph, node, &r, trilu_rule));
done:
  ntk_free(&k);
  return status;
}

static bool trilu_keeps(const ntk_graph *graph, const ntk_node *node,
                        const int *operand_axis, int output_axis) {
  return output_axis < ntk_operand(graph, node, 0)->shape.ndim - 2 &&
         ntk_keeps_axis(graph, node, operand_axis, output_axis);
}
NTK_MOVE_ROW(trilu, "Trilu", 14, 2, trilu_keeps, NTK_OP_MOVE, .not_parameter = 2)

/* ---- ReverseSequence ------------------------------------------------------------------
 */

static int64_t reverse_rule(const rule *r, int64_t *index) {
  const int64_t length = r->list[index[r->other]], t = index[r->axis];
  index[r->axis] = t < length ? length - 1 - t : t;
  return ntk_shape_place(&r->x, index);
}

static ntk_status infer_reversesequence(ntk_graph *graph, ntk_node *node) {
  ntk_status status = NTK_SUCCESS;
  int64_t *lengths = NULL, count;
  NTK_TRY(ntk_require_operands(graph, node, 2));
  rule r = {.x = ntk_operand(graph, node, 0)->shape};
  r.y = r.x;
  NTK_TRY(ntk_normalize_axis(ntk_node_int(node, "time_axis", 0), r.x.ndim, &r.axis));
  NTK_TRY(ntk_normalize_axis(ntk_node_int(node, "batch_axis", 1), r.x.ndim, &r.other));
  NTK_REQUIRE(r.axis != r.other, NTK_ERR_SHAPE, "time and batch are one axis");
  NTK_TRY(ntk_constant_ints(graph, node, 1, "a length", &lengths, &count));
  NTK_REQUIRE(count == r.x.dim[r.other], NTK_ERR_SHAPE, "%lld lengths for %lld sequences",
              (long long)count, (long long)r.x.dim[r.other]);
  for (int64_t i = 0; i < count; i++)
    NTK_REQUIRE(lengths[i] >= 0 && lengths[i] <= r.x.dim[r.axis], NTK_ERR_SHAPE,
                "length %lld of %lld", (long long)lengths[i], (long long)r.x.dim[r.axis]);
  r.list = lengths;
  NTK_TRY(move_by(graph, node, &r, reverse_rule));
done:
  ntk_free(&lengths);
  return status;
}

/* The lengths along `batch_axis` might differ; they are constants of one sample. */
static bool reverse_keeps(const ntk_graph *graph, const ntk_node *node,
                          const int *operand_axis, int output_axis) {
  const int ndim = ntk_operand(graph, node, 0)->shape.ndim;
  int time, batch;
  return ntk_normalize_axis(ntk_node_int(node, "time_axis", 0), ndim, &time) ==
             NTK_SUCCESS &&
         ntk_normalize_axis(ntk_node_int(node, "batch_axis", 1), ndim, &batch) ==
             NTK_SUCCESS &&
         time != output_axis && batch != output_axis &&
         ntk_keeps_axis(graph, node, operand_axis, output_axis);
}
NTK_MOVE_ROW(reversesequence, "ReverseSequence", 10, 2, reverse_keeps,
             NTK_OP_MOVE | NTK_OP_BIJECTIVE, .not_parameter = 2)

/* ---- Compress -------------------------------------------------------------------------
 */

static int64_t compress_rule(const rule *r, int64_t *index) {
  if (r->flag) /* of all elements in a row */
    return r->list[index[0]];
  index[r->axis] = r->list[index[r->axis]];
  return ntk_shape_place(&r->x, index);
}

static ntk_status infer_compress(ntk_graph *graph, ntk_node *node) {
  ntk_status status = NTK_SUCCESS;
  int64_t *list = NULL, count, kept = 0;
  NTK_TRY(ntk_require_operands(graph, node, 2));
  rule r = {.x = ntk_operand(graph, node, 0)->shape,
            .flag = !ntk_node_attribute(node, "axis")};
  if (!r.flag)
    NTK_TRY(ntk_normalize_axis(ntk_node_int(node, "axis", 0), r.x.ndim, &r.axis));
  const int64_t n = r.flag ? ntk_shape_size(&r.x) : r.x.dim[r.axis];
  NTK_TRY(ntk_constant_ints(graph, node, 1, "the condition", &list, &count));
  NTK_REQUIRE(count <= n, NTK_ERR_SHAPE, "a condition of %lld for %lld elements",
              (long long)count, (long long)n);
  for (int64_t i = 0; i < count; i++) /* the numbers of those kept, in front */
    if (list[i])
      list[kept++] = i;
  r.y = r.flag ? (ntk_shape){.ndim = 1} : r.x;
  r.y.dim[r.axis] = kept;
  r.list = list;
  NTK_TRY(move_by(graph, node, &r, compress_rule));
done:
  ntk_free(&list);
  return status;
}

static bool compress_keeps(const ntk_graph *graph, const ntk_node *node,
                           const int *operand_axis, int output_axis) {
  int axis;
  return ntk_node_attribute(node, "axis") &&
         ntk_normalize_axis(ntk_node_int(node, "axis", 0),
                            ntk_operand(graph, node, 0)->shape.ndim,
                            &axis) == NTK_SUCCESS &&
         axis != output_axis && ntk_keeps_axis(graph, node, operand_axis, output_axis);
}
NTK_MOVE_ROW(compress, "Compress", 9, 2, compress_keeps, NTK_OP_MOVE, .not_parameter = 2)
