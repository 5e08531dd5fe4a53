// SPDX-License-Identifier: GPL-2.0
/*
 * QUIC packet protection: tracepoints
 */

#include <linux/module.h>

/* sparse warns about what the macros of tracepoints expand to */
#ifndef __CHECKER__
#define CREATE_TRACE_POINTS
#include "trace.h"
#endif
