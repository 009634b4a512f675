"""Adds up the JUnit reports of several test runs into one last line.

Called by script/test with pairs of arguments: a runner's exit status, and
the report that it wrote. Exits with 1 if anything failed.

Where tests were skipped, the line before the last says how many of what kind.
A test tells it as "kind: details"; a unit test, whose report has no place
for that, prints the line "# not run: kind: details".
"""

import collections
import html
import re
import sys


def read(path):
    """Return the text of a report; nothing if there is none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as report:
            return report.read()
    except FileNotFoundError:
        return ""


def count(report):
    """Return (tests, failed, skipped) of a report.

    Only the opening tags of the suites are read: a report with a control
    character in some test's output is not well-formed, yet counts.
    """
    suites = re.findall(r"<testsuite\s[^>]*>", report)

    def total(name):
        found = (re.search(rf'\s{name}="(\d+)"', suite) for suite in suites)
        return sum(int(match[1]) for match in found if match)

    return total("tests"), total("failures") + total("errors"), total("skipped")


def kinds_of_skips(report):
    """Return the kind of each skipped test that tells one."""
    reasons = re.findall(r'<skipped\s[^>]*\bmessage="([^"]*)"', report)
    reasons += re.findall(r"^# not run: (.*)$", report, re.MULTILINE)
    return [html.unescape(reason).split(": ")[0] for reason in reasons]


def kinds_line(kinds):
    """Say how many of what kind, those of which there are most first."""
    def told(kind, number):
        return f"{number} " + (re.sub(r"^needs\b", "need", kind) if number > 1 else kind)

    each = [told(*item) for item in collections.Counter(kinds).most_common()]
    return f"{len(kinds)} skipped: " + ", ".join(each)


def main(arguments):
    passed = failed = 0
    kinds = []
    for status, path in zip(arguments[::2], arguments[1::2]):
        report = read(path)
        tests, bad, skipped = count(report)
        # A test that failed may count again for what it left behind.
        passed += max(0, tests - bad - skipped)
        # A runner can fail without a failed test: a program that died after
        # its last test, a mistyped option, or no test at all.
        failed += max(bad, status != "0")
        told = kinds_of_skips(report)[:skipped]
        kinds += told + ["say no reason"] * (skipped - len(told))
    line = f"{passed} passed, {failed} failed"
    if kinds:
        print(kinds_line(kinds))
        line += f", {len(kinds)} skipped"
    print(line)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
