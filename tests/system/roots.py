"""Roots of Debian: each is made once with mmdebstrap and kept, unchanged, in the cache directory
(XDG_CACHE_HOME or ~/.cache). Another list of packages makes another one; remove one to renew it."""

import fcntl
import hashlib
import os
import pathlib
import shutil
import subprocess


def cached_root(suite, packages, *options):
    """The directory of the suite's root with these packages, made with options if it is missing."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    cache = pathlib.Path(home) / "echopool-system"
    cache.mkdir(parents=True, exist_ok=True)
    words = ["--quiet", f"--include={','.join(packages)}", *options]
    root = cache / f"{suite}-{hashlib.sha256(' '.join(words).encode()).hexdigest()[:8]}"
    with open(cache / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            print(f"making {root} with mmdebstrap, once; this takes minutes", flush=True)
            unfinished = root.with_suffix(".unfinished")
            if unfinished.exists():
                shutil.rmtree(unfinished)
            subprocess.run(["mmdebstrap", *words, suite, unfinished], check=True)
            unfinished.rename(root)
    return root
