/*
 * windows_calls.c: what edgecomp/windows.py and edgecomp/folders.py take for granted of Windows, as C programs see it.
 * Files are opened as Python opens them, by the C library. tests/test_windows.py runs it by Wine.
 *
 * LOCK_HIGH is the upper half of the place of the byte that is locked.
 */
#include "check.h"

#include <fcntl.h>
#include <io.h>
#include <string.h>
#include <sys/stat.h>
#include <windows.h>

static HANDLE handle_of(int descriptor)
{
    return (HANDLE)_get_osfhandle(descriptor);
}

static int lock(int descriptor)
{
    return LockFile(handle_of(descriptor), 0, LOCK_HIGH, 1, 0) ? 0 : (int)GetLastError();
}

static int open_new(const char *name)
{
    const int descriptor = _open(name, _O_RDWR | _O_CREAT | _O_EXCL | _O_BINARY, _S_IREAD | _S_IWRITE);

    CHECK(descriptor >= 0);
    return descriptor;
}

/* One at a time has the lock, writing or reading; closing ends it. Bytes are free for all, which Windows alone can
 * show: Wine lets others read bytes that are locked. */
static void test_locks(void)
{
    const int writer = open_new("locked");
    const int reader = _open("locked", _O_RDONLY | _O_BINARY);
    char bytes[4];

    CHECK(reader >= 0);
    CHECK(lock(writer) == 0);
    CHECK(lock(reader) == ERROR_LOCK_VIOLATION);
    CHECK(_write(writer, "a\nb", 3) == 3);
    CHECK(_read(reader, bytes, 4) == 3 && memcmp(bytes, "a\nb", 3) == 0);
    CHECK(_close(writer) == 0);
    CHECK(lock(reader) == 0);
    CHECK(_close(reader) == 0);
    CHECK(DeleteFileA("locked"));
}

/* What is open is neither renamed nor removed nor replaced, and no renaming replaces anything unasked. */
static void test_names(void)
{
    const int first = open_new("first");
    int other;

    CHECK(!MoveFileExA("first", "second", 0) && GetLastError() == ERROR_SHARING_VIOLATION);
    CHECK(!DeleteFileA("first") && GetLastError() == ERROR_SHARING_VIOLATION);
    CHECK(_commit(first) == 0);
    CHECK(_close(first) == 0);
    other = open_new("second");
    CHECK(!MoveFileExA("first", "second", 0) && GetLastError() == ERROR_ALREADY_EXISTS);
    CHECK(!MoveFileExA("first", "second", MOVEFILE_REPLACE_EXISTING));
    CHECK(GetLastError() == ERROR_ACCESS_DENIED || GetLastError() == ERROR_SHARING_VIOLATION);
    CHECK(_close(other) == 0);
    CHECK(MoveFileExA("first", "second", MOVEFILE_REPLACE_EXISTING));
    CHECK(GetFileAttributesA("first") == INVALID_FILE_ATTRIBUTES);
    CHECK(DeleteFileA("second"));
}

static int is_running(DWORD process)
{
    const HANDLE handle = OpenProcess(SYNCHRONIZE, FALSE, process);
    int running;

    if (handle == NULL) {
        return GetLastError() != ERROR_INVALID_PARAMETER;
    }
    running = WaitForSingleObject(handle, 0) != WAIT_OBJECT_0;
    CHECK(CloseHandle(handle));
    return running;
}

/* This process, one that has ended and is still open, one that is no more. */
static void test_processes(void)
{
    STARTUPINFOA start = {0};
    PROCESS_INFORMATION started;
    char command[] = "windows_calls.exe end";

    start.cb = sizeof start;
    CHECK(is_running(GetCurrentProcessId()));
    CHECK(CreateProcessA(NULL, command, NULL, NULL, FALSE, 0, NULL, NULL, &start, &started));
    CHECK(WaitForSingleObject(started.hProcess, 60000) == WAIT_OBJECT_0);
    CHECK(!is_running(started.dwProcessId));
    CHECK(CloseHandle(started.hProcess) && CloseHandle(started.hThread));
    CHECK(!is_running(0xfffffff0));
}

static void test_memory(void)
{
    MEMORYSTATUSEX status;

    status.dwLength = sizeof status;
    CHECK(sizeof status == 64 && offsetof(MEMORYSTATUSEX, ullTotalPhys) == 8);
    CHECK(GlobalMemoryStatusEx(&status));
    printf("memory %llu\n", (unsigned long long)status.ullTotalPhys);
}

int main(int count, char **words)
{
    if (count > 1 && strcmp(words[1], "end") == 0) {
        return 0;
    }
    test_locks();
    test_names();
    test_processes();
    test_memory();
    puts("windows_calls: all tests passed");
    return 0;
}
