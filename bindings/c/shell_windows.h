/* What the shell needs that Windows has otherwise: arguments and file names in UTF-8, streams that
 * leave line ends alone, and getline. */
#ifndef SHELL_WINDOWS_H
#define SHELL_WINDOWS_H

#include <fcntl.h>
#include <io.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <windows.h>

#define isatty _isatty
#define fileno _fileno
#define STDOUT_FILENO 1

static int shell_main(int argc, char **argv);

/* A copy of a wide text in UTF-8; NULL without memory. */
static char *to_utf8(const wchar_t *wide) {
    int size = WideCharToMultiByte(CP_UTF8, 0, wide, -1, NULL, 0, NULL, NULL);
    char *text = size > 0 ? malloc((size_t)size) : NULL;
    if (text != NULL)
        WideCharToMultiByte(CP_UTF8, 0, wide, -1, text, size, NULL, NULL);
    return text;
}

/* Any file's name is UTF-16 in Windows; `fopen` knows those of the system's code page only. */
static FILE *open_file(const char *path) {
    int size = MultiByteToWideChar(CP_UTF8, 0, path, -1, NULL, 0);
    wchar_t *wide = size > 0 ? malloc((size_t)size * sizeof *wide) : NULL;
    if (wide == NULL)
        return NULL;
    MultiByteToWideChar(CP_UTF8, 0, path, -1, wide, size);
    FILE *file = _wfopen(wide, L"rb");
    free(wide);
    return file;
}

static ssize_t getline(char **line, size_t *capacity, FILE *in) {
    size_t len = 0;
    for (;;) {
        int byte = getc(in);
        if (byte == EOF)
            return len > 0 && !ferror(in) ? (ssize_t)len : -1;
        if (len == *capacity) {
            size_t more = *capacity > 0 ? 2 * *capacity : 256;
            char *grown = more <= SIZE_MAX / 4 ? realloc(*line, more) : NULL;
            if (grown == NULL)
                return -1;
            *line = grown;
            *capacity = more;
        }
        (*line)[len++] = (char)byte;
        if (byte == '\n')
            return (ssize_t)len;
    }
}

int wmain(int argc, wchar_t **wide) {
    /* Replies end in CRLF as they are, and values are any bytes. */
    _setmode(_fileno(stdin), _O_BINARY);
    _setmode(_fileno(stdout), _O_BINARY);
    char **argv = calloc((size_t)argc + 1, sizeof *argv);
    for (int i = 0; argv != NULL && i < argc; i++) {
        if ((argv[i] = to_utf8(wide[i])) == NULL)
            return EXIT_FAILURE;
    }
    return argv != NULL ? shell_main(argc, argv) : EXIT_FAILURE;
}

#endif
