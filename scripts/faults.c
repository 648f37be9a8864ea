/* Preloaded (LD_PRELOAD) by scripts/faults.py: makes the n-th call that writes below a folder fail, or the process die in
   it; or makes the n-th large allocation fail. Python, Rust and C code all pass through these functions of the C library. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define FILES 4096
#define REAL(name) ({ static __typeof__(&name) real; if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name); real; })

enum { COUNT, FAIL_ONCE, FAIL_FROM, DIE };
static char folder[PATH_MAX];
static int action, failure;
static long nth, calls;
static double share;        /* of the bytes of a write that reach the file before the process dies */
static char ours[FILES];    /* descriptors of files below the folder that are open for writing */

static long nth_allocation = 0, allocations = 0;
static size_t large = 0;

void faults_arm(const char *below, int what, long number, int error, double part) {
    strncpy(folder, below, sizeof folder - 1);
    action = what; nth = number; failure = error; share = part; calls = 0;
}

long faults_calls(void) { return calls; }

void faults_arm_allocations(size_t bytes, long number) { large = bytes; nth_allocation = number; allocations = 0; }

long faults_allocations(void) { return allocations; }

static int below(const char *path) { return folder[0] && path && !strncmp(path, folder, strlen(folder)); }

static int mine(int file) { return file >= 0 && file < FILES && ours[file]; }

/* Whether this call is to fail; it may not return. */
static int fails(void) {
    long number = __atomic_add_fetch(&calls, 1, __ATOMIC_SEQ_CST);
    if (action == DIE && number == nth) raise(SIGKILL);
    if ((action == FAIL_ONCE && number == nth) || (action == FAIL_FROM && number >= nth)) { errno = failure; return 1; }
    return 0;
}

static int opened(int file, int writes) {
    if (file >= 0 && file < FILES) ours[file] = writes;
    return file;
}

#define OPEN(name, declared, given, path)                                                         \
    int name declared {                                                                           \
        mode_t mode = 0;                                                                          \
        if (flags & (O_CREAT | O_TMPFILE)) {                                                      \
            va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest);       \
        }                                                                                         \
        int writes = (flags & (O_WRONLY | O_RDWR | O_CREAT)) && below(path);                      \
        if (writes && fails()) return -1;                                                         \
        return opened(REAL(name) given, writes);                               \
    }
OPEN(open, (const char *path, int flags, ...), (path, flags, mode), path)
OPEN(open64, (const char *path, int flags, ...), (path, flags, mode), path)
OPEN(openat, (int at, const char *path, int flags, ...), (at, path, flags, mode), path)
OPEN(openat64, (int at, const char *path, int flags, ...), (at, path, flags, mode), path)

#define CALL(type, name, declared, given, watched)                                                \
    type name declared { if ((watched) && fails()) return -1; return REAL(name) given; }
CALL(int, fsync, (int file), (file), mine(file))
CALL(int, fdatasync, (int file), (file), mine(file))
CALL(int, ftruncate, (int file, off_t size), (file, size), mine(file))
CALL(int, ftruncate64, (int file, off_t size), (file, size), mine(file))
CALL(int, mkdir, (const char *path, mode_t mode), (path, mode), below(path))
CALL(int, rename, (const char *from, const char *to), (from, to), below(to))
CALL(int, renameat2, (int a, const char *from, int b, const char *to, unsigned flags), (a, from, b, to, flags), below(to))
CALL(int, link, (const char *from, const char *to), (from, to), below(to))
CALL(int, linkat, (int a, const char *from, int b, const char *to, int flags), (a, from, b, to, flags), below(to))

int close(int file) { if (file >= 0 && file < FILES) ours[file] = 0; return REAL(close)(file); }

/* unlink counts as a moment to die, but is no writing that fails on a full disk. */
int unlink(const char *path) {
    if (below(path) && action == DIE) fails();
    return REAL(unlink)(path);
}

/* A process that dies in a write has written a share of it. */
static int dies_now(void) { return action == DIE && calls + 1 == nth; }

ssize_t write(int file, const void *bytes, size_t size) {
    __typeof__(&write) real = REAL(write);
    if (mine(file)) {
        if (dies_now()) real(file, bytes, (size_t)(size * share));
        if (fails()) return -1;
    }
    return real(file, bytes, size);
}

ssize_t writev(int file, const struct iovec *parts, int count) {
    __typeof__(&writev) real = REAL(writev);
    if (mine(file)) {
        if (dies_now()) real(file, parts, (int)(count * share));
        if (fails()) return -1;
    }
    return real(file, parts, count);
}

ssize_t pwrite64(int file, const void *bytes, size_t size, off_t at) {
    __typeof__(&pwrite64) real = REAL(pwrite64);
    if (mine(file)) {
        if (dies_now()) real(file, bytes, (size_t)(size * share), at);
        if (fails()) return -1;
    }
    return real(file, bytes, size, at);
}

/* ------------------------------------------------------------------------------------------------ allocations */

static int no_memory(size_t size) {
    if (!nth_allocation || size < large) return 0;
    if (__atomic_add_fetch(&allocations, 1, __ATOMIC_SEQ_CST) != nth_allocation) return 0;
    errno = ENOMEM;
    return 1;
}

void *malloc(size_t size) {
    extern void *__libc_malloc(size_t);
    return no_memory(size) ? NULL : __libc_malloc(size);
}
void *calloc(size_t count, size_t size) {
    extern void *__libc_calloc(size_t, size_t);
    return no_memory(count * size) ? NULL : __libc_calloc(count, size);
}
void *realloc(void *old, size_t size) {
    extern void *__libc_realloc(void *, size_t);
    return no_memory(size) ? NULL : __libc_realloc(old, size);
}
void *memalign(size_t alignment, size_t size) {
    extern void *__libc_memalign(size_t, size_t);
    return no_memory(size) ? NULL : __libc_memalign(alignment, size);
}
void *aligned_alloc(size_t alignment, size_t size) { return memalign(alignment, size); }
int posix_memalign(void **into, size_t alignment, size_t size) {
    void *found = memalign(alignment, size);
    if (!found) return ENOMEM;
    *into = found;
    return 0;
}
