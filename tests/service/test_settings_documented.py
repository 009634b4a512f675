"""Every setting that the program knows is in the sample file, the manual page and the README."""

import re
import subprocess

import pytest

from harness import CHECKOUT
from live import printed

SAMPLE = CHECKOUT / "config" / "echopool.conf"
MANUAL = CHECKOUT / "man" / "echopool.conf.5"
README = CHECKOUT / "README.md"


def sample_settings():
    """The settings that the sample file writes, each with its value and the comment above it."""
    settings, group, comment = {}, None, []
    for line in SAMPLE.read_text(encoding="utf-8").splitlines():
        text = line.strip()
        if match := re.fullmatch(r"(\w+):", text):
            group = match[1]
        elif match := re.fullmatch(r"(\w+) = (.*);", text):
            settings[f"{group}.{match[1]}"] = (match[2], " ".join(comment))
        if text.startswith("#"):
            comment.append(text.lstrip("# "))
        else:
            comment = []
    return settings


def manual_settings():
    """The entries of the manual page, each with its whole text."""
    parts = re.split(r"^\.It Cm (\S+)\n", MANUAL.read_text(encoding="utf-8"), flags=re.MULTILINE)
    bodies = [re.split(r"^\.El$", body, flags=re.MULTILINE)[0] for body in parts[2::2]]
    return dict(zip(parts[1::2], bodies))


def readme_settings():
    """The rows of the README's table, each with its default."""
    rows = re.findall(r"^\| `(\w+\.\w+)` \| (.+?) \|", README.read_text(encoding="utf-8"),
                      flags=re.MULTILINE)
    return {path: default.strip("`") for path, default in rows}


def test_the_sample_file_holds_every_setting_with_its_default():
    written = {path: value for path, (value, _) in sample_settings().items()}
    assert written == printed()


def test_the_program_reads_the_sample_file_as_its_defaults():
    assert printed("-c", str(SAMPLE)) == printed()


def test_every_setting_of_the_sample_file_is_explained():
    assert [path for path, (_, comment) in sample_settings().items() if len(comment) < 30] == []


def test_the_manual_page_holds_every_setting_with_its_default():
    entries = manual_settings()
    defaults = {}
    for path, body in entries.items():
        match = re.search(r"^Default: (.*)$", body, flags=re.MULTILINE)
        defaults[path] = match[1] if match else None
        assert re.search(r"^Range: .+$", body, flags=re.MULTILINE), path
    assert defaults == printed()


def test_the_readme_holds_every_setting_with_its_default():
    assert readme_settings() == printed()


@pytest.mark.parametrize("path", sorted(MANUAL.parent.glob("*.[0-9]")), ids=lambda path: path.name)
def test_manual_pages_are_clean(path):
    run = subprocess.run(["mandoc", "-T", "lint", str(path)], capture_output=True, text=True,
                         timeout=30)
    # Whether the pages that it refers to are installed here is not its fault.
    faults = [line for line in run.stdout.splitlines() if "referenced manual not found" not in line]
    assert faults == []
