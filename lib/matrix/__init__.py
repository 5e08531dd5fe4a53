# SPDX-License-Identifier: GPL-2.0
"""HTTP/3 servers and clients in pairs, with the kernel's help: see __main__.py"""
