"""The rooms of the source: includes go one way, and src/README.md has a line for each file."""

import re

from harness import CHECKOUT

# A room uses itself and those behind it.
ROOMS = ["main.c", "control", "net", "pool", "config", "base"]
INCLUDE = re.compile(r'\s*#\s*include\s+(?:"([^"]+)"|<(echopool/[^>]+)>)')
HEADER = re.compile(r"echopool/(\w+)/\w+\.h")


def includes(path):
    """Each included file that is not the system's, with its line's number."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if match := INCLUDE.match(line):
            yield number, match[1] or match[2]


def wrong_in_room(root, path):
    """What is wrong with the includes of a file of src or include, a line each."""
    name = path.relative_to(root)
    room = name.parts[2] if name.parts[0] == "include" else name.parts[1]
    if room not in ROOMS:
        yield f"{name}: is in no room; the rooms are {', '.join(ROOMS)}"
        return
    usable = ROOMS[ROOMS.index(room):]
    for number, included in includes(path):
        header = HEADER.fullmatch(included)
        if not (header and header[1] in usable):
            yield (f'{name}:{number}: includes "{included}"; {room} may use the headers of '
                   f"{', '.join(usable)} only, as echopool/ROOM/NAME.h")


def wrong_in_echoload(root, path):
    """The same for a file of bench/echoload, which uses its own headers and those of base."""
    for number, included in includes(path):
        header = HEADER.fullmatch(included)
        if not (header and header[1] == "base") and "/" in included:
            yield (f'{path.relative_to(root)}:{number}: includes "{included}"; echoload may use '
                   "its own headers and those of base only, as echopool/base/NAME.h")


def wrong_includes(root):
    """Every include below root that breaks the rule, as FILE:LINE and the rule."""
    found = []
    for folder, check in (("src", wrong_in_room), ("include/echopool", wrong_in_room),
                          ("bench/echoload", wrong_in_echoload)):
        for path in sorted((root / folder).rglob("*.[ch]")):
            found += check(root, path)
    return found


def test_includes_go_from_main_to_base_and_never_back():
    wrong = wrong_includes(CHECKOUT)
    assert not wrong, "\n".join(wrong)


def test_an_include_the_wrong_way_is_named_with_its_line_and_the_rule(tmp_path):
    files = {
        "src/main.c": '#include "echopool/control/server.h"\n',
        "src/pool/pool.c": '#include <stdio.h>\n#include "echopool/net/listener.h"\n',
        "src/clock.c": '#include "echopool/base/clock.h"\n',
        "src/base/log.c": "# include <echopool/config/settings.h>\n",
        "include/echopool/net/listener.h": '\n\n#include "../pool/pool.h"\n',
        "include/echopool/config/config.h": '#include "echopool/base/log.h"\n',
        "bench/echoload/load.c": '#include "load.h"\n#include "echopool/base/clock.h"\n',
        "bench/echoload/tally.h": '#include "echopool/pool/worker_stats.h"\n',
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="ascii")
    assert wrong_includes(tmp_path) == [
        'src/base/log.c:1: includes "echopool/config/settings.h"; base may use the headers of base '
        "only, as echopool/ROOM/NAME.h",
        "src/clock.c: is in no room; the rooms are main.c, control, net, pool, config, base",
        'src/pool/pool.c:2: includes "echopool/net/listener.h"; pool may use the headers of pool, '
        "config, base only, as echopool/ROOM/NAME.h",
        'include/echopool/net/listener.h:3: includes "../pool/pool.h"; net may use the headers of '
        "net, pool, config, base only, as echopool/ROOM/NAME.h",
        'bench/echoload/tally.h:1: includes "echopool/pool/worker_stats.h"; echoload may use its '
        "own headers and those of base only, as echopool/base/NAME.h",
    ]


def test_every_source_file_has_its_line_in_the_readme_of_src_and_no_other_has():
    source = CHECKOUT / "src"
    text = (source / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w/]+\.c)` \| ", text, flags=re.MULTILINE)
    files = {str(path.relative_to(source)) for path in source.rglob("*.c")}
    wrong = [f"src/{name} has no line" for name in sorted(files - set(rows))]
    wrong += [f"{name} has a line and no file" for name in sorted(set(rows) - files)]
    assert not wrong, "\n".join(wrong)
    assert len(rows) == len(files), "a file has two lines"
