/* SPDX-License-Identifier: Apache-2.0 */
#include <scantk/options.h>
#include <string.h>

/* The options of each object, one row each (interface section 3). */
#define TEXT NTK_OPTION_STRING
#define NONE 0, 0

static const ntk_option context_table[] = {{.name = NULL}};

static const ntk_option family_table[] = {
    {"input", TEXT, NULL, NONE, "784|3x32x32", false,
     "shape of one sample (fcn 784, cnn and lenet5 1x28x28, resnet18 and vit 3x32x32)"},
    {"width", NTK_OPTION_INT, NULL, 1, 1 << 20, NULL, false,
     "neurons or channels of the hidden layers (fcn 512, cnn and resnet18 64, vit 192)"},
    {"depth", NTK_OPTION_INT, NULL, 0, 1024, NULL, false,
     "hidden layers (fcn and cnn 3), blocks (vit 6)"},
    {"patch", NTK_OPTION_INT, NULL, 1, 1 << 20, NULL, false, "side of a patch (vit 4)"},
    {"heads", NTK_OPTION_INT, NULL, 1, 1 << 20, NULL, false,
     "heads of the attention (vit width/64)"},
    {"outputs", NTK_OPTION_INT, "10", 1, 1 << 24, NULL, false, "outputs of the network"},
    {"activation", NTK_OPTION_CHOICE, NULL, NONE, "relu|gelu|tanh|erf|identity", false,
     "nonlinearity (default relu, vit gelu)"},
    {"parameterization", NTK_OPTION_CHOICE, "standard", NONE, "standard|ntk", false,
     "where the factor sqrt(v/fan_in) stands: in the weights or beside them"},
    {"weight-variance", NTK_OPTION_REAL, NULL, 1e-6, 1e6, NULL, false,
     "v (default 2 for relu, else 1)"},
    {"bias-scale", NTK_OPTION_REAL, "0.1", 0, 1e6, NULL, false,
     "standard deviation of what is added (biases, vit's token and positions) in ntk "
     "parameterization"},
    {"seed", NTK_OPTION_INT, "0", 0, 9e15, NULL, false, "of the random parameters"},
    {.name = NULL}};

static const ntk_option dataset_table[] = {
    {"images", TEXT, NULL, NONE, "FILE", false, "samples: IDX (.gz), CIFAR, .npy or HDF5"},
    {"labels", TEXT, NULL, NONE, "FILE", false,
     "their labels: IDX (.gz), .npy or HDF5 (default its /labels)"},
    {"range", NTK_OPTION_RANGE, NULL, NONE, NULL, false,
     "samples to take, before all else"},
    {"divide", NTK_OPTION_REAL, NULL, 1e-300, 1e300, NULL, false, "divide values by this"},
    {"scale", NTK_OPTION_REAL, NULL, 1e-300, 1e300, NULL, false, "the same as --divide"},
    {"normalize", TEXT, NULL, NONE, "m1,m2,m3/s1,s2,s3", false,
     "subtract means and divide by deviations, per channel"},
    {"transpose", TEXT, NULL, NONE, "2,0,1", false, "permute the axes of a sample"},
    {"flatten", NTK_OPTION_FLAG, NULL, NONE, NULL, false, "make samples vectors"},
    {"shuffle", NTK_OPTION_INT, NULL, 0, 9e15, "SEED", false, "order of the samples"},
    {"per-class", NTK_OPTION_INT, NULL, 1, 9e15, "K", false,
     "the first K samples of each class"},
    {"classes", TEXT, NULL, NONE, "a,b", false, "only these labels, renumbered 0, 1, ..."},
    {.name = NULL}};

static const ntk_option model_table[] = {
    {"param", TEXT, NULL, NONE, "GLOB", true,
     "tensors that are parameters in spite of doubt"},
    {"freeze", TEXT, NULL, NONE, "GLOB", true, "parameters to leave out of the kernel"},
    {"only", TEXT, NULL, NONE, "GLOB", true, "parameters to keep, all others frozen"},
    {"tied", TEXT, NULL, NONE, "NAME", true,
     "this tensor is meant to be used several times"},
    {"parameters-from-constants", NTK_OPTION_FLAG, NULL, NONE, NULL, false,
     "Constant nodes are parameters too"},
    {"batch-axis", TEXT, NULL, NONE, "NAME|index|none", false,
     "axis of the inputs that counts samples (default the first)"},
    {"shape", TEXT, NULL, NONE, "NAME=n", true, "size of a symbolic axis"},
    {.name = NULL}};

static const ntk_option data_table[] = {
    {"range", NTK_OPTION_RANGE, NULL, NONE, NULL, false, "samples of --inputs to use"},
    {.name = NULL}};

static const ntk_option plan_table[] = {
    {"algorithm", NTK_OPTION_CHOICE, "auto", NONE, "auto|jacobian|ntvp|structured", false,
     "how the kernel is computed"},
    {"reduce", NTK_OPTION_CHOICE, "none", NONE, "none|trace|diagonal|pseudo", false,
     "over the outputs: the full kernel or less"},
    {"trace-scale", NTK_OPTION_CHOICE, "mean", NONE, "mean|sum", false,
     "a trace is the mean or the sum over outputs"},
    {"dtype", NTK_OPTION_CHOICE, "f32", NONE, "f32|f64", false,
     "type of computation and file"},
    {"select-outputs", TEXT, NULL, NONE, "0,3,10:20", false, "only these outputs"},
    {"cotangents", TEXT, NULL, NONE, "FILE[:/path]", false,
     "the kernel of C f: C is [O', O], or [N, O', O] with one for each sample of the rows; "
     "reductions are over O', --select-outputs cannot be given beside it"},
    {"cotangents2", TEXT, NULL, NONE, "FILE[:/path]", false,
     "C of the columns (default that of the rows, where they are the same samples or C is "
     "[O', O])"},
    {"grid", TEXT, NULL, NONE, "PRxPC", false, "process grid (default by the ranks)"},
    {"block", TEXT, NULL, NONE, "B[xQ]", false,
     "samples and outputs of a row block (default by size and cost)"},
    {"memory", NTK_OPTION_BYTES, NULL, NONE, NULL, false,
     "cap of a rank (default 4/5 of what is free or allowed, shared by the node's ranks)"},
    {"plan", TEXT, NULL, NONE, "FILE", false, "numerical plan of a file or a kernel file"},
    {"write-plan", TEXT, NULL, NONE, "FILE", false, "where to write the numerical plan"},
    {"rates", TEXT, NULL, NONE, "FILE", false,
     "rates of the machine to plan with (default those of the cache, else measured)"},
    {"recalibrate", NTK_OPTION_FLAG, NULL, NONE, NULL, false, "measure the rates anew"},
    {"explain", NTK_OPTION_FLAG, NULL, NONE, NULL, false,
     "print each use with its order, predicted and measured"},
    {.name = NULL}};

static const ntk_option output_table[] = {{.name = NULL}};

static const ntk_option forward_table[] = {{"dtype", NTK_OPTION_CHOICE, "f32", NONE,
                                            "f32|f64", false,
                                            "type of computation and file"},
                                           {.name = NULL}};

static const ntk_option describe_table[] = {
    {"json", NTK_OPTION_FLAG, NULL, NONE, NULL, false, "print JSON"}, {.name = NULL}};

const ntk_option *ntk_option_table(const char *object) {
  static const struct {
    const char *object;
    const ntk_option *table;
  } tables[] = {
      {"context", context_table}, {"family", family_table},   {"dataset", dataset_table},
      {"model", model_table},     {"data", data_table},       {"plan", plan_table},
      {"output", output_table},   {"forward", forward_table}, {"describe", describe_table}};
  for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
    if (strcmp(tables[i].object, object) == 0)
      return tables[i].table;
  return NULL;
}
