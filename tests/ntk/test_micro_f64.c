/* SPDX-License-Identifier: Apache-2.0 */
#define NTK_DOUBLE 1
#include "ntk/micro_cases.h"
