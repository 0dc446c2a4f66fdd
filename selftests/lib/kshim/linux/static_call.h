/* SPDX-License-Identifier: GPL-2.0-only */
#define DECLARE_STATIC_CALL(name, func)	extern typeof(func) name
#define static_call(name)		(name)
