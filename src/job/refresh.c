/* SPDX-License-Identifier: Apache-2.0 */
#include "job/plan_parts.h"
#include "tensor/blas.h"

/* What is constant of the network may follow from parameters. */
static ntk_status update_network(ntk_plan *plan) {
  ntk_status status = NTK_SUCCESS;
  NTK_TRY(ntk_network_update(&plan->network));
  NTK_TRY(ntk_plan_check_orders(plan, "the parameters were set: make a new plan",
                                &plan->numeric));
done:
  return status;
}

static ntk_status follow_parameters(ntk_plan *plan) {
  ntk_status status = NTK_SUCCESS;
  ntk_context *context = plan->context;
  const int blas_threads = ntk_blas_set_threads(1);
  NTK_TRY(ntk_model_settle(plan->model));
  NTK_TRY(ntk_weights_update(context, plan->model->graph, &plan->weights));
  NTK_TRY(ntk_agree(context->comm, update_network(plan)));
  plan->settings = plan->model->settings;
done:
  (void)ntk_blas_set_threads(blas_threads);
  return status;
}

ntk_status ntk_plan_refresh(ntk_plan *plan) {
  ntk_status status = NTK_SUCCESS;
  ntk_data *const sides[] = {plan->rows, plan->columns};
  for (int i = 0; i < 2 && status == NTK_SUCCESS; i++)
    if (sides[i])
      status = ntk_data_refresh(sides[i]);
  NTK_TRY(ntk_agree(plan->context->comm, status));
  if (plan->settings != plan->model->settings)
    NTK_TRY(follow_parameters(plan));
done:
  return status;
}
