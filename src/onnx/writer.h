/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NTK_ONNX_WRITER_H
#define NTK_ONNX_WRITER_H

#include "base/status.h"
#include "tensor/tensor.h"

/* Purpose: builds an ONNX file (opset 17, IR 8) of f32 parameters. Local: one rank writes.
 * Everything that is added belongs to the writer; texts are copied. The metadata
 * `scantk.parameters` list the parameters. */
typedef struct ntk_writer ntk_writer;

NTK_CHECKED ntk_status ntk_writer_create(const char *graph_name, ntk_writer **out);
void ntk_writer_destroy(ntk_writer **writer);

/* An initializer; *elements: zeros, to be filled, row-major. NTK_ERR_ARGUMENT: the file
 * would exceed the 2 GiB of protobuf. */
NTK_CHECKED ntk_status ntk_writer_add_parameter(ntk_writer *writer, const char *name,
                                                const ntk_shape *shape, float **elements);
/* The same of what is no parameter: masks, statistics of a normalisation. */
NTK_CHECKED ntk_status ntk_writer_add_buffer(ntk_writer *writer, const char *name,
                                             const ntk_shape *shape, float **elements);

/* A Constant node that holds one f32 number without axes. */
NTK_CHECKED ntk_status ntk_writer_add_constant(ntk_writer *writer, const char *name,
                                               double value);

/* A node with one output, whose name is the node's too. Attributes go to the node added
 * last. */
NTK_CHECKED ntk_status ntk_writer_add_node(ntk_writer *writer, const char *op,
                                           const char *output, int input_count,
                                           const char *const inputs[]);
NTK_CHECKED ntk_status ntk_writer_set_int(ntk_writer *writer, const char *name,
                                          int64_t value);
NTK_CHECKED ntk_status ntk_writer_set_ints(ntk_writer *writer, const char *name,
                                           int64_t count, const int64_t values[]);
NTK_CHECKED ntk_status ntk_writer_set_string(ntk_writer *writer, const char *name,
                                             const char *value);

/* Inputs (f32 or i64) and outputs (f32) of the graph; `sample`: the shape without the
 * batch axis, which is put in front with the symbol "batch". */
NTK_CHECKED ntk_status ntk_writer_add_input(ntk_writer *writer, const char *name,
                                            const ntk_shape *sample, ntk_dtype type);
NTK_CHECKED ntk_status ntk_writer_add_output(ntk_writer *writer, const char *name,
                                             const ntk_shape *sample);

/* Writes PATH.new, then renames it to PATH, replacing a file there. NTK_ERR_FILE. */
NTK_CHECKED ntk_status ntk_writer_save(ntk_writer *writer, const char *path);

#endif
