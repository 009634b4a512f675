"""Adds up the JUnit reports of several test runs into one last line.

Called by script/test with pairs of arguments: a runner's exit status, and
the report that it wrote. Exits with 1 if anything failed.
"""

import re
import sys


def count(path):
    """Return (tests, failed, skipped) of a report; zeros if there is none.

    Only the opening tags of the suites are read: a report with a control
    character in some test's output is not well-formed, yet counts.
    """
    try:
        with open(path, encoding="utf-8", errors="replace") as report:
            suites = re.findall(r"<testsuite\s[^>]*>", report.read())
    except FileNotFoundError:
        suites = []

    def total(name):
        found = (re.search(rf'\s{name}="(\d+)"', suite) for suite in suites)
        return sum(int(match[1]) for match in found if match)

    return total("tests"), total("failures") + total("errors"), total("skipped")


def main(arguments):
    passed = failed = skipped = 0
    for status, path in zip(arguments[::2], arguments[1::2]):
        tests, bad, passed_over = count(path)
        # A test that failed may count again for what it left behind.
        passed += max(0, tests - bad - passed_over)
        # A runner can fail without a failed test: a program that died after
        # its last test, a mistyped option, or no test at all.
        failed += max(bad, status != "0")
        skipped += passed_over
    line = f"{passed} passed, {failed} failed"
    print(line + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
