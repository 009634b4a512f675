#!/usr/bin/python3
"""Runs a command whose TMPDIR is on a file system where each write takes 50 ms.

usage: slow_files.py DIRECTORY COMMAND [ARGUMENT...]

As root, with /dev/fuse. The file system shows what is in DIRECTORY, over which it is mounted, in a
mount namespace of its own, so that nothing of it is left. It speaks the kernel's protocol
(linux/fuse.h) itself and needs no library. The exit status is the command's.
"""

import ctypes
import errno
import os
import resource
import stat
import struct
import sys
import threading
import time

WRITE_S = 0.05
THREADS = 32  # so many writes at a time
WRITE_BYTES = 1 << 20  # at most in one request

CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x20000, 0x4000, 0x40000
O_PATH = getattr(os, "O_PATH", 0o10000000)
FUSE_BIG_WRITES, FUSE_MAX_PAGES = 1 << 5, 1 << 22
FATTR_MODE, FATTR_UID, FATTR_GID, FATTR_SIZE = 1, 2, 4, 8
FATTR_ATIME, FATTR_MTIME, FATTR_ATIME_NOW, FATTR_MTIME_NOW = 16, 32, 128, 256
HEADER = struct.Struct("<IIQQIIII")
ROOT = 1

libc = ctypes.CDLL(None, use_errno=True)


def call(result, what):
    if result != 0:
        sys.exit(f"slow_files.py: {what}: {os.strerror(ctypes.get_errno())}")


class Files:
    """The kernel's nodes, each a descriptor of a file or folder, and an answer to each request."""

    def __init__(self, directory):
        root = os.open(directory, O_PATH)
        self._lock = threading.Lock()
        self._nodes = {ROOT: root}  # node: descriptor
        self._known = {self._key(root): [ROOT, 1]}  # key: node, how often the kernel was told it
        self._next = ROOT + 1

    @staticmethod
    def _key(descriptor):
        found = os.fstat(descriptor)
        return found.st_dev, found.st_ino

    def _path(self, node):
        """A path that leads to the node, for calls that follow links."""
        return f"/proc/self/fd/{self._nodes[node]}"

    def _attributes(self, descriptor):
        s = os.fstat(descriptor)
        times = s.st_atime_ns, s.st_mtime_ns, s.st_ctime_ns
        return struct.pack("<6Q10I", s.st_ino, s.st_size, s.st_blocks,
                           *(t // 10**9 for t in times), *(t % 10**9 for t in times),
                           s.st_mode, s.st_nlink, s.st_uid, s.st_gid, s.st_rdev, 4096, 0)

    def _entry(self, parent, name):
        """What the kernel is told of a name in a folder: its node, never to be remembered."""
        descriptor = os.open(name, O_PATH | os.O_NOFOLLOW, dir_fd=self._nodes[parent])
        with self._lock:
            key = self._key(descriptor)
            if key in self._known:
                os.close(descriptor)
            else:
                self._known[key] = [self._next, 0]
                self._nodes[self._next] = descriptor
                self._next += 1
            self._known[key][1] += 1
            node = self._known[key][0]
            return struct.pack("<4Q2I", node, 0, 0, 0, 0, 0) + self._attributes(self._nodes[node])

    def forget(self, node, count):
        with self._lock:
            key = self._key(self._nodes[node])
            self._known[key][1] -= count
            if self._known[key][1] <= 0 and node != ROOT:
                del self._known[key]
                os.close(self._nodes.pop(node))

    def _made(self, header, parent, name):
        """As _entry, for something new: it is its maker's."""
        os.chown(name, header[4], header[5], dir_fd=self._nodes[parent], follow_symlinks=False)
        return self._entry(parent, name)

    # One method for each operation, of the header's values, the node, and the rest of the request.

    def lookup(self, header, node, data):
        return self._entry(node, data.rstrip(b"\0"))

    def getattr(self, header, node, data):
        return struct.pack("<QII", 0, 0, 0) + self._attributes(self._nodes[node])

    def setattr(self, header, node, data):
        valid, _, _, size = struct.unpack_from("<IIQQ", data)
        atime, mtime, _, atime_ns, mtime_ns, _, mode, _, uid, gid = struct.unpack_from(
            "<3Q7I", data, 32)
        path = self._path(node)
        if valid & FATTR_MODE:
            os.chmod(path, stat.S_IMODE(mode))
        if valid & (FATTR_UID | FATTR_GID):
            os.chown(path, uid if valid & FATTR_UID else -1, gid if valid & FATTR_GID else -1)
        if valid & FATTR_SIZE:
            os.truncate(path, size)
        if valid & (FATTR_ATIME | FATTR_MTIME):
            now, old = time.time_ns(), os.stat(path)
            os.utime(path, ns=(
                self._time(valid, FATTR_ATIME, FATTR_ATIME_NOW, atime * 10**9 + atime_ns, now,
                           old.st_atime_ns),
                self._time(valid, FATTR_MTIME, FATTR_MTIME_NOW, mtime * 10**9 + mtime_ns, now,
                           old.st_mtime_ns)))
        return self.getattr(header, node, data)

    @staticmethod
    def _time(valid, given_bit, now_bit, given, now, old):
        if valid & now_bit:
            return now
        return given if valid & given_bit else old

    def readlink(self, header, node, data):
        return os.readlink(b"", dir_fd=self._nodes[node])

    def symlink(self, header, node, data):
        name, target = data.split(b"\0")[:2]
        os.symlink(target, name, dir_fd=self._nodes[node])
        return self._made(header, node, name)

    def mknod(self, header, node, data):
        mode, device, umask, _ = struct.unpack_from("<4I", data)
        name = data[16:].rstrip(b"\0")
        os.mknod(name, mode & ~umask, device, dir_fd=self._nodes[node])
        return self._made(header, node, name)

    def mkdir(self, header, node, data):
        mode, umask = struct.unpack_from("<2I", data)
        name = data[8:].rstrip(b"\0")
        os.mkdir(name, mode & ~umask, dir_fd=self._nodes[node])
        return self._made(header, node, name)

    def unlink(self, header, node, data):
        os.unlink(data.rstrip(b"\0"), dir_fd=self._nodes[node])

    def rmdir(self, header, node, data):
        os.rmdir(data.rstrip(b"\0"), dir_fd=self._nodes[node])

    def rename(self, header, node, data):
        [other] = struct.unpack_from("<Q", data)
        name, new = data[8:].split(b"\0")[:2]
        os.rename(name, new, src_dir_fd=self._nodes[node], dst_dir_fd=self._nodes[other])

    def rename2(self, header, node, data):
        if struct.unpack_from("<I", data, 8)[0]:
            raise OSError(errno.EINVAL, "a flag of renameat2(2)")
        self.rename(header, node, data[:8] + data[16:])

    def link(self, header, node, data):
        [old] = struct.unpack_from("<Q", data)
        name = data[8:].rstrip(b"\0")
        os.link(self._path(old), name, dst_dir_fd=self._nodes[node], follow_symlinks=True)
        return self._entry(node, name)

    def open(self, header, node, data):
        # The kernel does what these say.
        flags = struct.unpack_from("<I", data)[0] & ~(os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW)
        return struct.pack("<QII", os.open(self._path(node), flags | os.O_CLOEXEC), 0, 0)

    def create(self, header, node, data):
        flags, mode, umask, _ = struct.unpack_from("<4I", data)
        name = data[16:].rstrip(b"\0")
        opened = os.open(name, flags | os.O_CREAT | os.O_CLOEXEC, mode & ~umask,
                         dir_fd=self._nodes[node])
        return self._made(header, node, name) + struct.pack("<QII", opened, 0, 0)

    def read(self, header, node, data):
        opened, offset, size = struct.unpack_from("<QQI", data)
        return os.pread(opened, size, offset)

    def write(self, header, node, data):
        opened, offset, size = struct.unpack_from("<QQI", data)
        time.sleep(WRITE_S)
        return struct.pack("<II", os.pwrite(opened, data[40:40 + size], offset), 0)

    def statfs(self, header, node, data):
        s = os.fstatvfs(self._nodes[ROOT])
        return struct.pack("<5Q4I24x", s.f_blocks, s.f_bfree, s.f_bavail, s.f_files, s.f_ffree,
                           s.f_bsize, s.f_namemax, s.f_frsize, 0)

    def release(self, header, node, data):
        os.close(struct.unpack_from("<Q", data)[0])

    def fsync(self, header, node, data):
        os.fsync(struct.unpack_from("<Q", data)[0])

    def opendir(self, header, node, data):
        return struct.pack("<QII", 0, 0, 0)

    def readdir(self, header, node, data):
        _, offset, size = struct.unpack_from("<QQI", data)
        found = b""
        for i, name in enumerate(sorted(os.listdir(os.fsencode(self._path(node))))):
            entry = struct.pack("<QQII", 1, i + 1, len(name), 0) + name
            entry += bytes(-len(entry) % 8)
            if i >= offset:
                if len(found) + len(entry) > size:
                    break
                found += entry
        return found

    def nothing(self, header, node, data):
        """An operation with nothing to do."""

    def begin(self, header, node, data):
        return struct.pack("<4I2H2I2H8I", 7, 31, 1 << 17, FUSE_BIG_WRITES | FUSE_MAX_PAGES, 16, 12,
                           WRITE_BYTES, 1, WRITE_BYTES // 4096, 0, *[0] * 8)

    OPERATIONS = {1: lookup, 3: getattr, 4: setattr, 5: readlink, 6: symlink, 8: mknod, 9: mkdir,
                  10: unlink, 11: rmdir, 12: rename, 13: link, 14: open, 15: read, 16: write,
                  17: statfs, 18: release, 20: fsync, 25: nothing, 26: begin, 27: opendir,
                  28: readdir, 29: nothing, 30: nothing, 35: create, 45: rename2}


def forget(files, operation, node, data):
    """FORGET and BATCH_FORGET, which have no answer."""
    if operation == 2:
        files.forget(node, struct.unpack_from("<Q", data)[0])
    else:
        for i in range(struct.unpack_from("<I", data)[0]):
            files.forget(*struct.unpack_from("<QQ", data, 8 + 16 * i))


def serve(files, device):
    """Answers requests, in one of several threads, until the file system is gone."""
    while True:
        try:
            request = os.read(device, WRITE_BYTES + 4096)
        except OSError as failure:
            if failure.errno in (errno.ENOENT, errno.EINTR, errno.EAGAIN):
                continue
            return
        header = HEADER.unpack_from(request)
        _, operation, unique, node = header[:4]
        data = request[HEADER.size:]
        if operation in (2, 42):
            forget(files, operation, node, data)
            continue
        if operation == 36:  # INTERRUPT: no call here lasts
            continue
        error, answer = 0, b""
        try:
            if operation not in Files.OPERATIONS:
                raise OSError(errno.ENOSYS, "")
            answer = Files.OPERATIONS[operation](files, header, node, data) or b""
        except OSError as failure:
            error = failure.errno
        try:
            os.write(device, struct.pack("<IiQ", 16 + len(answer), -error, unique) + answer)
        except OSError as failure:
            if failure.errno != errno.ENOENT:  # who asked has gone
                return


def main(directory, *command):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    call(libc.unshare(CLONE_NEWNS), "unshare")
    call(libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None), "mount")
    files = Files(directory)
    device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions"
    call(libc.mount(b"slow", os.fsencode(directory), b"fuse", 0, options.encode()), "mount")
    child = os.fork()
    if child == 0:
        # Away from here, so that nothing of the file system is looked at before it answers.
        os.execvpe(command[0], command, os.environ | {"TMPDIR": directory})
    os.umask(0)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard[1], hard[1]))
    for _ in range(THREADS):
        threading.Thread(target=serve, args=(files, device), daemon=True).start()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    sys.stdout.flush()
    os._exit(status if status >= 0 else 128 - status)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
