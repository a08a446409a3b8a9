/*
 * An event loop with poll: clients on a socket, and an inbox beside them.
 *
 *     cc event_loop.c $(pkg-config --cflags --libs kvreg) -o event_loop && ./event_loop [PORT]
 *
 * A client sends lines of the text protocol, KILL b to end a bucket, and WATCH b to be told
 * "b IS DOWN" when it ends. One thread serves all: what kvreg has to say makes a descriptor readable,
 * as what clients have to say does, and as SIGTERM and Ctrl-C do, which end it. It listens on
 * loopback only, and prints its port.
 */
#define _GNU_SOURCE /* accept4 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kvreg_macros.h"

enum { CLIENTS = 64, WATCHES = 16, LINE = 1024, LISTENER = CLIENTS, INBOX, SIGNALS, POLLED };

typedef struct client {
    char line[LINE];
    size_t len;
    uint64_t watches[WATCHES]; /* the references of its monitors; 0: free */
} client;

static client clients[CLIENTS];
static struct pollfd polled[POLLED]; /* a client's has its number; -1 is ignored by poll */
static kvreg_registry *registry;
static kvreg_inbox *inbox;

static void leave(int number) {
    for (int i = 0; i < WATCHES; i++) {
        if (clients[number].watches[i] != 0)
            KVREG_MUST(kvreg_inbox_demonitor(inbox, clients[number].watches[i],
                                             KVREG_DEMONITOR_FLUSH));
    }
    memset(&clients[number], 0, sizeof clients[number]);
    close(polled[number].fd);
    polled[number].fd = -1;
}

/* A client that does not take its replies is given up: the others must not wait for it. */
static void reply(int number, const void *text, size_t len) {
    if (polled[number].fd >= 0 &&
        send(polled[number].fd, text, len, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)len)
        leave(number);
}

static const char *watch(int number, kvreg_bucket *bucket) {
    for (int i = 0; i < WATCHES; i++) {
        if (clients[number].watches[i] == 0) {
            KVREG_MUST(kvreg_inbox_monitor(inbox, bucket, &clients[number].watches[i]));
            return "OK\r\n";
        }
    }
    return "ERROR\r\n";
}

static bool find(const char *name, size_t len, kvreg_bucket **bucket) {
    return kvreg_registry_lookup(registry, name, len, bucket) == KVREG_OK;
}

static void serve(int number, const char *line, size_t len) {
    KVREG_OWNED(bucket) *bucket = NULL;
    KVREG_OWNED(value) answer = kvreg_nil();
    const char *said = "NOT FOUND\r\n";

    if (len > 6 && memcmp(line, "WATCH ", 6) == 0) {
        if (find(line + 6, len - 6, &bucket)) said = watch(number, bucket);
    } else if (len > 5 && memcmp(line, "KILL ", 5) == 0) {
        if (find(line + 5, len - 5, &bucket) &&
            kvreg_bucket_exit(bucket, KVREG_REASON_KILLED, NULL, 0) == KVREG_OK)
            said = "OK\r\n";
    } else if (kvreg_registry_execute(registry, line, len, &answer) == KVREG_OK) {
        reply(number, answer.as.text.data, answer.as.text.len);
        return;
    } else {
        said = "ERROR\r\n";
    }
    reply(number, said, strlen(said));
}

/* Serves the lines that are whole; what is left waits for the rest. */
static void read_from(int number) {
    client *it = &clients[number];
    ssize_t got = recv(polled[number].fd, it->line + it->len, LINE - it->len, MSG_DONTWAIT);
    if (got <= 0) {
        if (got == 0 || (errno != EAGAIN && errno != EINTR)) leave(number);
        return;
    }
    it->len += (size_t)got;
    char *newline;
    while (polled[number].fd >= 0 && (newline = memchr(it->line, '\n', it->len)) != NULL) {
        size_t used = (size_t)(newline - it->line) + 1;
        serve(number, it->line, used > 1 && newline[-1] == '\r' ? used - 2 : used - 1);
        if (polled[number].fd >= 0) {
            it->len -= used;
            memmove(it->line, it->line + used, it->len);
        }
    }
    if (it->len == LINE) leave(number); /* a line without an end */
}

/* False if the system has nothing left for a client that waits. */
static bool take_in(void) {
    int number = 0, socket = accept4(polled[LISTENER].fd, NULL, NULL, SOCK_CLOEXEC);
    while (number < CLIENTS && polled[number].fd >= 0) number++;
    if (socket >= 0 && number < CLIENTS) {
        polled[number].fd = socket;
    } else if (socket >= 0) {
        close(socket);
    }
    return socket >= 0 || errno == EAGAIN || errno == EINTR || errno == ECONNABORTED;
}

/* All that waits in the inbox: it stays readable until nothing does. */
static void tell_watchers(void) {
    kvreg_event event;
    while (kvreg_inbox_receive(inbox, 0, &event) == KVREG_OK) {
        for (int number = 0; number < CLIENTS; number++) {
            for (int i = 0; i < WATCHES; i++) {
                if (event.reference == 0 || clients[number].watches[i] != event.reference) continue;
                char text[300];
                int len = snprintf(text, sizeof text, "%s IS DOWN\r\n", event.name.data);
                clients[number].watches[i] = 0;
                reply(number, text, (size_t)len);
            }
        }
        kvreg_event_clear(&event);
    }
}

static int listen_on(const char *port) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof address;
    char *rest;
    long number = strtol(port, &rest, 10);
    if (*port == '\0' || *rest != '\0' || number < 0 || number > 65535) {
        fprintf(stderr, "event_loop: no port: %s\n", port);
        exit(2);
    }
    address.sin_port = htons((uint16_t)number);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, len) != 0 ||
        listen(listener, 16) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &len) != 0) {
        perror("event_loop");
        exit(EXIT_FAILURE);
    }
    if (printf("127.0.0.1:%d\n", ntohs(address.sin_port)) < 0 || fflush(stdout) != 0) {
        perror("event_loop: writing");
        exit(EXIT_FAILURE);
    }
    return listener;
}

/* Signals are read like the rest: between two waits none is missed, however busy the clients are. */
static int signals(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    int fd = sigprocmask(SIG_BLOCK, &set, NULL) == 0 ? signalfd(-1, &set, SFD_CLOEXEC) : -1;
    if (fd < 0) {
        perror("event_loop");
        exit(EXIT_FAILURE);
    }
    return fd;
}

int main(int argc, char **argv) {
    if (argc > 2) {
        fputs("usage: event_loop [PORT]\n", stderr);
        return 2;
    }
    /* Where it is closed, the next descriptor would take its place, and get what is printed. */
    if (fcntl(STDOUT_FILENO, F_GETFD) < 0) {
        perror("event_loop: writing");
        return EXIT_FAILURE;
    }
    for (int i = 0; i < POLLED; i++) polled[i] = (struct pollfd){.fd = -1, .events = POLLIN};
    polled[SIGNALS].fd = signals();
    KVREG_MUST(kvreg_registry_start(NULL, &registry));
    KVREG_MUST(kvreg_inbox_open(&inbox));
    KVREG_MUST(kvreg_inbox_fd(inbox, &polled[INBOX].fd));
    polled[LISTENER].fd = listen_on(argc > 1 ? argv[1] : "0");

    while (polled[SIGNALS].revents == 0) {
        /* Who cannot be taken in now is tried again, after a second at the latest. */
        if (poll(polled, POLLED, polled[LISTENER].events != 0 ? -1 : 1000) < 0) {
            if (errno == EINTR || errno == EAGAIN) continue;
            perror("event_loop: poll"); /* fewer descriptors are allowed than it waits for */
            return EXIT_FAILURE;
        }
        for (int number = 0; number < CLIENTS; number++) {
            if (polled[number].fd >= 0 && polled[number].revents != 0) read_from(number);
        }
        if (polled[INBOX].revents != 0) tell_watchers();
        polled[LISTENER].events = polled[LISTENER].revents == 0 || take_in() ? POLLIN : 0;
    }

    for (int number = 0; number < CLIENTS; number++) {
        if (polled[number].fd >= 0) leave(number);
    }
    close(polled[LISTENER].fd);
    close(polled[SIGNALS].fd);
    kvreg_inbox_free(inbox);
    kvreg_registry_free(registry);
    KVREG_MUST(kvreg_shutdown(5000));
    return EXIT_SUCCESS;
}
