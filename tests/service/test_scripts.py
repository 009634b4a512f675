"""script/build and script/bench where the build fails, with a stand-in for meson; user_time.py."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from harness import CHECKOUT, PROGRAM, seconds

# As if every package were there, so that script/bootstrap installs nothing.
DPKG_QUERY = '#!/bin/sh\nshift 3\nprintf "installed %s\\n" "$@"\n'
MESON = """\
#!/bin/sh
case "$1" in
introspect) echo '[]' ;;
setup) echo "meson says why"; exit 7 ;;
esac
"""


@pytest.fixture
def failing_meson(tmp_path):
    """The environment in which meson setup fails, with BUILD in tmp_path."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in (("dpkg-query", DPKG_QUERY), ("meson", MESON)):
        (programs / name).write_text(text, encoding="ascii")
        (programs / name).chmod(0o755)
    (tmp_path / "build").mkdir()
    return {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}",
            "BUILD": str(tmp_path / "build")}


@pytest.mark.parametrize("configured", [False, True], ids=["new build", "build without echoload"])
@pytest.mark.parametrize("words", [("script/build", "--bench"), ("script/bench",)], ids=" ".join)
def test_a_build_that_cannot_be_configured_is_told_in_mesons_words(
        tmp_path, failing_meson, configured, words):
    if configured:
        (tmp_path / "build" / "build.ninja").touch()
    done = subprocess.run([CHECKOUT / words[0], *words[1:]], env=failing_meson, cwd=tmp_path,
                          capture_output=True, text=True, timeout=seconds(30), check=False,
                          stdin=subprocess.DEVNULL)
    assert done.returncode == 1
    said = done.stderr.splitlines()
    assert said[-1] == "meson says why" and len(said) == (1 if configured else 2), done.stderr
    assert done.stdout == ""


def test_the_share_of_user_time_is_told_beside_its_target():
    done = subprocess.run(
        [CHECKOUT / "bench" / "user_time.py", "--build", Path(PROGRAM).parent, "--rounds", "2",
         "--duration", "0.1"],
        capture_output=True, text=True, timeout=seconds(60), check=False)
    told = re.fullmatch(r"user time: ([\d.]+), ([\d.]+) % of echopool's CPU time; at most 8 %: "
                        r"(reached|NOT REACHED)\n", done.stdout)
    assert told, done.stdout + done.stderr
    best = min(float(told[1]), float(told[2]))
    assert 0 <= best <= 100 and done.stderr == ""
    assert done.returncode == (0 if told[3] == "reached" else 1)
    assert abs(best - 8) < 0.1 or (best < 8) == (told[3] == "reached")
