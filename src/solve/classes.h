/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_SOLVE_CLASSES_H
#define NTK_SOLVE_CLASSES_H

#include "io/data.h"

/* Class numbers as targets of a regression. All calls are local. */

/* Rows first .. first + count of a data set whose values are class numbers. */
NTK_CHECKED ntk_status ntk_classes_read(ntk_data *data, int64_t first, int64_t count,
                                        int64_t *classes);

/* Purpose: class numbers [count] become numbers among the outputs, and targets [count, O]
 * one-hot less 1/O. Where the outputs are a selection a class that is none of them becomes
 * -1.
 * path    of the labels; first: number of the first sample. For messages.
 * output  [O] the outputs' own numbers; NULL: 0 ..
 * Errors: NTK_ERR_SHAPE: a class that there is no output for. */
NTK_CHECKED ntk_status ntk_classes_encode(const char *path, int64_t first, int64_t count,
                                          int64_t O, const int64_t *output,
                                          int64_t *classes, double *targets);

#endif
