/*
 * An event loop with poll: clients on a socket, and an inbox beside them.
 *
 *     cc event_loop.c $(pkg-config --cflags --libs kvreg) -o event_loop && ./event_loop [PORT]
 *
 * A client sends lines of the text protocol, KILL b to end a bucket, and WATCH b to be told
 * "b IS DOWN" when it ends. One thread serves all: what kvreg has to say makes a descriptor readable,
 * as what clients have to say does. It listens on loopback only, prints its port, and runs until
 * SIGTERM or Ctrl-C.
 */
#define _GNU_SOURCE /* ppoll, accept4 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kvreg_macros.h"

enum { CLIENTS = 64, WATCHES = 16, LINE = 1024, LISTENER = CLIENTS, INBOX, POLLED };

typedef struct client {
    char line[LINE];
    size_t len;
    uint64_t watches[WATCHES]; /* the references of its monitors; 0: free */
} client;

static client clients[CLIENTS];
static struct pollfd polled[POLLED]; /* a client's has its number; -1 is ignored by poll */
static kvreg_registry *registry;
static kvreg_inbox *inbox;
static volatile sig_atomic_t ended;

static void end(int signal) {
    (void)signal;
    ended = 1;
}

static void leave(int number) {
    for (int i = 0; i < WATCHES; i++) {
        if (clients[number].watches[i] != 0)
            KVREG_MUST(kvreg_inbox_demonitor(inbox, clients[number].watches[i], KVREG_FLUSH));
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

static void serve(int number, char *line) {
    KVREG_OWNED(bucket) *bucket = NULL;
    KVREG_OWNED(value) answer = kvreg_nil();
    const char *name = strchr(line, ' ') != NULL ? strchr(line, ' ') + 1 : "";
    const char *said = "NOT FOUND\r\n";
    kvreg_status status = kvreg_registry_lookup(registry, name, KVREG_NUL, &bucket);

    if (strncmp(line, "WATCH ", 6) == 0) {
        said = status == KVREG_OK ? watch(number, bucket) : said;
    } else if (strncmp(line, "KILL ", 5) == 0) {
        if (status == KVREG_OK && kvreg_bucket_exit(bucket, KVREG_KILLED, NULL, 0) == KVREG_OK)
            said = "OK\r\n";
    } else if (kvreg_registry_execute(registry, line, KVREG_NUL, &answer) == KVREG_OK) {
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
    ssize_t got = recv(polled[number].fd, it->line + it->len, LINE - 1 - it->len, MSG_DONTWAIT);
    if (got <= 0) {
        if (got == 0 || (errno != EAGAIN && errno != EINTR)) leave(number);
        return;
    }
    it->len += (size_t)got;
    char *newline;
    while (polled[number].fd >= 0 && (newline = memchr(it->line, '\n', it->len)) != NULL) {
        size_t used = (size_t)(newline - it->line) + 1;
        *newline = '\0';
        if (newline > it->line && newline[-1] == '\r') newline[-1] = '\0';
        serve(number, it->line);
        if (polled[number].fd >= 0) {
            it->len -= used;
            memmove(it->line, it->line + used, it->len);
        }
    }
    if (it->len == LINE - 1) leave(number); /* a line without an end */
}

static void take_in(void) {
    int number = 0, socket = accept4(polled[LISTENER].fd, NULL, NULL, SOCK_CLOEXEC);
    while (number < CLIENTS && polled[number].fd >= 0) number++;
    if (socket >= 0 && number < CLIENTS) {
        polled[number].fd = socket;
    } else if (socket >= 0) {
        close(socket);
    }
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
    printf("127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return listener;
}

int main(int argc, char **argv) {
    /* The signals come only while poll waits, so none is missed. */
    struct sigaction action = {.sa_handler = end};
    sigset_t blocked, waiting;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    sigaddset(&blocked, SIGINT);
    sigprocmask(SIG_BLOCK, &blocked, &waiting);
    sigdelset(&waiting, SIGTERM);
    sigdelset(&waiting, SIGINT);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);

    for (int i = 0; i < POLLED; i++) polled[i] = (struct pollfd){.fd = -1, .events = POLLIN};
    KVREG_MUST(kvreg_registry_start(NULL, &registry));
    KVREG_MUST(kvreg_inbox_open(&inbox));
    KVREG_MUST(kvreg_inbox_fd(inbox, &polled[INBOX].fd));
    polled[LISTENER].fd = listen_on(argc > 1 ? argv[1] : "0");

    while (!ended) {
        if (ppoll(polled, POLLED, NULL, &waiting) < 0) continue; /* a signal */
        for (int number = 0; number < CLIENTS; number++) {
            if (polled[number].fd >= 0 && polled[number].revents != 0) read_from(number);
        }
        if (polled[INBOX].revents != 0) tell_watchers();
        if (polled[LISTENER].revents != 0) take_in();
    }

    for (int number = 0; number < CLIENTS; number++) {
        if (polled[number].fd >= 0) leave(number);
    }
    close(polled[LISTENER].fd);
    kvreg_inbox_free(inbox);
    kvreg_registry_free(registry);
    KVREG_MUST(kvreg_shutdown(5000));
    return EXIT_SUCCESS;
}
