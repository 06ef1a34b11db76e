/* SPDX-License-Identifier: Apache-2.0 */
#include <scantk/options.h>
#include <string.h>

/* The options of each object, one row each (interface section 3). */
#define TEXT NTK_OPTION_STRING
#define NONE 0, 0

static const ntk_option context_table[] = {
    {"sharers", NTK_OPTION_INT, NULL, 1, 1 << 16, "R", false,
     "ranks that share the memory of the node (default those of the context there)"},
    {.name = NULL}};

static const ntk_option family_table[] = {
    {"input", TEXT, NULL, NONE, "784|3x32x32", false,
     "shape of one sample (default by family)"},
    {"width", NTK_OPTION_INT, NULL, 1, 1 << 20, NULL, false,
     "neurons or channels of the hidden layers, from which those of deeper stages follow "
     "(default by family)"},
    {"depth", NTK_OPTION_INT, NULL, 0, 1024, NULL, false,
     "hidden layers or blocks (default by family)"},
    {"patch", NTK_OPTION_INT, NULL, 1, 1 << 20, NULL, false,
     "side of a patch of vit and mixer (default 4)"},
    {"heads", NTK_OPTION_INT, NULL, 1, 1 << 20, NULL, false,
     "heads of the attention (default width/64)"},
    {"vocabulary", NTK_OPTION_INT, NULL, 1, 1 << 24, NULL, false,
     "tokens that gpt knows (default 256)"},
    {"head", NTK_OPTION_CHOICE, "untied", NONE, "untied|tied", false,
     "output layer of gpt: of its own, or the embedding"},
    {"stem", NTK_OPTION_CHOICE, "cifar", NONE, "cifar|imagenet", false,
     "first layer of resnets (3x3; or 7x7 with stride 2 and a max-pool) and of mobilenet "
     "(stride 1; or 2)"},
    {"norm", NTK_OPTION_CHOICE, "none", NONE, "none|batch", false,
     "batch: BatchNormalization behind convolutions, with mean 0 and variance 1"},
    {"outputs", NTK_OPTION_INT, NULL, 1, 1 << 24, NULL, false,
     "outputs of the network (default 10, gpt its vocabulary)"},
    {"activation", NTK_OPTION_CHOICE, NULL, NONE, "relu|gelu|tanh|erf|identity", false,
     "nonlinearity (default by family)"},
    {"parameterization", NTK_OPTION_CHOICE, "standard", NONE, "standard|ntk|mup", false,
     "where the factor sqrt(v/fan_in) stands: in the weights, beside them, or as in "
     "maximal "
     "update (Yang and Hu 2021)"},
    {"weight-variance", NTK_OPTION_REAL, NULL, 1e-6, 1e6, NULL, false,
     "v (default 2 for relu, else 1)"},
    {"bias-scale", NTK_OPTION_REAL, "0.1", 0, 1e6, NULL, false,
     "standard deviation of what is added (biases, tokens, positions) in ntk "
     "parameterization"},
    {"ensemble", NTK_OPTION_INT, NULL, 1, 1 << 20, "K", false,
     "write K networks with the seeds seed, seed + 1, ... as FILE with -0, -1, ..."},
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
    {"parameters", TEXT, NULL, NONE, "FILE", false,
     "npz, HDF5 or safetensors: values of the parameters, by name, in place of the "
     "model's"},
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
    {"output-name", TEXT, NULL, NONE, "NAME", false,
     "the output to take of a model that has several (default all, one after the other)"},
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
    {"group", TEXT, NULL, NONE, "NAME=GLOB[,GLOB]", true,
     "the kernel of these parameters alone beside the whole, in /groups/NAME/kernel"},
    {"grid", TEXT, NULL, NONE, "PRxPC[xPD]", false,
     "process grid: rows, columns, depth of the parameters (default by predicted time)"},
    {"columns", NTK_OPTION_CHOICE, "auto", NONE, "auto|send|recompute", false,
     "factors of column blocks are sent along the grid, or swept by each rank that needs "
     "them"},
    {"passes", NTK_OPTION_INT, NULL, 1, 1 << 16, "P", false,
     "over groups of parameters: a panel of rows is swept as often, and its tiles stay in "
     "memory (default where memory is short and it is predicted to take less time)"},
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

static const ntk_option machine_table[] = {
    {"ranks", NTK_OPTION_INT, NULL, 1, 1 << 24, "R", false,
     "plan for so many ranks (default those of this run)"},
    {"ranks-per-node", NTK_OPTION_INT, NULL, 1, 1 << 16, "R", false,
     "of them on a node (default as many as here)"},
    {"network", NTK_OPTION_REAL, NULL, 1e-6, 1e6, "GB/s", false,
     "into a node (default 10 between nodes)"},
    {"gemm", NTK_OPTION_REAL, NULL, 1e-3, 1e9, "GFLOP/s", false,
     "of a rank in large products of --dtype (default as measured here)"},
    {"disk", NTK_OPTION_REAL, NULL, 1e-6, 1e9, "GB/s", false,
     "of the file system, all ranks together (default: no limit)"},
    {.name = NULL}};

static const ntk_option output_table[] = {
    {"store", NTK_OPTION_CHOICE, "full", NONE, "full|half", false,
     "half: of a symmetric kernel each pair of tiles once, in /half, in half the space"},
    {"reserve", NTK_OPTION_FLAG, NULL, NONE, NULL, false,
     "take the whole space of the file before any work"},
    {"io-hint", TEXT, NULL, NONE, "NAME=VALUE", true,
     "a hint for MPI-IO, such as striping_factor=16"},
    {"resume", NTK_OPTION_FLAG, NULL, NONE, NULL, false,
     "go on in the file that an earlier run has left, if there is one"},
    {.name = NULL}};

static const ntk_option forward_table[] = {{"dtype", NTK_OPTION_CHOICE, "f32", NONE,
                                            "f32|f64", false,
                                            "type of computation and file"},
                                           {.name = NULL}};

#define EIGENSOLVER(method)                                                                \
  {                                                                                        \
    "eigensolver", NTK_OPTION_CHOICE, "auto", NONE, "auto|elpa|scalapack", false,          \
        "library of --method " method " (auto: ELPA for vectors, where the build has it)"  \
  }

static const ntk_option solve_table[] = {
    {"kernel", TEXT, NULL, NONE, "FILE", false,
     "the kernel of the training samples with themselves"},
    {"labels", TEXT, NULL, NONE, "FILE[:/path]", false,
     "class numbers [N], or targets [N, O] (default those in the kernel's file)"},
    {"test-kernel", TEXT, NULL, NONE, "FILE", false,
     "a kernel of other samples with the training samples: predict these, too"},
    {"test-labels", TEXT, NULL, NONE, "FILE[:/path]", false,
     "their labels (default those in the test kernel's file, if there are such)"},
    {"ridge", TEXT, "0", NONE, "R,R,...", false,
     "added to the diagonal, in units of its mean"},
    {"ridge-scale", NTK_OPTION_CHOICE, "relative", NONE, "relative|absolute", false,
     "absolute: --ridge is added as it is"},
    {"time", TEXT, NULL, NONE, "T,T,...,inf", false,
     "predictions after training so long by gradient flow"},
    {"learning-rate", NTK_OPTION_REAL, "1", 1e-300, 1e300, NULL, false,
     "of the flow on the mean over samples and outputs of (f - y)^2 / 2"},
    {"center", TEXT, "auto", NONE, "auto|zero|FILE", false,
     "outputs of the network at the start: those in the kernel's file, none, or those of a "
     "file of `scantk forward`"},
    {"test-center", TEXT, NULL, NONE, "FILE", false,
     "the same of the test samples (default those in the test kernel's file; none with "
     "--center zero)"},
    {"method", NTK_OPTION_CHOICE, "auto", NONE, "auto|cholesky|eigen|cg|matrix-free", false,
     "auto: eigen for training times or 20 ridges and more, else cholesky"},
    EIGENSOLVER("eigen"),
    {"tolerance", NTK_OPTION_REAL, "1e-10", 1e-16, 1, NULL, false,
     "of cg: residual by right-hand side"},
    {"iterations", NTK_OPTION_INT, "10000", 1, 1000000000, NULL, false, "of cg, at most"},
    {"nb", NTK_OPTION_INT, NULL, 1, 4096, NULL, false,
     "block of ScaLAPACK's layout (default 64; of cholesky on several ranks up to 256)"},
    {"memory", NTK_OPTION_BYTES, NULL, NONE, NULL, false,
     "cap of a rank (default 4/5 of what is free or allowed, shared by the node's ranks)"},
    {.name = NULL}};

static const ntk_option features_table[] = {
    {"dim", NTK_OPTION_INT, NULL, 1, 1 << 24, "K", false,
     "numbers that a gradient is projected to"},
    {"seed", NTK_OPTION_INT, "0", 0, 9e15, NULL, false, "of the projection"},
    {"kind", NTK_OPTION_CHOICE, "rademacher", NONE, "rademacher|gaussian", false,
     "entries of the projection: signs, or normal numbers (slower)"},
    {"reduce", NTK_OPTION_CHOICE, "none", NONE, "none|pseudo", false,
     "features of each output, or of their sum by the root of their number"},
    {"dtype", NTK_OPTION_CHOICE, "f32", NONE, "f32|f64", false,
     "type of computation and file"},
    {"select-outputs", TEXT, NULL, NONE, "0,3,10:20", false, "only these outputs"},
    {"cotangents", TEXT, NULL, NONE, "FILE[:/path]", false,
     "the features of C f: C is [O', O], or [N, O', O] with one for each sample"},
    {"resume", NTK_OPTION_FLAG, NULL, NONE, NULL, false,
     "go on in the file that an earlier run has left, if there is one"},
    {"memory", NTK_OPTION_BYTES, NULL, NONE, NULL, false,
     "cap of a rank (default 4/5 of what is free or allowed, shared by the node's ranks)"},
    {.name = NULL}};

/* What both take that apply a kernel without forming it. */
#define APPLIED                                                                            \
  {"dtype",                                                                                \
   NTK_OPTION_CHOICE,                                                                      \
   "f64",                                                                                  \
   NONE,                                                                                   \
   "f32|f64",                                                                              \
   false,                                                                                  \
   "type of the sweeps; sums and files are f64"},                                          \
      {"select-outputs", TEXT, NULL, NONE, "0,3,10:20", false, "only these outputs"},      \
      {"memory",                                                                           \
       NTK_OPTION_BYTES,                                                                   \
       NULL,                                                                               \
       NONE,                                                                               \
       NULL,                                                                               \
       false,                                                                              \
       "cap of a rank (default 4/5 of what is free or allowed, shared by the node's "      \
       "ranks)"},                                                                          \
  {                                                                                        \
    "test-labels", TEXT, NULL, NONE, "FILE[:/path]", false,                                \
        "labels of the test samples (default /labels beside them)"                         \
  }

static const ntk_option matrix_free_table[] = {
    APPLIED,
    {"reduce", NTK_OPTION_CHOICE, "none", NONE, "none|trace|diagonal|pseudo", false,
     "the kernel of all outputs; or the mean of theirs, or that of their sum, which stand "
     "for K x I_O; or (diagonal) each output's by itself"},
    {"labels", TEXT, NULL, NONE, "FILE[:/path]", false,
     "class numbers, or real targets [N, O] (default /labels beside the inputs)"},
    {"ridge", TEXT, "1e-6", NONE, "R,R,...", false,
     "added to the kernel's diagonal, times its mean; several are solved side by side"},
    {"ridge-scale", NTK_OPTION_CHOICE, "relative", NONE, "relative|absolute", false,
     "ridges are times the mean diagonal, or as they are"},
    {"center", TEXT, "auto", NONE, "auto|zero|FILE", false,
     "what the labels are taken relative to: the network's outputs, nothing, or the "
     "outputs "
     "in a file of `scantk forward`"},
    {"test-center", TEXT, NULL, NONE, "FILE", false,
     "the same of the test samples (default the network's outputs; none with --center "
     "zero)"},
    {"tolerance", NTK_OPTION_REAL, "1e-8", 1e-15, 0.5, NULL, false,
     "of the residual, relative to the labels less the center"},
    {"iterations", NTK_OPTION_INT, "1000", 1, 1000000000, NULL, false,
     "an error if more are needed"},
    {"landmarks", NTK_OPTION_INT, NULL, 0, 1000000000, NULL, false,
     "training samples of the preconditioner, 0: none (default as many as make about a "
     "thousand columns)"},
    {"seed", NTK_OPTION_INT, "0", 0, 9e15, NULL, false, "of the choice of landmarks"},
    {"checkpoint", NTK_OPTION_REAL, "600", 1, 1e9, "SECONDS", false,
     "how often OUTPUT.state is written"},
    {"resume", NTK_OPTION_FLAG, NULL, NONE, NULL, false,
     "go on from OUTPUT.state, if there is one"},
    {.name = NULL}};

static const ntk_option linearize_table[] = {
    APPLIED,
    {"reduce", NTK_OPTION_CHOICE, "none", NONE, "none|pseudo", false,
     "as it is of the solution: all outputs, or their sum, which stands for K x I_O"},
    {"center", NTK_OPTION_CHOICE, NULL, NONE, "outputs|zero", false,
     "add the network's outputs, or not (default as the solution says, else outputs)"},
    {.name = NULL}};

static const ntk_option features_solve_table[] = {
    {"labels", TEXT, NULL, NONE, "FILE[:/path]", false,
     "class numbers or targets [N, O] (default those of the features' file)"},
    {"test-features", TEXT, NULL, NONE, "FILE", false,
     "features of other samples, made with the same model, options and seed"},
    {"test-labels", TEXT, NULL, NONE, "FILE[:/path]", false,
     "their labels (default those of their file)"},
    {"ridge", TEXT, "1e-6", NONE, "r1,r2,...", false,
     "what is added to the diagonal, one solution for each"},
    {"ridge-scale", NTK_OPTION_CHOICE, "relative", NONE, "relative|absolute", false,
     "absolute: --ridge is added as it is; else in units of the kernel's mean diagonal"},
    {"center", NTK_OPTION_CHOICE, "auto", NONE, "auto|zero", false,
     "what is regressed: labels less the network's outputs (auto), or labels"},
    {.name = NULL}};

static const ntk_option describe_table[] = {
    {"json", NTK_OPTION_FLAG, NULL, NONE, NULL, false, "print JSON"}, {.name = NULL}};

static const ntk_option verify_table[] = {
    {"samples", NTK_OPTION_INT, "20", 1, 1 << 20, NULL, false,
     "rows and columns, picked at random, whose entries are computed again with --model"},
    {"seed", NTK_OPTION_INT, "0", 0, 9e15, NULL, false, "of what is picked"},
    {"cotangents", TEXT, NULL, NONE, "FILE[:/path]", false,
     "[O', O] or [N, O', O], which the kernel was made with"},
    {"cotangents2", TEXT, NULL, NONE, "FILE[:/path]", false,
     "the same of the columns, where the kernel was made with such"},
    {.name = NULL}};

static const ntk_option group_table[] = {{"group", TEXT, NULL, NONE, "NAME", false,
                                          "the kernel of this group of parameters in the "
                                          "file (default: the whole; verify: all)"},
                                         {.name = NULL}};

static const ntk_option export_table[] = {
    {"layout", NTK_OPTION_CHOICE, "nomp", NONE, "nomp|nmop|matrix", false,
     "order of the axes: sample, output, sample, output; both samples first; or the matrix "
     "over (sample, output)"},
    {"format", NTK_OPTION_CHOICE, "npy", NONE, "npy|h5", false, "of the file to write"},
    {.name = NULL}};

static const ntk_option compare_table[] = {{"spectra", NTK_OPTION_INT, NULL, 1, 1 << 20,
                                            "K", false,
                                            "compare the K largest eigenvalues, too"},
                                           {.name = NULL}};

static const ntk_option spectrum_table[] = {
    {"count", NTK_OPTION_INT, NULL, 1, 1 << 30, "K", false,
     "only so many eigenvalues (default all)"},
    {"which", NTK_OPTION_CHOICE, NULL, NONE, "largest|smallest|both", false,
     "those of --count (default largest)"},
    {"vectors", NTK_OPTION_FLAG, NULL, NONE, NULL, false, "write eigenvectors, too"},
    {"method", NTK_OPTION_CHOICE, "auto", NONE, "auto|dense|lanczos", false,
     "dense: ScaLAPACK or ELPA; lanczos: for a few of the largest"},
    EIGENSOLVER("dense"),
    {"nb", NTK_OPTION_INT, "64", 1, 4096, NULL, false, "block of ScaLAPACK's layout"},
    {"memory", NTK_OPTION_BYTES, NULL, NONE, NULL, false,
     "cap of a rank (default 4/5 of what is free or allowed, shared by the node's ranks)"},
    {.name = NULL}};

const ntk_option *ntk_option_table(const char *object) {
  static const struct {
    const char *object;
    const ntk_option *table;
  } tables[] = {{"context", context_table},     {"family", family_table},
                {"dataset", dataset_table},     {"model", model_table},
                {"data", data_table},           {"plan", plan_table},
                {"output", output_table},       {"machine", machine_table},
                {"forward", forward_table},     {"describe", describe_table},
                {"solve", solve_table},         {"matrix-free", matrix_free_table},
                {"linearize", linearize_table}, {"verify", verify_table},
                {"group", group_table},         {"export", export_table},
                {"compare", compare_table},     {"spectrum", spectrum_table},
                {"features", features_table},   {"features-solve", features_solve_table}};
  for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
    if (strcmp(tables[i].object, object) == 0)
      return tables[i].table;
  return NULL;
}
