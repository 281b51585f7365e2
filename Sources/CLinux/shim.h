#ifndef CLINUX_SHIM_H
#define CLINUX_SHIM_H
// What `import Glibc` leaves out. _GNU_SOURCE stays undefined here: it would change how Swift imports the socket calls.
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

extern int accept4(int fd, struct sockaddr *addr, socklen_t *addrlen, int flags);

#if defined(__x86_64__)
_Static_assert(sizeof(struct epoll_event) == 12, "epoll_event is packed on x86-64");
#else
_Static_assert(sizeof(struct epoll_event) == 16, "epoll_event is not packed here");
#endif
#endif
