/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SCANTK_H
#define SCANTK_H

#include <scantk/context.h>
#include <scantk/data.h>
#include <scantk/model.h>
#include <scantk/options.h>
#include <scantk/plan.h>
#include <scantk/status.h>
#include <scantk/version.h>

#endif
