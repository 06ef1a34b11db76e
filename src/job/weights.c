/* SPDX-License-Identifier: Apache-2.0 */
#include "job/weights.h"

/* Writes the block, or has its node's writer do so. */
static ntk_status fill(ntk_weights *w) {
  return ntk_shared_publish(w->block,
                            w->block->is_writer ? ntk_net_update(w->net) : NTK_SUCCESS);
}

ntk_status ntk_weights_create(ntk_context *context, const ntk_graph *graph, ntk_dtype dtype,
                              ntk_weights *out) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_shared_create(context, ntk_net_bytes(graph, dtype), &out->block));
  NTK_TRY(
      ntk_agree(context->comm, ntk_net_create(graph, dtype, out->block->data, &out->net)));
  NTK_TRY(fill(out));
done:
  if (status != NTK_SUCCESS)
    ntk_weights_destroy(out);
  return status;
}

ntk_status ntk_weights_update(ntk_context *context, const ntk_graph *graph,
                              ntk_weights *weights) {
  ntk_status status = NTK_SUCCESS;
  const int64_t bytes = ntk_net_bytes(graph, weights->net->dtype);
  if (!weights->block || weights->block->bytes != bytes) {
    ntk_shared_destroy(&weights->block);
    NTK_TRY(ntk_shared_create(context, bytes, &weights->block));
  }
  ntk_net_place(weights->net, weights->block->data);
  NTK_TRY(fill(weights));
done:
  return status;
}

void ntk_weights_destroy(ntk_weights *weights) {
  ntk_net_destroy(&weights->net);
  ntk_shared_destroy(&weights->block);
}
