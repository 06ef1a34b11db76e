/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SCANTK_H
#define SCANTK_H

#include <scantk/apply.h>
#include <scantk/context.h>
#include <scantk/data.h>
#include <scantk/dtype.h>
#include <scantk/kernel.h>

#include <scantk/features.h>
#include <scantk/limit.h>
#include <scantk/matrix_free.h>
#include <scantk/model.h>
#include <scantk/options.h>
#include <scantk/plan.h>
#include <scantk/selftest.h>
#include <scantk/solve.h>
#include <scantk/spectrum.h>
#include <scantk/status.h>
#include <scantk/version.h>

#endif
