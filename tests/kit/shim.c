/* Stands between one process and its C library (LD_PRELOAD): shifts the wall clock, slows syncs down,
 * fails writes to files and moves a name. FAULT_SHIM names a file of eight 64-bit numbers that the tests change
 * while the process runs; see shim.rs. Monotonic clocks are left alone. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* The numbers: what to do, then how often it was done. */
enum { CLOCK_MS, SYNC_MS, WRITE_ERRNO, SYNC_ERRNO, CLOCKS, SYNCS, REFUSALS, PLACE, NUMBERS };

static int64_t nothing[NUMBERS];
static volatile int64_t *number = nothing;

__attribute__((constructor)) static void open_numbers(void) {
    const char *path = getenv("FAULT_SHIM");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *map = mmap(NULL, sizeof nothing, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map != MAP_FAILED) number = map;
    close(fd);
}

static void count(int what) { __atomic_fetch_add(&number[what], 1, __ATOMIC_RELAXED); }

/* The function of this name that would have been called. */
#define REAL(name)                                                   \
    static __typeof__(name) *real;                                   \
    if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

/* Milliseconds on the clock, in whole seconds and nanoseconds. */
static struct timespec shifted(struct timespec t) {
    int64_t ms = number[CLOCK_MS];
    if (!ms) return t;
    count(CLOCKS);
    int64_t nanos = (int64_t)t.tv_nsec + (ms % 1000) * 1000000;
    t.tv_sec += ms / 1000 + (nanos < 0 ? -1 : nanos / 1000000000);
    t.tv_nsec = (nanos + 1000000000) % 1000000000;
    return t;
}

int clock_gettime(clockid_t clock, struct timespec *t) {
    REAL(clock_gettime);
    int r = real ? real(clock, t) : (int)syscall(SYS_clock_gettime, clock, t);
    if (!r && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) *t = shifted(*t);
    return r;
}

int gettimeofday(struct timeval *restrict tv, void *restrict zone) {
    REAL(gettimeofday);
    int r = real(tv, zone);
    if (r || !tv) return r;
    struct timespec t = {tv->tv_sec, tv->tv_usec * 1000};
    t = shifted(t);
    tv->tv_sec = t.tv_sec;
    tv->tv_usec = t.tv_nsec / 1000;
    return r;
}

time_t time(time_t *out) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    if (out) *out = t.tv_sec;
    return t.tv_sec;
}

/* One name is known here alone, and leads where it is said to. */
int getaddrinfo(const char *restrict node, const char *restrict service,
                const struct addrinfo *restrict hints, struct addrinfo **restrict found) {
    REAL(getaddrinfo);
    char place[] = "127.0.0.1";
    if (node && !strcmp(node, "redis.fault")) {
        place[8] += (char)number[PLACE];
        node = place;
    }
    return real(node, service, hints, found);
}

/* Fails with this number, if there is one. */
static int fails(int64_t why) {
    if (!why) return 0;
    count(REFUSALS);
    errno = (int)why;
    return 1;
}

static void drag(void) {
    int64_t ms = number[SYNC_MS];
    count(SYNCS);
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    while (ms > 0 && nanosleep(&t, &t) && errno == EINTR);
}

int fsync(int fd) {
    REAL(fsync);
    drag();
    return fails(number[SYNC_ERRNO]) ? -1 : real(fd);
}

int fdatasync(int fd) {
    REAL(fdatasync);
    drag();
    return fails(number[SYNC_ERRNO]) ? -1 : real(fd);
}

/* Whether a write to this file fails: not to a pipe, a socket or a terminal. */
static int refused(int fd) {
    int64_t why = number[WRITE_ERRNO];
    struct stat s;
    return why && !fstat(fd, &s) && S_ISREG(s.st_mode) && fails(why);
}

#define WRITES(name, kind, params, args)               \
    kind name params {                                 \
        REAL(name);                                    \
        if (refused(fd)) return -1;                    \
        kind r = real args;                            \
        if (r < 0 && errno == ENOSPC) count(REFUSALS); \
        return r;                                      \
    }

WRITES(write, ssize_t, (int fd, const void *b, size_t n), (fd, b, n))
WRITES(pwrite, ssize_t, (int fd, const void *b, size_t n, off_t at), (fd, b, n, at))
WRITES(pwrite64, ssize_t, (int fd, const void *b, size_t n, off64_t at), (fd, b, n, at))
WRITES(writev, ssize_t, (int fd, const struct iovec *v, int n), (fd, v, n))
WRITES(pwritev, ssize_t, (int fd, const struct iovec *v, int n, off_t at), (fd, v, n, at))
WRITES(pwritev64, ssize_t, (int fd, const struct iovec *v, int n, off64_t at), (fd, v, n, at))
