/* SPDX-License-Identifier: Apache-2.0 */
#include "onnx/generate.h"

#include "base/context.h"
#include "base/text.h"
#include "onnx/families.h"
#include <inttypes.h>
#include <scantk/model.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* "3x32x32" */
static ntk_status parse_shape(const char *text, ntk_shape *out) {
  ntk_shape shape = {0};
  const char *at = text;
  for (;;) {
    char *end = NULL;
    const long long size = strtoll(at, &end, 10);
    if (*at < '0' || *at > '9' || size < 1 || size > 1 << 30 || shape.ndim == 3 ||
        (*end != 'x' && *end != '\0'))
      return ntk_fail(NTK_ERR_ARGUMENT,
                      "--input %s: expected one to three sizes, as in 784 or 3x32x32",
                      text);
    shape.dim[shape.ndim++] = size;
    if (*end == '\0')
      break;
    at = end + 1;
  }
  *out = shape;
  return NTK_SUCCESS;
}

/* An integer option of the families that have it; refused for the others. */
static ntk_status size_option(const ntk_options *options, const ntk_family *family,
                              const char *name, unsigned has, int64_t otherwise,
                              int64_t *out) {
  const bool given = ntk_options_given(options, name);
  if (given && !(family->has & has))
    return ntk_fail(NTK_ERR_ARGUMENT, "--%s: %s has no such option", name, family->name);
  *out = given ? ntk_options_int(options, name) : otherwise;
  return NTK_SUCCESS;
}

/* The same of one with choices: is it `choice`? */
static ntk_status choice_option(const ntk_options *options, const ntk_family *family,
                                const char *name, unsigned has, const char *choice,
                                bool *out) {
  if (ntk_options_given(options, name) && !(family->has & has))
    return ntk_fail(NTK_ERR_ARGUMENT, "--%s: %s has no such option", name, family->name);
  *out = strcmp(ntk_options_string(options, name), choice) == 0;
  return NTK_SUCCESS;
}

static ntk_status read_sizes(const ntk_options *o, const ntk_family *family, ntk_build *b) {
  ntk_status status;
  NTK_TRY(size_option(o, family, "width", NTK_HAS_WIDTH, family->width, &b->width));
  NTK_TRY(size_option(o, family, "depth", NTK_HAS_DEPTH, family->depth, &b->depth));
  NTK_TRY(size_option(o, family, "patch", NTK_HAS_PATCH, 4, &b->patch));
  NTK_TRY(size_option(o, family, "heads", NTK_HAS_HEADS, b->width < 64 ? 1 : b->width / 64,
                      &b->heads));
  NTK_TRY(size_option(o, family, "vocabulary", NTK_HAS_TOKENS, 256, &b->vocabulary));
  NTK_TRY(choice_option(o, family, "norm", NTK_HAS_NORM, "batch", &b->batch_norm));
  NTK_TRY(choice_option(o, family, "stem", NTK_HAS_STEM, "imagenet", &b->imagenet_stem));
  NTK_TRY(choice_option(o, family, "head", NTK_HAS_TOKENS, "tied", &b->tied_head));
  b->outputs = family->has & NTK_HAS_TOKENS ? b->vocabulary : 10;
  if (ntk_options_given(o, "outputs"))
    b->outputs = ntk_options_int(o, "outputs");
  NTK_REQUIRE(!b->tied_head || b->outputs == b->vocabulary, NTK_ERR_ARGUMENT,
              "--outputs: a tied head has those of --vocabulary");
  const bool given = ntk_options_given(o, "input");
  NTK_TRY(parse_shape(given ? ntk_options_string(o, "input") : family->input, &b->shape));
done:
  return status;
}

static ntk_status read_activation(const ntk_options *options, const ntk_family *family,
                                  ntk_build *b) {
  const bool given = ntk_options_given(options, "activation");
  if (given && !(family->has & NTK_HAS_ACTIVATION))
    return ntk_fail(NTK_ERR_ARGUMENT, "--activation: %s has no such option", family->name);
  b->activation = given ? ntk_options_string(options, "activation") : family->activation;
  return NTK_SUCCESS;
}

static ntk_status read_scheme(const ntk_options *options, const ntk_family *family,
                              ntk_build *b) {
  ntk_status status = NTK_SUCCESS;
  const char *name = ntk_options_string(options, "parameterization");
  b->scheme = strcmp(name, "ntk") == 0   ? NTK_NEURAL_TANGENT
              : strcmp(name, "mup") == 0 ? NTK_MAXIMAL_UPDATE
                                         : NTK_STANDARD;
  NTK_REQUIRE(b->scheme != NTK_MAXIMAL_UPDATE || family->has & NTK_HAS_WIDTH,
              NTK_ERR_ARGUMENT, "--parameterization mup: %s has no width", family->name);
  NTK_REQUIRE(b->scheme == NTK_NEURAL_TANGENT || !ntk_options_given(options, "bias-scale"),
              NTK_ERR_ARGUMENT,
              "--bias-scale needs --parameterization ntk: biases of the others are 0");
  b->bias_scale = ntk_options_real(options, "bias-scale");
  b->variance = strcmp(b->activation, "relu") == 0 ? 2 : 1;
  if (ntk_options_given(options, "weight-variance"))
    b->variance = ntk_options_real(options, "weight-variance");
done:
  return status;
}

ntk_status ntk_family_build(const char *family_name, const ntk_options *options,
                            int64_t member, ntk_writer *writer) {
  ntk_status status = NTK_SUCCESS;
  const ntk_family *family = ntk_family_find(family_name);
  ntk_build b = {.writer = writer, .family = family, .at = "input"};
  if (!family)
    return ntk_family_unknown(family_name);
  b.seed = (uint64_t)(ntk_options_int(options, "seed") + member);
  NTK_TRY(read_sizes(options, family, &b));
  NTK_TRY(read_activation(options, family, &b));
  NTK_TRY(read_scheme(options, family, &b));
  NTK_TRY(ntk_writer_add_input(writer, b.at, &b.shape,
                               family->has & NTK_HAS_TOKENS ? NTK_I64 : NTK_F32));
  NTK_TRY(family->build(&b));
  NTK_TRY(ntk_writer_add_output(writer, b.at, &b.shape));
done:
  return status;
}

static ntk_status refuse_existing(const char *path) {
  if (access(path, F_OK) != 0)
    return NTK_SUCCESS;
  return ntk_fail(NTK_ERR_EXISTS, "%s exists; remove it or choose another --output", path);
}

static ntk_status build_and_save(const char *family_name, const ntk_options *options,
                                 int64_t member, const char *path) {
  ntk_status status;
  ntk_writer *writer = NULL;
  NTK_TRY(ntk_writer_create(family_name, &writer));
  NTK_TRY(ntk_family_build(family_name, options, member, writer));
  NTK_TRY(ntk_writer_save(writer, path));
done:
  ntk_writer_destroy(&writer);
  return status;
}

/* a/b.onnx: a/b-7.onnx */
static ntk_status member_path(const char *path, int64_t member, ntk_text *out) {
  const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
  const char *dot = strrchr(base, '.');
  const size_t stem = dot && dot != base ? (size_t)(dot - path) : strlen(path);
  ntk_text_clear(out);
  return ntk_text_add(out, "%.*s-%" PRId64 "%s", (int)stem, path, member, path + stem);
}

/* Looks at all paths, then writes: a refusal leaves nothing behind. */
static ntk_status save_ensemble(ntk_context *context, const char *family_name,
                                const ntk_options *options, const char *path) {
  ntk_status status = NTK_SUCCESS;
  ntk_text name = {0};
  const int64_t count = ntk_options_int(options, "ensemble");
  for (int64_t i = 0; i < count; ++i) {
    NTK_TRY(member_path(path, i, &name));
    NTK_TRY(refuse_existing(name.data));
  }
  for (int64_t i = 0; i < count; ++i) {
    NTK_TRY(member_path(path, i, &name));
    NTK_TRY(build_and_save(family_name, options, i, name.data));
    ntk_say(context, NTK_REPORT_RESULT, "%s  %s, seed %" PRId64, name.data, family_name,
            ntk_options_int(options, "seed") + i);
  }
done:
  ntk_text_clear(&name);
  return status;
}

static ntk_status save(ntk_context *context, const char *family_name,
                       const ntk_options *options, const char *path) {
  ntk_status status;
  if (ntk_options_given(options, "ensemble"))
    return save_ensemble(context, family_name, options, path);
  NTK_TRY(refuse_existing(path));
  NTK_TRY(build_and_save(family_name, options, 0, path));
done:
  return status;
}

ntk_status ntk_model_generate(ntk_context *context, const char *family_name,
                              const char *options, const char *path) {
  ntk_status status;
  ntk_options *parsed = NULL;
  NTK_TRY(ntk_agree(context->comm,
                    ntk_options_parse_text(ntk_option_table("family"), options, &parsed)));
  const bool writes = context->rank == 0;
  NTK_TRY(ntk_agree(context->comm,
                    writes ? save(context, family_name, parsed, path) : NTK_SUCCESS));
done:
  ntk_options_destroy(&parsed);
  return status;
}
