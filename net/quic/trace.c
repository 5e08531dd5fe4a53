// SPDX-License-Identifier: GPL-2.0
/*
 * QUIC packet protection: tracepoints
 */

#include <linux/module.h>

#ifndef __CHECKER__
#define CREATE_TRACE_POINTS
#include "trace.h"
#endif
