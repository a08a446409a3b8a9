/* Buckets as files: saved, restored, damaged, refused, and killed meanwhile. */

#define _GNU_SOURCE /* for mkdtemp, and RLIMIT_FSIZE */

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef _WIN32
#include <windows.h>
enum { NO_FOLDER = ERROR_PATH_NOT_FOUND, IS_FOLDER = ERROR_ACCESS_DENIED };
#else
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
enum { NO_FOLDER = ENOENT, IS_FOLDER = EISDIR };
#endif

#include "check.h"

static kvreg_bucket *bucket, *other;
static char folder[300], path[400];

static void make_folder(void) {
#ifdef _WIN32
    char temporary[200];
    CHECK(GetTempPathA(sizeof temporary, temporary) != 0);
    snprintf(folder, sizeof folder, "%skvreg-saving-%lu", temporary, GetCurrentProcessId());
    CHECK(mkdir(folder) == 0);
#else
    strcpy(folder, "/tmp/kvreg-saving-XXXXXX");
    CHECK(mkdtemp(folder) != NULL);
#endif
}

static void start(void) {
    make_folder();
    snprintf(path, sizeof path, "%s/saved", folder);
    OK(kvreg_bucket_start(&bucket));
    OK(kvreg_bucket_start(&other));
}

static size_t files(bool remove_them) {
    size_t count = 0;
    DIR *open_folder = opendir(folder);
    CHECK(open_folder != NULL);
    for (struct dirent *file; (file = readdir(open_folder)) != NULL;) {
        if (strcmp(file->d_name, ".") == 0 || strcmp(file->d_name, "..") == 0) continue;
        count++;
        if (remove_them) {
            char name[600];
            snprintf(name, sizeof name, "%s/%s", folder, file->d_name);
            CHECK(remove(name) == 0);
        }
    }
    closedir(open_folder);
    return count;
}

static void finish(void) {
    OK(kvreg_bucket_free(bucket));
    OK(kvreg_bucket_free(other));
    files(true);
    CHECK(rmdir(folder) == 0);
}

static size_t count_of(kvreg_bucket *of) {
    size_t count;
    OK(kvreg_bucket_count(of, &count));
    return count;
}

static uint64_t revision_of(kvreg_bucket *of, const char *key) {
    kvreg_entry entry = kvreg_entry_init();
    OK(kvreg_bucket_get_entry(of, key, KVREG_NUL, &entry));
    kvreg_value_clear(&entry.value);
    return entry.revision;
}

static size_t size_of(const char *file) {
    struct stat about;
    CHECK(stat(file, &about) == 0);
    return (size_t)about.st_size;
}

static void write_file(const void *data, size_t len) {
    FILE *file = fopen(path, "wb");
    CHECK(file != NULL && fwrite(data, 1, len, file) == len && fclose(file) == 0);
}

static size_t read_file(char *data, size_t room) {
    FILE *file = fopen(path, "rb");
    CHECK(file != NULL);
    size_t len = fread(data, 1, room, file);
    CHECK(len < room && fclose(file) == 0);
    return len;
}

static void all_comes_back(void) {
    static char large[300000], key[65536];
    start();
    memset(large, 'x', sizeof large);
    memset(key, 'k', sizeof key);
    const kvreg_value values[] = {kvreg_nil(), kvreg_bool(true), kvreg_bool(false),
                                  kvreg_int(INT64_MIN), kvreg_int(-1), kvreg_float(-0.5),
                                  kvreg_string("\xc3\xbc", 2), kvreg_string("", 0),
                                  kvreg_bytes("\xff\0x", 3), kvreg_bytes(large, sizeof large),
                                  kvreg_string(large, 65521)};
    enum { VALUES = sizeof values / sizeof *values };
    char names[VALUES][4];
    /* Stored in an order of its own: revisions come back in that. */
    for (int i = 0; i < VALUES; i++) {
        int at = i * 7 % VALUES;
        snprintf(names[at], sizeof names[at], "%d", at);
        OK(kvreg_bucket_put(bucket, names[at], KVREG_NUL, &values[at]));
    }
    OK(kvreg_bucket_put_int(bucket, key, sizeof key, 1));
    OK(kvreg_bucket_put_int(bucket, "", 0, 2));
    OK(kvreg_bucket_save(bucket, path, KVREG_NUL));
    CHECK(files(false) == 1);
    OK(kvreg_bucket_restore(other, path, strlen(path)));
    CHECK(count_of(other) == VALUES + 2);
    for (int i = 0; i < VALUES; i++) {
        kvreg_value value;
        OK(kvreg_bucket_get(other, names[i], KVREG_NUL, &value));
        CHECK(value.type == values[i].type);
        if (value.type >= KVREG_STRING)
            CHECK(value.as.text.len == values[i].as.text.len &&
                  memcmp(value.as.text.data, values[i].as.text.data, value.as.text.len) == 0);
        else if (value.type == KVREG_BOOL)
            CHECK(value.as.boolean == values[i].as.boolean);
        else if (value.type != KVREG_NIL)
            CHECK(value.as.integer == values[i].as.integer);
        kvreg_value_clear(&value);
        for (int before = 0; before < VALUES; before++)
            CHECK((revision_of(bucket, names[i]) < revision_of(bucket, names[before])) ==
                  (revision_of(other, names[i]) < revision_of(other, names[before])));
    }
    int64_t integer;
    OK(kvreg_bucket_get_int(other, key, sizeof key, &integer));
    CHECK(integer == 1);
    OK(kvreg_bucket_get_int(other, "", 0, &integer));
    CHECK(integer == 2);
    IS(KVREG_CONFLICT, kvreg_bucket_restore(other, path, KVREG_NUL));
    CHECK(count_of(other) == VALUES + 2);
    /* Over the older file; and an empty bucket is one too. */
    OK(kvreg_bucket_clear(bucket));
    OK(kvreg_bucket_save(bucket, path, KVREG_NUL));
    OK(kvreg_bucket_clear(other));
    OK(kvreg_bucket_restore(other, path, KVREG_NUL));
    CHECK(count_of(other) == 0 && files(false) == 1 && size_of(path) == 20 + 16);
    finish();
}

/* Some files end within a block, one in several. */
static void every_damage_is_noticed(void) {
    static char whole[200000], changed[200000];
    start();
    OK(kvreg_bucket_put_int(bucket, "k", 1, 1));
    OK(kvreg_bucket_put_string(bucket, "text", 4, "text", 4));
    for (int round = 0; round < 2; round++) {
        OK(kvreg_bucket_save(bucket, path, KVREG_NUL));
        size_t len = read_file(whole, sizeof whole);
        size_t step = round == 0 ? 1 : 997;
        for (size_t at = 0; at < len; at += step)
            for (int bit = 0; bit < 8; bit += step == 1 ? 1 : 5) {
                memcpy(changed, whole, len);
                changed[at] = (char)(changed[at] ^ 1 << bit);
                write_file(changed, len);
                IS(KVREG_IO, kvreg_bucket_restore(other, path, KVREG_NUL));
                CHECK(count_of(other) == 0 && kvreg_last_os_error() == 0);
            }
        for (size_t at = 0; at < len; at += step) {
            write_file(whole, at);
            IS(KVREG_IO, kvreg_bucket_restore(other, path, KVREG_NUL));
        }
        whole[len] = 0; /* one byte too many */
        write_file(whole, len + 1);
        IS(KVREG_IO, kvreg_bucket_restore(other, path, KVREG_NUL));
        CHECK(count_of(other) == 0);
        write_file(whole, len);
        OK(kvreg_bucket_restore(other, path, KVREG_NUL));
        CHECK(count_of(other) == count_of(bucket));
        OK(kvreg_bucket_clear(other));
        OK(kvreg_bucket_put_bytes(bucket, "large", 5, changed, 150000));
    }
    finish();
}

/* As the library has it. */
static uint32_t checksum(const void *data, size_t len) {
    uint32_t sum = UINT32_MAX;
    for (size_t i = 0; i < len; i++) {
        sum ^= ((const uint8_t *)data)[i];
        for (int bit = 0; bit < 8; bit++) sum = sum >> 1 ^ (0xedb88320u & (0u - (sum & 1)));
    }
    return ~sum;
}

static char made[512];
static size_t made_len;

static void append(const void *data, size_t len) {
    memcpy(made + made_len, data, len);
    made_len += len;
}

static void append_sum(size_t from) {
    uint32_t sum = checksum(made + from, made_len - from);
    append(&sum, 4);
}

static void make_head(uint32_t version) {
    made_len = 0;
    append("kvregsav", 8);
    append(&version, 4);
    append("\0\0\0\0", 4);
    append_sum(0);
}

typedef struct made_entry {
    uint8_t type;
    uint32_t key_len, value_len;
    uint64_t revision;
    int64_t deadline;
    const char *bytes; /* of key and value */
} made_entry;

/* A file whose checksums are right, whatever it says. */
static void make_file(const made_entry *entries, size_t count, uint64_t told) {
    make_head(1);
    size_t from = made_len;
    if (count > 0) {
        append("\0\0\0\0", 4);
        for (size_t i = 0; i < count; i++) {
            append(&entries[i].type, 1);
            append(&entries[i].key_len, 4);
            append(&entries[i].value_len, 4);
            append(&entries[i].revision, 8);
            append(&entries[i].deadline, 8);
            append(entries[i].bytes, strlen(entries[i].bytes));
        }
        uint32_t len = (uint32_t)(made_len - from - 4);
        memcpy(made + from, &len, 4);
        append_sum(from);
    }
    from = made_len;
    append("\0\0\0\0", 4);
    append(&told, 8);
    append_sum(from);
    write_file(made, made_len);
}

static void what_cannot_be_is_noticed_behind_a_right_checksum(void) {
    start();
    make_head(2);
    write_file(made, made_len);
    IS(KVREG_UNSUPPORTED, kvreg_bucket_restore(other, path, KVREG_NUL));
    make_head(UINT32_MAX);
    write_file(made, made_len);
    IS(KVREG_UNSUPPORTED, kvreg_bucket_restore(other, path, KVREG_NUL));
    make_head(0);
    write_file(made, made_len);
    IS(KVREG_IO, kvreg_bucket_restore(other, path, KVREG_NUL));
    const made_entry fine = {KVREG_STRING, 1, 4, 5, -1, "ktext"};
    const made_entry wrong[] = {
        {KVREG_STRING, 1, 0xfffffff0, 5, -1, "ktext"},    {KVREG_STRING, 0xffffffff, 4, 5, -1, "ktext"},
        {KVREG_BYTES, 1, 512 << 20, 5, -1, "ktext"},      {KVREG_STRING, 1, 5, 5, -1, "ktext"},
        {KVREG_STRING, 1, 3, 5, -1, "ktext"},             {KVREG_STRING, 1, 4, 0, -1, "ktext"},
        {KVREG_STRING, 1, 4, 5, -2, "ktext"},             {KVREG_STRING, 1, 4, 5, INT64_MIN, "ktext"},
        {KVREG_BYTES + 1, 1, 4, 5, -1, "ktext"},          {KVREG_NIL, 1, 4, 5, -1, "ktext"},
        {KVREG_BOOL, 1, 1, 5, -1, "k\2"},                 {KVREG_INT, 1, 7, 5, -1, "k1234567"},
        {KVREG_FLOAT, 1, 4, 5, -1, "ktext"},              {KVREG_STRING, 1, 1, 5, -1, "k\xff"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        make_file(&wrong[i], 1, 1);
        IS(KVREG_IO, kvreg_bucket_restore(other, path, KVREG_NUL));
        CHECK(count_of(other) == 0);
    }
    made_entry two[] = {fine, fine};
    make_file(two, 2, 2); /* not rising */
    IS(KVREG_IO, kvreg_bucket_restore(other, path, KVREG_NUL));
    two[1].revision = 6;
    two[1].bytes = "ltext";
    make_file(two, 2, 1);
    IS(KVREG_IO, kvreg_bucket_restore(other, path, KVREG_NUL));
    make_file(two, 2, 2);
    OK(kvreg_bucket_restore(other, path, KVREG_NUL));
    CHECK(count_of(other) == 2);
    OK(kvreg_bucket_clear(other));
    two[0].deadline = 1000; /* long ago */
    make_file(two, 2, 2);
    OK(kvreg_bucket_restore(other, path, KVREG_NUL));
    CHECK(count_of(other) == 1 && revision_of(other, "l") != 0);
    finish();
}

static void limits_are_asked(void) {
    start();
    for (int i = 0; i < 10; i++) OK(kvreg_bucket_put_bytes(bucket, (char[]){(char)i}, 1, "text", 4));
    OK(kvreg_bucket_save(bucket, path, KVREG_NUL));
    for (int kind = 0; kind < 3; kind++) {
        kvreg_bucket_options options = kvreg_bucket_options_init();
        if (kind == 0) options.max_keys = 9;
        if (kind == 1) options.max_bytes = 49;
        if (kind == 2) options.max_value = 3;
        kvreg_bucket *limited;
        OK(kvreg_bucket_start_with(&options, &limited));
        IS(KVREG_LIMIT, kvreg_bucket_restore(limited, path, KVREG_NUL));
        CHECK(count_of(limited) == 0);
        OK(kvreg_bucket_put_bytes(limited, "k", 1, "x", 1)); /* it is as new */
        OK(kvreg_bucket_free(limited));
    }
    finish();
}

static void what_the_system_refuses_leaves_the_old_file(void) {
    static char large[200000], before[1000], after[1000];
    char name[400];
    start();
    OK(kvreg_bucket_put_int(bucket, "k", 1, 1));
    snprintf(name, sizeof name, "%s/none/saved", folder);
    IS(KVREG_IO, kvreg_bucket_save(bucket, name, KVREG_NUL));
    CHECK(kvreg_last_os_error() == NO_FOLDER);
    IS(KVREG_IO, kvreg_bucket_restore(other, name, KVREG_NUL));
    CHECK(kvreg_last_os_error() == NO_FOLDER);
    IS(KVREG_IO, kvreg_bucket_save(bucket, folder, KVREG_NUL)); /* a folder is not replaced */
    CHECK(kvreg_last_os_error() == IS_FOLDER && files(false) == 0);
    IS(KVREG_IO, kvreg_bucket_restore(other, folder, KVREG_NUL));
#ifndef _WIN32
    CHECK(mkfifo(path, 0600) == 0);
    IS(KVREG_IO, kvreg_bucket_restore(other, path, KVREG_NUL)); /* nor is anybody waited for */
    CHECK(remove(path) == 0);

    mode_t had = umask(027);
    OK(kvreg_bucket_save(bucket, path, KVREG_NUL));
    umask(had);
    struct stat about;
    CHECK(stat(path, &about) == 0 && (about.st_mode & 0777) == 0640);
#endif

    OK(kvreg_bucket_save(bucket, path, KVREG_NUL));
    size_t len = read_file(before, sizeof before);
    OK(kvreg_bucket_put_bytes(bucket, "large", 5, large, sizeof large));
#ifndef _WIN32
    struct rlimit limit, full = {100000, 0};
    CHECK(getrlimit(RLIMIT_FSIZE, &limit) == 0);
    full.rlim_max = limit.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    CHECK(setrlimit(RLIMIT_FSIZE, &full) == 0);
    IS(KVREG_IO, kvreg_bucket_save(bucket, path, KVREG_NUL));
    CHECK(kvreg_last_os_error() == EFBIG);
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
#else
    /* Who has the file open, and lets nobody else have it. */
    HANDLE open = CreateFileA(path, GENERIC_READ, 0, NULL, OPEN_EXISTING, 0, NULL);
    CHECK(open != INVALID_HANDLE_VALUE);
    IS(KVREG_IO, kvreg_bucket_save(bucket, path, KVREG_NUL));
    CHECK(kvreg_last_os_error() == ERROR_ACCESS_DENIED ||
          kvreg_last_os_error() == ERROR_SHARING_VIOLATION);
    IS(KVREG_IO, kvreg_bucket_restore(other, path, KVREG_NUL));
    CHECK(kvreg_last_os_error() == ERROR_SHARING_VIOLATION);
    CHECK(CloseHandle(open));
#endif
    CHECK(files(false) == 1);
    CHECK(read_file(after, sizeof after) == len && memcmp(before, after, len) == 0);
    OK(kvreg_bucket_save(bucket, path, KVREG_NUL));
    CHECK(size_of(path) > sizeof large);
    finish();
}

static void arguments(void) {
    static char long_name[40000];
    start();
    memset(long_name, 'x', sizeof long_name - 1);
    const char *const wrong[] = {"", "\xff", NULL, long_name};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_save(bucket, wrong[i], KVREG_NUL));
        IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_restore(bucket, wrong[i], KVREG_NUL));
    }
    IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_save(bucket, "a\0b", 3));
    IS(KVREG_INVALID_ARGUMENT, kvreg_bucket_save(bucket, long_name, SIZE_MAX - 1));
    IS(KVREG_BAD_HANDLE, kvreg_bucket_save(NULL, "", 0));
    IS(KVREG_BAD_HANDLE, kvreg_bucket_restore(NULL, "", 0));
    long_name[5000] = 0; /* longer than the system's */
    IS(KVREG_IO, kvreg_bucket_save(bucket, long_name, KVREG_NUL));
#ifdef _WIN32
    CHECK(kvreg_last_os_error() != 0); /* Wine says another one than Windows */
#else
    CHECK(kvreg_last_os_error() == ENAMETOOLONG);
#endif
    OK(kvreg_bucket_stop(bucket));
    IS(KVREG_NO_PROCESS, kvreg_bucket_save(bucket, path, KVREG_NUL));
    IS(KVREG_NO_PROCESS, kvreg_bucket_restore(bucket, path, KVREG_NUL));
    CHECK(files(false) == 0);
    finish();
}

/* What is saved beside a writer is one instant: twins are alike. */

static atomic_bool is_over;

static void *writes(void *unused) {
    (void)unused;
    for (int64_t number = 0; !atomic_load(&is_over); number++) {
        kvreg_pair twins[2] = {{"a", 1, kvreg_int(number)}, {"b", 1, kvreg_int(number)}};
        OK(kvreg_bucket_put_many(bucket, twins, 2));
    }
    return NULL;
}

static void what_is_saved_is_one_instant(void) {
    pthread_t writer;
    start();
    OK(kvreg_bucket_set_timeout(bucket, -1));
    OK(kvreg_bucket_put_int(bucket, "a", 1, 0));
    OK(kvreg_bucket_put_int(bucket, "b", 1, 0));
    static char text[1000];
    for (int i = 0; i < 1000; i++)
        OK(kvreg_bucket_put_bytes(bucket, (char *)&i, sizeof i, text, sizeof text));
    atomic_store(&is_over, false);
    CHECK(pthread_create(&writer, NULL, writes, NULL) == 0);
    for (unsigned long round = 0; round < check_count(10000) / 200; round++) {
        int64_t twins[2];
        OK(kvreg_bucket_save(bucket, path, KVREG_NUL));
        OK(kvreg_bucket_restore(other, path, KVREG_NUL));
        CHECK(count_of(other) == 1002);
        OK(kvreg_bucket_get_int(other, "a", 1, &twins[0]));
        OK(kvreg_bucket_get_int(other, "b", 1, &twins[1]));
        CHECK(twins[0] == twins[1]);
        OK(kvreg_bucket_clear(other));
    }
    atomic_store(&is_over, true);
    pthread_join(writer, NULL);
    finish();
}

#ifndef _WIN32
/* In a process of its own: saves again and again, each time more, until it is killed. */
static void save_for_ever(int told) {
    static char text[5000];
    kvreg_bucket *saved;
    OK(kvreg_bucket_start(&saved));
    for (int64_t number = 1;; number++) {
        for (int64_t i = 0; i < 20; i++) {
            int64_t key = number % 2 * 20 + i;
            OK(kvreg_bucket_put_bytes(saved, &key, sizeof key, text, sizeof text));
        }
        OK(kvreg_bucket_put_int(saved, "number", 6, number));
        OK(kvreg_bucket_save(saved, path, KVREG_NUL));
        if (write(told, &number, sizeof number) != sizeof number) _exit(1);
    }
}

static void a_kill_leaves_the_old_file_or_the_new_one(void) {
    unsigned random = 1;
    start();
    for (unsigned long round = 0; round < check_scaled(40); round++) {
        int pipes[2];
        CHECK(pipe(pipes) == 0);
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            close(pipes[0]);
            save_for_ever(pipes[1]);
        }
        close(pipes[1]);
        int64_t saved = 0, more;
        random = random * 1103515245 + 12345;
        while (saved < 1 + (random >> 16) % 4)
            CHECK(read(pipes[0], &saved, sizeof saved) == sizeof saved);
        for (unsigned spin = (random >> 20) % 4096 * 64; spin > 0; spin--) atomic_load(&is_over);
        CHECK(kill(child, SIGKILL) == 0 && waitpid(child, NULL, 0) == child);
        while (read(pipes[0], &more, sizeof more) == sizeof more) saved = more;
        close(pipes[0]);
        OK(kvreg_bucket_restore(other, path, KVREG_NUL));
        int64_t number;
        OK(kvreg_bucket_get_int(other, "number", 6, &number));
        CHECK(number == saved || number == saved + 1);
        CHECK(count_of(other) == (number == 1 ? 21 : 41));
        OK(kvreg_bucket_clear(other));
        files(true);
    }
    finish();
}
#endif

static const test tests[] = {
    TEST(all_comes_back),
    TEST(every_damage_is_noticed),
    TEST(what_cannot_be_is_noticed_behind_a_right_checksum),
    TEST(limits_are_asked),
    TEST(what_the_system_refuses_leaves_the_old_file),
    TEST(arguments),
    TEST(what_is_saved_is_one_instant),
#ifndef _WIN32
    TEST(a_kill_leaves_the_old_file_or_the_new_one),
#endif
};

CHECK_MAIN(tests)
