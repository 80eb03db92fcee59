#include <zmq.h>

// Two calls of the C library that Swift's Glibc module leaves out: Messaging's wake-ups and thread names.
#include <pthread.h>
#include <sys/eventfd.h>
extern int pthread_setname_np(pthread_t thread, const char *name);
