/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SCANTK_STATUS_H
#define SCANTK_STATUS_H

/* Outcomes of every call. One list makes the enumeration, the texts and the exit codes:
 * X(name, exit code of the program, text). */
#define NTK_STATUS_LIST(X)                                                                 \
  X(NTK_SUCCESS, 0, "success")                                                             \
  X(NTK_ERR_ARGUMENT, 2, "invalid option or argument")                                     \
  X(NTK_ERR_SHAPE, 2, "shapes do not fit")                                                 \
  X(NTK_ERR_NO_PARAMETERS, 2, "model without parameters")                                  \
  X(NTK_ERR_FILE, 1, "file cannot be read or written")                                     \
  X(NTK_ERR_FORMAT, 1, "file is not in the expected format")                               \
  X(NTK_ERR_EXISTS, 1, "output exists")                                                    \
  X(NTK_ERR_UNSUPPORTED, 1, "not supported")                                               \
  X(NTK_ERR_MEMORY, 1, "not enough memory")                                                \
  X(NTK_ERR_MPI, 1, "MPI failed")                                                          \
  X(NTK_ERR_HDF5, 1, "HDF5 failed")                                                        \
  X(NTK_ERR_INTERNAL, 1, "internal error")                                                 \
  X(NTK_ERR_NONFINITE, 3, "not a finite number")                                           \
  X(NTK_ERR_NUMERICAL, 3, "numerical failure")                                             \
  X(NTK_STOPPED, 75, "stopped on request, resumable")

typedef enum ntk_status {
#define NTK_STATUS_ENUM(name, code, text) name,
  NTK_STATUS_LIST(NTK_STATUS_ENUM)
#undef NTK_STATUS_ENUM
} ntk_status;

#if defined(__GNUC__)
#define NTK_API __attribute__((visibility("default")))
#define NTK_CHECKED __attribute__((warn_unused_result))
#else
#define NTK_API
#define NTK_CHECKED
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Short text of a status; never NULL. Local. */
NTK_API const char *ntk_status_text(ntk_status status);

/* Exit code that the program uses for a status (interface: 0, 1, 2, 3, 75). Local. */
NTK_API int ntk_status_exit_code(ntk_status status);

#ifdef __cplusplus
}
#endif
#endif
