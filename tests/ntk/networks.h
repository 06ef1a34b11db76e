/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_NTK_NETWORKS_H
#define TESTS_NTK_NETWORKS_H

/* Small networks written as text, one for each way in which uses of parameters meet. */
#include "subject.h"

#include "onnx/writer.h"

/* Statements end with ';': "input NAME sizes", "tokens NAME count rows" (the input: indices
 * of so many rows, also from the end), "param NAME sizes", "constant NAME value",
 * "output NAME sizes", else "OPERATOR OUTPUT INPUTS attribute=1 attribute=1,2
 * attribute=word". */
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
    {"transposed convolutions and their biases",
     "input x 4 5; param W 4 3 3; param b 6; param V 6 2 2; param c 2;"
     "ConvTranspose a x W b group=2 strides=2, pads=1,0, output_padding=1,; Tanh h a;"
     "ConvTranspose d h V c; Tanh y d; output y 2 13;"},
    {"transposed convolutions of one input",
     "input x 2 3 4; param W 2 2 3 2; param V 2 2 3 2; param U 2 2 1 1;"
     "ConvTranspose a x W strides=2,1; ConvTranspose d x V strides=2,1; Add e a d;"
     "Tanh f e; ConvTranspose g f U; Tanh h g; MaxPool y h kernel_shape=3,2; output y 2 5 "
     "4;"},
    {"transposed convolution used twice",
     "input x 2 5; param W 2 2 3; param b 2; ConvTranspose a x W b pads=1,1,; Tanh d a;"
     "ConvTranspose e d W b pads=1,1,; Tanh y e; output y 2 5;"},
    {"convolution and its transpose",
     "input x 2 5; param W 3 2 3; Conv a x W; Tanh d a; ConvTranspose e d W; Tanh y e;"
     "output y 2 5;"},
    {"attention by einsum",
     "input x 3 4; param Q 4 2 3; param K 4 2 3; param V 4 2 3; param R 2 3 5;"
     "Einsum q x Q equation=btm,mhd->bthd; Einsum k x K equation=btm,mhd->bthd;"
     "Einsum v x V equation=btm,mhd->bthd; Einsum s q k equation=bqhd,bkhd->bhqk;"
     "Softmax a s axis=3; Einsum w a v equation=bhqk,bkhd->bqhd;"
     "Einsum y w R equation=bqhd,hdm->bqm; output y 3 5;"},
    {"einsum by groups, transposed and of three",
     "input x 3 4; param W 3 4 5; param V 2 5; param U 6 3 2; Einsum a x W "
     "equation=bnd,ndk->bnk; Tanh h a; Einsum c h V equation=...k,jk->...j; Tanh d c;"
     "Einsum y d U d equation=bnj,onj,bnj->bo; output y 6;"},
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
     "MatMul e d R; Tanh y e; output y 3 2;"},
    {"a table", "tokens x 6 11; param W 11 5; param V 5 3; Gather e W x; Tanh t e;"
                "ReduceMean m t axes=1 keepdims=0; MatMul y m V; output y 3;"},
    {"a table at the outputs", "tokens x 3 4; param W 4 2; Gather y W x; output y 3 2;"},
    {"one row of a table",
     "tokens x 1 3; param W 3 5; param V 5 2; Gather e W x; Tanh t e; MatMul y t V;"
     "output y 1 2;"},
    {"rows of a long table",
     "tokens x 4 1100; param W 1100 5; Slice s x starts=0, ends=2, axes=1;"
     "Concat i x s axis=1; Gather e W i; Tanh y e; output y 6 5;"},
    {"two tables and a bias",
     "tokens x 4 7; param W 7 5; param V 9 5; param b 5; Gather e W x; Gather f V x;"
     "Add g e f; Add h g b; Tanh y h; output y 4 5;"},
    {"a table read twice",
     "tokens x 6 7; param W 7 5; param R 5 2; Slice a x starts=0, ends=2, axes=1;"
     "Slice c x starts=1, ends=6, axes=1; Gather e W a; Gather f W c; Neg g f; Tanh t e;"
     "ReduceMean m t axes=1 keepdims=0; Tanh u g; ReduceMean v u axes=1 keepdims=0;"
     "Mul w m v; MatMul y w R; output y 2;"},
    {"a table beside a weight",
     "tokens x 6 7; param W 7 5; param U 1 5; param b 5; Gather e W x;"
     "Cast c x to=1; Unsqueeze f c axes=2; MatMul g f U; Sub h e g; Add i h b; Tanh y i; "
     "output y 6 5;"},
    {"a table that is the head, too",
     "tokens x 3 7; param W 7 5; Gather e W x; Tanh t e; Transpose H W perm=1,0;"
     "MatMul y t H; output y 3 7;"},
    {"a longer table that is the head, too",
     "tokens x 3 20; param W 20 5; param b 20; Gather e W x; Tanh t e;"
     "ReduceMean m t axes=1 keepdims=0; Transpose H W perm=1,0; MatMul y m H; Add z y b;"
     "output z 20;"},
    {"a table along both axes",
     "tokens x 3 30; param W 30 30; param V 30 2; Gather e W x; Transpose T W perm=1,0;"
     "Gather f T x; Tanh t e; Tanh u f; Mul v t u; ReduceMean m v axes=1 keepdims=0;"
     "MatMul y m V; output y 2;"},
    {"tied encoder and decoder",
     "input x 6; param W 6 3; param b 3; param c 6; constant s -0.5; MatMul a x W;"
     "Add d a b; Tanh h d; Mul V W s; Transpose T V perm=1,0; MatMul e h T; Add f e c;"
     "Tanh y f; output y 6;"},
    {"tied batched weight",
     "input x 3 1 6; param W 3 6 4; MatMul a x W; Tanh h a; Transpose T W perm=0,2,1;"
     "MatMul b h T; Tanh y b; output y 3 1 6;"},
    {"tied convolutions",
     "input x 6 4; param W 5 6 3; Conv a x W; Tanh h a; ConvTranspose b h W; Tanh y b;"
     "output y 6 4;"},
    {"a table along its second axis",
     "tokens x 4 7; param W 5 7; param V 4 2; Transpose T W perm=1,0; Gather e T x;"
     "Transpose f e perm=0,2,1; Tanh t f; MatMul y t V; output y 5 2;"},
    {"slopes of channels",
     "input x 3 5; param W 4 3; param s 4 1; param V 5 2; MatMul a W x; PRelu h a s;"
     "MatMul y h V; output y 4 2;"},
    {"a choice by data",
     "input x 5; param W 5 4; param t 4; param V 4 3; constant z 0.25; MatMul a x W;"
     "Greater c a t; Add u a t; Mul v a z; Where w c u v; MatMul y w V; output y 3;"},
    {"a mask as a number",
     "input x 5; param W 5 4; param V 4 3; constant z 0.25; MatMul a x W; Less c a z;"
     "Cast m c to=1; Mul h a m; MatMul y h V; output y 3;"},
    {"a parameter that is asked for its sign only",
     "input x 5; param W 5 4; param t 4; MatMul a x W; Sign s t; Add b a s; Tanh y b;"
     "output y 4;"},
    {"the largest and the smallest of three",
     "input x 5; param W 5 4; param b 4; param V 5 4; MatMul a x W; MatMul c x V;"
     "Max m a b c; Min k c a b; Mean e m k b; Tanh y e; output y 4;"},
    {"biases in one sum",
     "input x 5; param W 5 4; param V 5 4; param b 4; param d 4; MatMul a x W;"
     "MatMul c x V; Sum e a b c d; Tanh y e; output y 4;"},
    {"reductions of a weight",
     "input x 5; param W 4 5; ReduceL2 n W axes=1,; Div V W n; Transpose T V perm=1,0;"
     "MatMul u x T; ReduceLogSumExp l W axes=1, keepdims=0; ReduceProd p W axes=1, "
     "keepdims=0; ReduceMax m W axes=1, keepdims=0; Sum e u l p m; Tanh y e; output y 4;"},
    {"reductions of data",
     "input x 3 5; param W 5 4; MatMul a x W; ReduceMin s a axes=1, keepdims=0;"
     "ReduceL1 l a axes=1, keepdims=0; ReduceSumSquare q a axes=1, keepdims=0;"
     "LpNormalization n a axis=1; Tanh t n; ReduceLogSumExp e t axes=1, keepdims=0;"
     "Sum y s l q e; output y 4;"}};
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
    if (!strchr("-0123456789", *value)) {
      succeed(ntk_writer_set_string(writer, words[i], value));
      continue;
    }
    const int64_t n = written_ints(value, values);
    if (strchr(value, ',') || strcmp(words[i], "axes") == 0)
      succeed(ntk_writer_set_ints(writer, words[i], n, values));
    else
      succeed(ntk_writer_set_int(writer, words[i], values[0]));
  }
}

/* *rows: of the table that tokens are looked up in. */
static inline void written_statement(ntk_writer *writer, char *words[], int count,
                                     int64_t *rows) {
  ntk_shape shape = written_shape(words + 2, count - 2);
  float *elements;
  if (strcmp(words[0], "input") == 0) {
    succeed(ntk_writer_add_input(writer, words[1], &shape, NTK_F32));
  } else if (strcmp(words[0], "tokens") == 0) {
    *rows = shape.dim[--shape.ndim];
    succeed(ntk_writer_add_input(writer, words[1], &shape, NTK_I64));
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
  int64_t rows = 0;
  assert_true(strlen(network->text) < sizeof text);
  strcpy(text, network->text);
  succeed(ntk_writer_create("network", &writer));
  while ((statement = strtok_r(rest, ";", &rest))) {
    char *words[16], *word;
    int count = 0;
    while ((word = strtok_r(statement, " ", &statement)))
      words[count++] = word;
    written_statement(writer, words, count, &rows);
  }
  succeed(ntk_writer_save(writer, temporary_path(path)));
  ntk_writer_destroy(&writer);
  subject s = subject_from_file(context, network->name, path, NULL, n1, n2);
  s.indices = rows > 0;
  for (int side = 0; side < 2 && s.indices; side++)
    for (int64_t i = 0; i < s.count[side] * s.size; i++)
      s.samples[side][i] = floor(s.samples[side][i] * (double)rows);
  return s;
}

#endif
