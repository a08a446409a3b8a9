/*
 * The shell: reads command lines from standard input or a file, prints the replies.
 *
 *     kvreg-shell [--store URL] [FILE]
 *
 * A reply is printed as a connection would get it, CRLF included; a failure prints ERROR, says
 * why on standard error, and the shell goes on. A prompt appears only at a terminal. With a store, as
 * file:PATH, the buckets that a session creates have what they had in the last one.
 */

#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kvreg.h"

#ifdef _WIN32
#include "shell_windows.h"
#else
#include <unistd.h>
#define shell_main main
#define open_file(path) fopen(path, "r")
#endif

static void usage(FILE *out) {
    fputs("usage: kvreg-shell [--store URL] [FILE]\n"
          "Carries out CREATE, PUT, GET and DELETE lines from FILE or standard input.\n"
          "  --store URL    keep the buckets in a store, as file:PATH\n"
          "  -h, --help     print this\n"
          "  -V, --version  print the version of the library\n",
          out);
}

static void complain(const char *what, kvreg_status status) {
    char text[256];
    if (kvreg_last_error(text, sizeof text) == 0)
        strcpy(text, kvreg_status_message(status));
    fprintf(stderr, "kvreg-shell: %s: %s\n", what, text);
}

/* Prints and flushes, so that it works in a pipe; false if nobody reads any more. */
static bool print(const void *data, size_t len) {
    return fwrite(data, 1, len, stdout) == len && fflush(stdout) == 0;
}

/* The exit status of what has only printed. */
static int all_said(void) {
    if (print("", 0)) return EXIT_SUCCESS;
    fprintf(stderr, "kvreg-shell: writing: %s\n", strerror(errno));
    return EXIT_FAILURE;
}

static bool execute(kvreg_registry *registry, const char *line, size_t len) {
    static const char error[] = "ERROR\r\n";
    kvreg_value reply;
    kvreg_status status = kvreg_registry_execute(registry, line, len, &reply);
    if (status != KVREG_OK) {
        complain("ERROR", status);
        return print(error, sizeof error - 1);
    }
    bool printed = print(reply.as.text.data, reply.as.text.len);
    kvreg_value_clear(&reply);
    return printed;
}

/* Answers the shell's exit status. */
static int run(kvreg_registry *registry, FILE *in) {
    bool at_terminal = isatty(fileno(in)) && isatty(STDOUT_FILENO);
    char *line = NULL;
    size_t capacity = 0;
    int result = EXIT_SUCCESS;
    for (;;) {
        if (at_terminal && !print("> ", 2)) {
            result = EXIT_FAILURE;
            break;
        }
        errno = 0;
        ssize_t len = getline(&line, &capacity, in);
        if (len < 0) {
            if (!feof(in)) { /* a line too long for memory is no error of the stream */
                fprintf(stderr, "kvreg-shell: reading: %s\n", strerror(errno));
                result = EXIT_FAILURE;
            } else if (at_terminal) {
                print("\n", 1);
            }
            break;
        }
        if (!execute(registry, line, (size_t)len)) {
            fprintf(stderr, "kvreg-shell: writing: %s\n", strerror(errno));
            result = EXIT_FAILURE;
            break;
        }
    }
    free(line);
    return result;
}

int shell_main(int argc, char **argv) {
    if (argc == 2 && (!strcmp(argv[1], "-h") || !strcmp(argv[1], "--help"))) {
        usage(stdout);
        return all_said();
    }
    if (argc == 2 && (!strcmp(argv[1], "-V") || !strcmp(argv[1], "--version"))) {
        printf("kvreg %s\n", kvreg_version_string());
        return all_said();
    }
    kvreg_bucket_options bucket = kvreg_bucket_options_init();
    if (argc > 2 && !strcmp(argv[1], "--store")) {
        bucket.store = argv[2];
        bucket.store_len = KVREG_NUL;
        argv += 2;
        argc -= 2;
    }
    if (argc > 2 || (argc == 2 && argv[1][0] == '-' && argv[1][1] != '\0')) {
        usage(stderr);
        return 2;
    }

    FILE *in = stdin;
    if (argc == 2 && strcmp(argv[1], "-") != 0 && (in = open_file(argv[1])) == NULL) {
        fprintf(stderr, "kvreg-shell: %s: %s\n", argv[1], strerror(errno));
        return EXIT_FAILURE;
    }
    int result = EXIT_FAILURE;
    kvreg_registry *registry;
    kvreg_registry_options options = kvreg_registry_options_init();
    options.bucket = &bucket;
    kvreg_status status = kvreg_registry_start(&options, &registry);
    if (status == KVREG_OK)
        result = run(registry, in);
    else
        complain("starting a registry", status);
    if (in != stdin)
        fclose(in);
    kvreg_registry_free(registry);
    kvreg_shutdown(1000);
    return result;
}
