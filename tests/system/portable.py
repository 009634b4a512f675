#!/usr/bin/python3
"""Builds echopool for another libc and for other CPUs: with musl (compiled only), for a 32-bit CPU
without 64-bit atomics (armel) and for a big-endian one (s390x), whose unit tests run under qemu.

The libraries for the other CPUs are unpacked below the cache directory, nothing of them is
installed. Warnings are errors. The last line is the sum.
"""

import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys
import tempfile

from roots import cached_root

SOURCE = pathlib.Path(__file__).resolve().parents[2]
PACKAGES = ["libc6-dev", "libatomic1", "libconfig-dev", "libcmocka-dev", "libjansson-dev",
            "libsystemd-dev", "libmicrohttpd-dev"]
# Debian's name of the architecture; the compiler's; qemu's and meson's; the order of the bytes.
CPUS = [("armel", "arm-linux-gnueabi", "arm", "little"),
        ("s390x", "s390x-linux-gnu", "s390x", "big")]


def run(*command):
    """True when it ends well; otherwise its output is printed."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        print(done.stdout, flush=True)
    return done.returncode == 0


def setup(build, machine, *options):
    """A build that knows no compiler and no library but those of machine, lines of a meson file."""
    (build.parent / f"{build.name}.ini").write_text(machine)
    return run("meson", "setup", build, SOURCE, "--werror", "--cross-file",
               build.parent / f"{build.name}.ini", *options)


def lead_into(root, folder):
    """Has links of a folder of root, as libm.so, lead into root and not to the files of this
    machine: without them the linker would take the static libraries."""
    for link in folder.iterdir():
        if link.is_symlink() and os.path.isabs(os.readlink(link)):
            inside = os.path.relpath(root / os.readlink(link).lstrip("/"), folder)
            link.unlink()
            link.symlink_to(inside)


def build_for_cpu(build, debian, compiler, cpu, order):
    suite = platform.freedesktop_os_release()["VERSION_CODENAME"]
    root = cached_root(suite, PACKAGES, "--variant=extract", f"--architectures={debian}")
    lead_into(root, root / "usr" / "lib" / compiler)
    return setup(build, f"""
[binaries]
c = ['{compiler}-gcc', '--sysroot={root}']
ar = '{compiler}-ar'
pkgconfig = 'pkg-config'
exe_wrapper = ['qemu-{cpu}', '-L', '{root}']
[properties]
sys_root = '{root}'
pkg_config_libdir = '{root}/usr/lib/{compiler}/pkgconfig'
[host_machine]
system = 'linux'
cpu_family = '{cpu}'
cpu = '{cpu}'
endian = '{order}'
""") and run("ninja", "-C", build) and \
        run("meson", "test", "-C", build, "--suite", "unit", "--timeout-multiplier", "10",
            "--print-errorlogs")


def build_with_musl(build):
    """Compiles everything but the peers. The headers of the libraries, and the kernel's, are the
    same for every libc; there is nothing to link."""
    headers = build.parent / "include"
    headers.mkdir()
    for name in ["libconfig.h", "jansson.h", "linux", "asm-generic"]:
        (headers / name).symlink_to(pathlib.Path("/usr/include") / name)
    machine = platform.machine()
    multiarch = subprocess.run(["gcc", "-print-multiarch"], check=True, capture_output=True,
                               text=True).stdout.strip()
    for name in ["jansson_config.h", "asm"]:
        (headers / name).symlink_to(next(
            path for path in (pathlib.Path(f"/usr/include/{multiarch}/{name}"),
                              pathlib.Path(f"/usr/include/{name}")) if path.exists()))
    for name, version in (("libconfig", "1.5"), ("jansson", "2.14")):
        (build.parent / f"{name}.pc").write_text(
            f"Name: {name}\nDescription: headers\nVersion: {version}\nCflags: -I{headers}\n")
    if not setup(build, f"""
[binaries]
c = 'musl-gcc'
ar = 'ar'
pkgconfig = 'pkg-config'
[properties]
pkg_config_libdir = '{build.parent}'
needs_exe_wrapper = true
[host_machine]
system = 'linux'
cpu_family = '{machine}'
cpu = '{machine}'
endian = '{sys.byteorder}'
""", "-Dsystemd=disabled", "-Dbench=enabled"):
        return False
    targets = subprocess.run(["ninja", "-C", build, "-t", "targets", "all"], check=True,
                             capture_output=True, text=True).stdout
    return run("ninja", "-C", build, *re.findall(r"^(\S+\.o):", targets, re.M))


def main():
    builds = [("musl", "musl-gcc", build_with_musl)]
    for cpu in CPUS:
        builds.append((cpu[0], f"{cpu[1]}-gcc", lambda build, cpu=cpu: build_for_cpu(build, *cpu)))
    passed = failed = skipped = 0
    with tempfile.TemporaryDirectory(prefix="echopool-portable.") as directory:
        for name, compiler, build in builds:
            missing = [tool for tool in (compiler, "mmdebstrap") if not shutil.which(tool)]
            if missing:
                print(f"not run: build for {name}: needs {missing[0]}")
                skipped += 1
                continue
            good = build(pathlib.Path(directory) / name)
            print(f"{name}: {'ok' if good else 'FAILED'}", flush=True)
            passed, failed = passed + good, failed + (not good)
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
