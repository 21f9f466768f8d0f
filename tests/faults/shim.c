/* Preloaded into the process under test: counts the calls that change the disk under FAULT_ROOT,
 * and lets one of them fail. A call is counted before it is made, so stopping at 1, 2, 3, ... until
 * a run ends by itself visits every state that the disk passes through.
 *
 *   FAULT_ROOT      folder whose changes count
 *   FAULT_LOG       file that gets one line for each: number, call, file identity, path, new path
 *   FAULT_AT        number of the call that fails; nothing fails without it
 *   FAULT_ACTION    kill, stop, or the number of the error that the call is to return
 *   FAULT_NO_SYNC   fsync says that it is done without doing it (logged as "unsynced")
 *
 * Built for one thread, as the process under test has only one.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static long count = 0;

/* Writes where "path", relative to the folder "at", is; 1 if that is FAULT_ROOT or under it. */
static int locate(char *out, int at, const char *path) {
    char link[64];
    ssize_t size = 0;
    const char *root = getenv("FAULT_ROOT");
    if (root == NULL) return 0;
    if (path == NULL || (path[0] != '/' && at != AT_FDCWD)) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", at);
        size = readlink(link, out, PATH_MAX - 1);
        if (size < 0) return 0;
        out[size] = 0;
    } else if (path[0] != '/') {
        if (getcwd(out, PATH_MAX) == NULL) return 0;
        size = strlen(out);
    }
    if (path != NULL) snprintf(out + size, PATH_MAX - size, "%s%s", path[0] == '/' ? "" : "/", path);
    if (strncmp(out, root, strlen(root)) != 0) return 0;
    return out[strlen(root)] == '/' || out[strlen(root)] == 0;
}

/* Logs a call that is about to be made; 1, with errno set, if it is to fail instead. */
static int due(const char *call, int at, const char *path, int new_at, const char *new_path) {
    static char one[2 * PATH_MAX], two[2 * PATH_MAX], line[5 * PATH_MAX];
    struct stat found = {0};
    int saved = errno, inside = locate(one, at, path), descriptor;
    two[0] = 0;
    if (new_path != NULL) inside |= locate(two, new_at, new_path);
    if (!inside) {
        errno = saved;
        return 0;
    }
    count++;
    path == NULL ? fstat(at, &found) : lstat(one, &found);
    int size = snprintf(line, sizeof line, "%ld\t%s\t%lu\t%s\t%s\n", count, call,
                        (unsigned long)found.st_ino, one, two);
    if (getenv("FAULT_LOG") != NULL) {
        /* By system call: our own open and write must not count. */
        descriptor = syscall(SYS_openat, AT_FDCWD, getenv("FAULT_LOG"), O_WRONLY | O_APPEND | O_CREAT, 0644);
        syscall(SYS_write, descriptor, line, size);
        syscall(SYS_close, descriptor);
    }
    errno = saved;
    if (getenv("FAULT_AT") == NULL || count != atol(getenv("FAULT_AT"))) return 0;
    const char *action = getenv("FAULT_ACTION");
    if (strcmp(action, "kill") == 0) raise(SIGKILL);
    if (strcmp(action, "stop") == 0) {
        raise(SIGSTOP);
        return 0;
    }
    errno = atoi(action);
    return 1;
}

static int sync_skipped(const char *call, int file) {
    if (getenv("FAULT_NO_SYNC") == NULL) return due(call, file, NULL, 0, NULL) ? -1 : 0;
    return due("unsynced", file, NULL, 0, NULL) ? -1 : 1;
}

int fsync(int file) {
    int skipped = sync_skipped("fsync", file);
    return skipped < 0 ? -1 : skipped ? 0 : REAL(fsync)(file);
}

int fdatasync(int file) {
    int skipped = sync_skipped("fsync", file);
    return skipped < 0 ? -1 : skipped ? 0 : REAL(fdatasync)(file);
}

#define OPEN(name, args, at, call)                                                                 \
    int name args {                                                                                \
        mode_t mode = 0;                                                                           \
        if (flags & O_CREAT) {                                                                       \
            va_list rest;                                                                          \
            va_start(rest, flags);                                                                 \
            mode = va_arg(rest, mode_t);                                                           \
            va_end(rest);                                                                          \
        }                                                                                          \
        if ((flags & (O_CREAT | O_TRUNC)) && due("create", at, path, 0, NULL)) return -1;          \
        return call;                                                                               \
    }
OPEN(open, (const char *path, int flags, ...), AT_FDCWD, REAL(open)(path, flags, mode))
OPEN(open64, (const char *path, int flags, ...), AT_FDCWD, REAL(open64)(path, flags, mode))
OPEN(openat, (int at, const char *path, int flags, ...), at, REAL(openat)(at, path, flags, mode))
OPEN(openat64, (int at, const char *path, int flags, ...), at, REAL(openat64)(at, path, flags, mode))

ssize_t write(int file, const void *data, size_t size) {
    return due("write", file, NULL, 0, NULL) ? -1 : REAL(write)(file, data, size);
}

ssize_t pwrite64(int file, const void *data, size_t size, off64_t offset) {
    return due("write", file, NULL, 0, NULL) ? -1 : REAL(pwrite64)(file, data, size, offset);
}

ssize_t copy_file_range(int from, off64_t *in, int to, off64_t *out, size_t size, unsigned flags) {
    if (due("write", to, NULL, 0, NULL)) return -1;
    return REAL(copy_file_range)(from, in, to, out, size, flags);
}

ssize_t sendfile64(int to, int from, off64_t *offset, size_t size);
ssize_t sendfile64(int to, int from, off64_t *offset, size_t size) {
    return due("write", to, NULL, 0, NULL) ? -1 : REAL(sendfile64)(to, from, offset, size);
}

int rename(const char *old, const char *new) {
    return due("rename", AT_FDCWD, old, AT_FDCWD, new) ? -1 : REAL(rename)(old, new);
}

int renameat(int at, const char *old, int new_at, const char *new) {
    return due("rename", at, old, new_at, new) ? -1 : REAL(renameat)(at, old, new_at, new);
}

int link(const char *old, const char *new) {
    return due("link", AT_FDCWD, old, AT_FDCWD, new) ? -1 : REAL(link)(old, new);
}

int symlink(const char *target, const char *path) {
    return due("symlink", AT_FDCWD, path, 0, NULL) ? -1 : REAL(symlink)(target, path);
}

int truncate64(const char *path, off64_t size) {
    return due("write", AT_FDCWD, path, 0, NULL) ? -1 : REAL(truncate64)(path, size);
}

int ftruncate64(int file, off64_t size) {
    return due("write", file, NULL, 0, NULL) ? -1 : REAL(ftruncate64)(file, size);
}

int mkdir(const char *path, mode_t mode) {
    return due("mkdir", AT_FDCWD, path, 0, NULL) ? -1 : REAL(mkdir)(path, mode);
}

int mkdirat(int at, const char *path, mode_t mode) {
    return due("mkdir", at, path, 0, NULL) ? -1 : REAL(mkdirat)(at, path, mode);
}

int unlink(const char *path) {
    return due("unlink", AT_FDCWD, path, 0, NULL) ? -1 : REAL(unlink)(path);
}

int unlinkat(int at, const char *path, int flags) {
    return due("unlink", at, path, 0, NULL) ? -1 : REAL(unlinkat)(at, path, flags);
}

int rmdir(const char *path) {
    return due("unlink", AT_FDCWD, path, 0, NULL) ? -1 : REAL(rmdir)(path);
}
