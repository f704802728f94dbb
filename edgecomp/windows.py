"""What Windows has instead of calls of POSIX systems; empty elsewhere."""

from __future__ import annotations

import sys

if sys.platform == "win32":
    import ctypes
    import msvcrt
    import winreg
    from ctypes import wintypes
    from typing import Final

    _kernel32: Final = ctypes.WinDLL("kernel32", use_last_error=True)
    _ERROR_INVALID_PARAMETER: Final = 87
    _ERROR_LOCK_VIOLATION: Final = 33
    _WAIT_OBJECT_0: Final = 0
    _SYNCHRONIZE: Final = 0x00100000
    # Locks of Windows bar others from the bytes that they are on. The byte at 2^62 is in no file;
    # msvcrt.locking reaches no further than 2^31, which an archive may.
    _BYTE_HIGH: Final = 1 << 30

    _kernel32.LockFile.argtypes = [wintypes.HANDLE, *[wintypes.DWORD] * 4]
    _kernel32.LockFile.restype = wintypes.BOOL
    _kernel32.OpenProcess.argtypes = [wintypes.DWORD, wintypes.BOOL, wintypes.DWORD]
    _kernel32.OpenProcess.restype = wintypes.HANDLE
    _kernel32.WaitForSingleObject.argtypes = [wintypes.HANDLE, wintypes.DWORD]
    _kernel32.WaitForSingleObject.restype = wintypes.DWORD
    _kernel32.CloseHandle.argtypes = [wintypes.HANDLE]
    _kernel32.CloseHandle.restype = wintypes.BOOL

    class _MemoryStatus(ctypes.Structure):
        """MEMORYSTATUSEX."""

        _fields_ = (
            ("length", ctypes.c_uint32),
            ("load", ctypes.c_uint32),
            ("physical", ctypes.c_uint64),
            ("others", ctypes.c_uint64 * 6),
        )

    _kernel32.GlobalMemoryStatusEx.argtypes = [ctypes.POINTER(_MemoryStatus)]
    _kernel32.GlobalMemoryStatusEx.restype = wintypes.BOOL

    def lock(descriptor: int) -> bool:
        """Lock a file until it is closed; whether nobody else has locked it (`folders.lock`)."""
        handle = msvcrt.get_osfhandle(descriptor)
        if _kernel32.LockFile(handle, 0, _BYTE_HIGH, 1, 0):
            return True
        return ctypes.get_last_error() != _ERROR_LOCK_VIOLATION

    def is_running(process: int) -> bool:
        """Whether there is a process of that number. (os.kill with signal 0 would end it.)"""
        if not 0 < process < 1 << 32:
            return False
        handle = _kernel32.OpenProcess(_SYNCHRONIZE, False, process)
        if not handle:
            return ctypes.get_last_error() != _ERROR_INVALID_PARAMETER  # another user's
        try:
            # One that has ended is there as long as somebody has it open.
            return bool(_kernel32.WaitForSingleObject(handle, 0) != _WAIT_OBJECT_0)
        finally:
            _kernel32.CloseHandle(handle)

    def physical_memory() -> int | None:
        """Bytes of memory that the machine has; None if it does not tell."""
        status = _MemoryStatus(length=ctypes.sizeof(_MemoryStatus))
        if not _kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):
            return None
        return int(status.physical)

    def processor_name() -> str:
        """What the makers call the processor; empty if the system does not tell."""
        key = r"HARDWARE\DESCRIPTION\System\CentralProcessor\0"
        try:
            with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, key) as opened:
                return str(winreg.QueryValueEx(opened, "ProcessorNameString")[0]).strip()
        except OSError:
            return ""
