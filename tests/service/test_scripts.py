"""script/build and script/bench where the build fails; meson is a stand-in."""

import os
import subprocess

import pytest

from harness import CHECKOUT, seconds

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
