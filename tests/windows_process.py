"""``python windows_process.py WORDS...``: the command, without all that Windows does not have.

Only what the package itself may use is taken away, after all libraries have been loaded; files are
still those of this system. Instead of edgecomp/windows.py, which needs Windows, stands what this
system has for the same.
"""

from __future__ import annotations

import errno
import fcntl
import importlib
import io
import os
import pkgutil
import sys
import types
from collections.abc import Callable
from typing import Any, NoReturn

sys.path.insert(0, os.path.dirname(__file__))

from open_files import open_files

# The libraries first: they are built for this system.
LIBRARIES = (
    "numpy onnxruntime PIL.Image PIL.features tqdm tempfile subprocess shutil ctypes".split()
)
# What there is in `os` on POSIX systems only, as far as anything here could want it.
MISSING = (
    "O_CLOEXEC O_DIRECTORY O_NOFOLLOW O_NONBLOCK O_SYNC O_NOCTTY O_PATH pread pwrite preadv readv"
    " sched_getaffinity sched_setaffinity killpg getuid geteuid getgid getpgid setsid fork forkpty"
    " mkfifo mknod chown lchown fchown fchdir fchmod fdatasync statvfs fstatvfs sync nice wait3"
    " wait4 posix_fadvise posix_fallocate pipe2 sendfile uname getloadavg sysconf"
).split()
MODULES = "fcntl resource pwd grp termios pty tty".split()
TAKES_DESCRIPTORS = "listdir scandir utime stat chmod truncate".split()
TAKES_FOLDERS = (
    "open stat lstat unlink mkdir rename replace link symlink readlink utime rmdir".split()
)
CODE_PAGE = "cp1252"


def without_folders(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    def run(*arguments: Any, **options: Any) -> Any:
        if any(options.get(key) is not None for key in ("dir_fd", "src_dir_fd", "dst_dir_fd")):
            raise NotImplementedError(f"{name}: dir_fd unavailable on this platform")
        if name in TAKES_DESCRIPTORS and arguments and isinstance(arguments[0], int):
            raise TypeError(f"{name}: path should be string, bytes or os.PathLike, not int")
        if name == "utime" and options.get("follow_symlinks") is False:
            raise NotImplementedError("utime: follow_symlinks unavailable on this platform")
        if name == "open" and os.path.isdir(arguments[0]):
            raise PermissionError(errno.EACCES, "Permission denied", arguments[0])
        if name in ("rename", "replace", "unlink"):
            require_closed(*arguments)
        if name == "rename" and os.path.lexists(arguments[1]):
            raise FileExistsError(errno.EEXIST, "File exists", arguments[1])
        return call(*arguments, **options)

    return run


def require_closed(*paths: Any) -> None:
    for path in paths:
        if os.path.lexists(path):
            found = os.lstat(path)
            if (found.st_dev, found.st_ino) in open_files():
                raise PermissionError(errno.EACCES, "in use by this process", path)


def windows_module() -> types.ModuleType:
    """What edgecomp/windows.py has, as this system has it."""
    module = types.ModuleType("edgecomp.windows")

    def lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def is_running(process: int) -> bool:
        return os.path.isdir(f"/proc/{process}")

    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    module.__dict__.update(lock=lock, is_running=is_running, physical_memory=lambda: memory)
    module.__dict__["processor_name"] = lambda: "A processor"
    return module


def take_away() -> None:
    for library in LIBRARIES:
        importlib.import_module(library)
    module = windows_module()
    for name in MISSING:
        if hasattr(os, name):
            delattr(os, name)
    for name in dict.fromkeys(TAKES_FOLDERS + TAKES_DESCRIPTORS):
        setattr(os, name, without_folders(name, getattr(os, name)))
    for stream in (sys.stdout, sys.stderr):
        assert isinstance(stream, io.TextIOWrapper)
        stream.reconfigure(encoding=CODE_PAGE)
    for name in MODULES:
        sys.modules[name] = None  # type: ignore[assignment]
    sys.modules["edgecomp.windows"] = module
    sys.platform = "win32"


def main() -> NoReturn:
    assert not any(name.startswith("edgecomp.") for name in sys.modules)
    take_away()
    import edgecomp

    for found in pkgutil.iter_modules(edgecomp.__path__, "edgecomp."):
        if found.name not in ("edgecomp.windows", "edgecomp.__main__"):
            importlib.import_module(found.name)
    from edgecomp import folders
    from edgecomp.cli.process import program

    assert folders._KIND is folders.PathFolder
    program()


if __name__ == "__main__":
    main()
