"""A file system of one directory that stops answering when it is told to, as a network file system
does whose server is gone. Its processes then cannot be killed.

The file systems are FUSE's; as a program it is the one that answers:
    hanging_files.py FILES DIRECTORY       serves the files in FILES at DIRECTORY
A line "OPERATION NAME" on its standard input has these requests for that file wait; an empty line
has all go on. Each is answered by a line.
"""

import contextlib
import ctypes
import errno
import os
import select
import struct
import subprocess
import sys

import pytest

LOOKUP, GETATTR, OPEN, READ, RELEASE, FLUSH, INIT, OPENDIR, RELEASEDIR = (
    1, 3, 14, 15, 18, 25, 26, 27, 29)
WITHOUT_ANSWER = (2, 42)  # FORGET, BATCH_FORGET
ROOT = 1
DIRECT_IO = 1
UNKNOWN = 38  # ENOSYS
# How the last line begins where namespaces, /dev/fuse or its mount are refused.
REFUSALS = ("unshare: ", "mount: ", "FileNotFoundError: ", "PermissionError: ")


class FileSystem:
    """The answering side: /dev/fuse as the kernel's fuse.h has it."""

    def __init__(self, files, directory):
        self.paths = [os.path.join(files, name) for name in sorted(os.listdir(files))]
        self.fd = os.open("/dev/fuse", os.O_RDWR)
        self.hangs = None
        self.waiting = []
        options = f"fd={self.fd},rootmode=40000,user_id=0,group_id=0,allow_other"
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mount(b"hangs", directory.encode(), b"fuse", 0, options.encode()):
            sys.exit("mount: " + os.strerror(ctypes.get_errno()))

    def answer(self, unique, data=b"", error=0):
        # A request whose process is gone is not waited for any more.
        with contextlib.suppress(FileNotFoundError):
            os.write(self.fd, struct.pack("<IiQ", 16 + len(data), -error, unique) + data)

    def attributes(self, node):
        if node == ROOT:
            return struct.pack("<QQQQQQIIIIIIIIII", node, *[0] * 8, 0o40755, 2, 0, 0, 0, 4096, 0)
        status = os.stat(self.paths[node - 2])
        return struct.pack("<QQQQQQIIIIIIIIII", node, status.st_size, *[0] * 7, status.st_mode, 1,
                           0, 0, 0, 4096, 0)

    def node_named(self, name):
        names = [os.path.basename(path) for path in self.paths]
        return names.index(name) + 2 if name in names else 0

    def lookup(self, unique, request):
        node = self.node_named(request[40:].rstrip(b"\0").decode())
        if node:
            self.answer(unique, struct.pack("<QQQQII", node, *[0] * 5) + self.attributes(node))
        else:
            self.answer(unique, error=errno.ENOENT)

    def open(self, unique, node):
        # A program is mapped, for which its pages must be kept; the other is read anew each time.
        is_program = node != ROOT and os.access(self.paths[node - 2], os.X_OK)
        self.answer(unique, struct.pack("<QII", 1, 0 if is_program else DIRECT_IO, 0))

    def read(self, unique, node, request):
        offset, size = struct.unpack("<QI", request[48:60])
        with open(self.paths[node - 2], "rb") as file:
            file.seek(offset)
            self.answer(unique, file.read(size))

    def serve(self, request):
        _, operation, unique, node = struct.unpack("<IIQQ", request[:24])
        about = self.node_named(request[40:].rstrip(b"\0").decode("ascii", "replace")) \
            if operation == LOOKUP else node
        if self.hangs == (operation, about):
            self.waiting.append(request)
        elif operation == INIT:
            self.answer(unique, struct.pack("<IIIIHHIIHHI", 7, 26, 65536, 0, 12, 10, 65536, 1, 0,
                                            0, 0) + b"\0" * 24)
        elif operation == LOOKUP:
            self.lookup(unique, request)
        elif operation == GETATTR:
            self.answer(unique, struct.pack("<QII", 0, 0, 0) + self.attributes(node))
        elif operation in (OPEN, OPENDIR):
            self.open(unique, node)
        elif operation == READ:
            self.read(unique, node, request)
        elif operation in (RELEASE, FLUSH, RELEASEDIR):
            self.answer(unique)
        elif operation not in WITHOUT_ANSWER:
            self.answer(unique, error=UNKNOWN)

    def obey(self, line):
        words = line.split()
        self.hangs = (int(words[0]), self.node_named(words[1])) if words else None
        waiting, self.waiting = self.waiting, []
        for request in waiting:
            self.serve(request)

    def run(self):
        print("mounted", flush=True)
        while True:
            for readable in select.select([self.fd, sys.stdin], [], [])[0]:
                if readable is sys.stdin:
                    line = sys.stdin.readline()
                    if not line:
                        return
                    self.obey(line)
                    print("done", flush=True)
                else:
                    self.serve(os.read(self.fd, 1 << 20))


class Mount:
    """The test's side: the file system in a mount namespace of its own."""

    def __init__(self, files, directory):
        self.directory = directory
        self.process = subprocess.Popen(
            ["unshare", "--mount", sys.executable, __file__, files, directory],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if self.process.stdout.readline() != "mounted\n":
            said = self.process.stderr.read().strip()
            last = said.split("\n")[-1]
            assert last.startswith(REFUSALS), said
            pytest.skip("needs FUSE: " + last)

    @property
    def wrapper(self):
        """A command prefix: where the file system is to be seen."""
        return ["nsenter", "-t", str(self.process.pid), "--mount", "--"]

    def _tell(self, line):
        print(line, file=self.process.stdin, flush=True)
        assert self.process.stdout.readline() == "done\n"

    def hang(self, operation, name):
        self._tell(f"{operation} {name}")

    def go_on(self):
        self._tell("")

    def close(self):
        """Whoever still waits gets an error."""
        self.process.kill()
        self.process.communicate()


if __name__ == "__main__":
    FileSystem(*sys.argv[1:3]).run()
