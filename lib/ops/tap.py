# SPDX-License-Identifier: GPL-2.0
"""Run tests, each a function, and print what became of them as TAP"""


def run_tests(tests, *args):
    """whether a test has failed; one that returns a reason was skipped"""
    failed = 0
    print(f"TAP version 13\n1..{len(tests)}")
    for n, test in enumerate(tests, 1):
        name = test.__name__
        try:
            skip = test(*args)
            print(f"ok {n} {name}" + (f" # SKIP {skip}" if skip else ""))
        except Exception as exc:    # pylint: disable=broad-except
            print(f"# {type(exc).__name__}: {exc}\nnot ok {n} {name}")
            failed += 1
    return failed > 0
