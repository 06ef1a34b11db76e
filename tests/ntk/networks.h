/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_NTK_NETWORKS_H
#define TESTS_NTK_NETWORKS_H

/* Small networks written as text, one for each way in which uses of parameters meet. */
#include "subject.h"

#include "onnx/writer.h"

/* Statements end with ';': "input NAME sizes", "param NAME sizes", "constant NAME value",
 * "output NAME sizes", else "OPERATOR OUTPUT INPUTS attribute=1 attribute=1,2". */
typedef struct written {
  const char *name, *text;
} written;

static const written written_networks[] = {
    {"an output that is used further",
     "input x 5; param W 5 6; param b 6; param V 6 3; MatMul a x W; Add c a b; Tanh h c;"
     "MatMul y h V; output h 6; output y 3;"},
    {"an output that is reshaped and used",
     "input x 2 3; param W 3 4; param V 8 3; MatMul a x W; Flatten f a axis=1; Tanh h f;"
     "MatMul y h V; output a 2 4; output y 3;"},
    {"recurrent cell",
     "input x 5; param W 5 4; param U 4 4; param b 4; param R 4 2; MatMul h x W; Tanh s h;"
     "MatMul u s U; Add a h u; Add c a b; Tanh t c; MatMul y t R; output y 2;"},
    {"two biases",
     "input x 5; param W 5 4; param a 4; param b 4; MatMul u x W; Add v u a; Add w b v;"
     "Tanh y w; output y 4;"},
    {"sum of two weights",
     "input x 5; param V 5 4; param W 5 4; Add S V W; MatMul u x S; Tanh y u; output y 4;"},
    {"sum of a weight with itself",
     "input x 5; param W 5 4; Add S W W; MatMul u x S; Tanh y u; output y 4;"},
    {"one weight, one cotangent",
     "input x 5; param W 5 4; Tanh t x; MatMul a x W; MatMul b t W; Add c a b; Tanh y c;"
     "output y 4;"},
    {"difference of products",
     "input x 5; param W 5 4; param V 5 4; param b 4; MatMul a x W; MatMul c x V;"
     "Sub d a c; Sub e b d; Tanh y e; output y 4;"},
    {"weights side by side",
     "input x 5; param W 5 4; param V 5 3; Concat S W V axis=1; MatMul u x S; Tanh y u;"
     "output y 7;"},
    {"transposed and negated weight",
     "input x 5; param W 4 5; Transpose T W perm=1,0; Neg N T; MatMul u x N;"
     "Tanh y u; output y 4;"},
    {"sections of unlike length",
     "input x 3 5; param W 5 5; param b 5; param V 5 2; MatMul a x W; Add c a b; Tanh d c;"
     "ReduceMean m d axes=1 keepdims=0; MatMul e m W; Add f e b; Tanh g f; MatMul y g V;"
     "output y 2;"},
    {"bias of a column", "input x 3 5; param W 3 3; param b 3 1; param V 5 2; MatMul a W "
                         "x; Add c a b; Tanh d c;"
                         "MatMul y d V; output y 3 2;"},
    {"position table and gain",
     "input x 3 5; param p 3 5; param g 5; param W 5 2; Add a x p; Tanh t a; Mul u t g;"
     "MatMul y u W; output y 3 2;"},
    {"scaled residual",
     "input x 5; param W 5 5; param V 5 5; param b 5; constant s 0.25; MatMul a x W;"
     "Tanh h a; MatMul c h V; Mul e c s; Add f e b; Add g f x; Tanh y g; output y 5;"},
    {"squared weight",
     "input x 5; param W 5 4; Mul S W W; MatMul u x S; Tanh y u; output y 4;"},
    {"weight in two roles",
     "input x 4; param W 4 4; Transpose T W perm=1,0; MatMul a x W; Tanh h a;"
     "MatMul y h T; output y 4;"},
    {"batched weight",
     "input x 3 2 5; param W 3 5 4; param V 5 4; MatMul a x W; MatMul c x V; Add e a c;"
     "Tanh y e; output y 3 2 4;"},
    {"grouped convolution and its bias",
     "input x 4 5; param W 6 2 3; param b 6; param V 6 6 1; Conv a x W b group=2 pads=1,1;"
     "Tanh h a; Conv c h V b; Tanh y c; output y 6 5;"},
    {"unused output of a branch",
     "input x 5; param W 5 4; param V 4 4; param b 4; MatMul a x W; Relu r a; MatMul c r V;"
     "MatMul e a V; Add f c e; Add y f b; output y 4;"},
    {"a value read plainly and reshaped",
     "input x 2 3; param W 3 4; param V 8 3; param R 8 3; MatMul a x W; Flatten f a axis=1;"
     "MatMul g f V; Tanh t a; Flatten u t axis=1; MatMul w u R; Add z g w; Tanh y z;"
     "output y 3;"},
    {"one input, two scales", "input x 5; param W 5 4; param V 5 4; constant s 0.5; MatMul "
                              "a x W; Mul b a s; Tanh c b;"
                              "MatMul d x V; Tanh e d; Add y c e; output y 4;"},
    {"slices that overlap",
     "input x 3; param W 5 4; Slice a W starts=0, ends=3,; Slice c W starts=2, ends=5,;"
     "MatMul u x a; MatMul v x c; Tanh t u; Add y t v; output y 4;"},
    {"a part as weight, a part as bias",
     "input x 5; param W 6 4; Slice a W starts=0, ends=5,; Slice c W starts=5, ends=6,;"
     "MatMul u x a; Add v u c; Tanh y v; output y 4;"},
    {"a slice used twice",
     "input x 4; param W 8 4; param b 4; Slice a W starts=0, ends=4,; "
     "Slice c W starts=-4, ends=8,; MatMul u x a; Add s u b; Tanh t s; MatMul v t a;"
     "Add w v b; Tanh z w; MatMul y z c; output y 4;"},
    {"slices of filters",
     "input x 2 5; param W 7 2 3; Slice a W starts=0, ends=4,; Slice c W starts=4, ends=7,;"
     "Conv u x a pads=1,1; Conv v x c pads=1,1; Concat h u v axis=1; Tanh y h; output y 7 "
     "5;"},
    {"rows gathered twice",
     "input x 5; param W 5 4; Constant i value_ints=0,1,2,3,1; Gather a W i;"
     "MatMul u x a; Tanh y u; output y 4;"},
    {"a bias whose half has no weight",
     "input x 4; param W 4 4; param b 8; Slice a b starts=0, ends=4,;"
     "Slice c b starts=4, ends=8,; MatMul u x W; Add v u a; Tanh t v; Add y t c;"
     "output y 4;"},
    {"grouped convolutions of one input",
     "input x 4 5; param W 6 2 3; param V 8 2 3; param R 14 2; Conv a x W group=2; Tanh h "
     "a;"
     "Conv b x V group=2; Tanh g b; Concat c h g axis=1; Transpose d c perm=0,2,1;"
     "MatMul e d R; Tanh y e; output y 3 2;"}};
enum { WRITTEN = sizeof written_networks / sizeof *written_networks };

/* The integers of "1,2": their number. */
static inline int64_t written_ints(const char *text, int64_t *values) {
  int64_t count = 0;
  for (char *end; *text; text = *end ? end + 1 : end)
    values[count++] = strtoll(text, &end, 10);
  return count;
}

static inline ntk_shape written_shape(char *const words[], int count) {
  ntk_shape shape = {.ndim = count};
  for (int i = 0; i < count; i++)
    shape.dim[i] = strtoll(words[i], NULL, 10);
  return shape;
}

static inline void written_node(ntk_writer *writer, char *words[], int count) {
  int inputs = 0;
  while (2 + inputs < count && !strchr(words[2 + inputs], '='))
    inputs++;
  succeed(ntk_writer_add_node(writer, words[0], words[1], inputs,
                              (const char *const *)words + 2));
  for (int i = 2 + inputs; i < count; i++) {
    int64_t values[8];
    char *value = strchr(words[i], '=');
    *value++ = 0;
    const int64_t n = written_ints(value, values);
    if (strchr(value, ',') || strcmp(words[i], "axes") == 0)
      succeed(ntk_writer_set_ints(writer, words[i], n, values));
    else
      succeed(ntk_writer_set_int(writer, words[i], values[0]));
  }
}

static inline void written_statement(ntk_writer *writer, char *words[], int count) {
  const ntk_shape shape = written_shape(words + 2, count - 2);
  float *elements;
  if (strcmp(words[0], "input") == 0) {
    succeed(ntk_writer_add_input(writer, words[1], &shape));
  } else if (strcmp(words[0], "output") == 0) {
    succeed(ntk_writer_add_output(writer, words[1], &shape));
  } else if (strcmp(words[0], "constant") == 0) {
    succeed(ntk_writer_add_constant(writer, words[1], strtod(words[2], NULL)));
  } else if (strcmp(words[0], "param") == 0) {
    succeed(ntk_writer_add_parameter(writer, words[1], &shape, &elements));
    for (int64_t i = 0; i < ntk_shape_size(&shape); i++)
      elements[i] = (float)number((uint64_t)words[1][0], (uint64_t)i);
  } else {
    written_node(writer, words, count);
  }
}

static inline subject subject_written(ntk_context *context, const written *network,
                                      int64_t n1, int64_t n2) {
  char text[1024], path[512], *statement, *rest = text;
  ntk_writer *writer;
  assert_true(strlen(network->text) < sizeof text);
  strcpy(text, network->text);
  succeed(ntk_writer_create("network", &writer));
  while ((statement = strtok_r(rest, ";", &rest))) {
    char *words[16], *word;
    int count = 0;
    while ((word = strtok_r(statement, " ", &statement)))
      words[count++] = word;
    written_statement(writer, words, count);
  }
  succeed(ntk_writer_save(writer, temporary_path(path)));
  ntk_writer_destroy(&writer);
  return subject_from_file(context, network->name, path, NULL, n1, n2);
}

#endif
