#ifndef CLINUX_SHIM_H
#define CLINUX_SHIM_H
// What `import Glibc` leaves out. _GNU_SOURCE stays undefined here: it would change how Swift imports the socket calls.
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <fcntl.h>
#include <unistd.h>

extern int accept4(int fd, struct sockaddr *addr, socklen_t *addrlen, int flags);
extern long syscall(long number, ...);

#if defined(__x86_64__)
_Static_assert(sizeof(struct epoll_event) == 12, "epoll_event is packed on x86-64");
#else
_Static_assert(sizeof(struct epoll_event) == 16, "epoll_event is not packed here");
#endif

// The number of CPUs that this thread may run on, 0 if the system does not say. By number, because cpu_set_t needs _GNU_SOURCE.
static inline int clinux_allowed_cpus(void) {
    unsigned char mask[8192];
    long bytes = syscall(SYS_sched_getaffinity, 0, sizeof mask, mask);
    int count = 0;
    for (long i = 0; i < bytes; i++) count += __builtin_popcount(mask[i]);
    return count;
}

// Names the calling thread, for `top -H`.
static inline void clinux_name_thread(const char *name) { syscall(SYS_prctl, 15 /* PR_SET_NAME */, name, 0, 0, 0); }

// Lets the process have as many descriptors as it may, and makes room for `widest` of them at most in the kernel's table. Returns how
// many it may have; 0 if the system does not say.
//
// Shells and systemd give 1,024 of many more, for the sake of select(2). And where a process has several threads the kernel waits for
// all CPUs whenever the table grows (8 to 38 ms in accept(2)): so it grows once, before there are any.
static inline unsigned long clinux_widen_descriptors(unsigned long widest) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
    if (limit.rlim_cur < limit.rlim_max) {
        struct rlimit wanted = {limit.rlim_max, limit.rlim_max};
        if (setrlimit(RLIMIT_NOFILE, &wanted) == 0) limit = wanted;
    }
    unsigned long most = limit.rlim_cur < widest ? limit.rlim_cur : widest;
    int last = -1, source = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (source >= 0 && most > 0) last = fcntl(source, F_DUPFD_CLOEXEC, (int)most - 1);
    if (last >= 0) close(last);
    if (source >= 0) close(source);
    return limit.rlim_cur;
}

// Bytes of a TCP socket's output that its peer has not acknowledged (SIOCOUTQ), -1 if the system does not say.
static inline int clinux_unacknowledged(int fd) {
    int count = 0;
    return ioctl(fd, TIOCOUTQ, &count) == 0 ? count : -1;
}

// epoll_wait with nanoseconds (Linux 5.11). Returns -1 and ENOSYS where the kernel or a seccomp filter does not know it.
static inline int clinux_epoll_pwait2(int epfd, struct epoll_event *events, int max, long long nanoseconds) {
#ifdef SYS_epoll_pwait2
    struct { long long seconds; long long nanoseconds; } time = {nanoseconds / 1000000000, nanoseconds % 1000000000};
    return (int)syscall(SYS_epoll_pwait2, epfd, events, max, &time, (void *)0, (size_t)0);
#else
    return (int)syscall(-1);
#endif
}
#endif
