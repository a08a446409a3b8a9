/*
 * An engine of 300 lines: dir:PATH keeps each bucket in a file of a directory, as a log of its changes.
 *
 *     cc -std=c11 -shared -fPIC dir.c -o libkvreg_dir.so -I../../include
 *     kvreg_engine_load("./libkvreg_dir.so", KVREG_NUL);
 *     options.store = "dir:/var/lib/shop";
 *
 * A file begins with a mark, and has one record for each write: its length, its checksum, and the
 * changes. A write is there when its record is, whole, and on the disk; what a crash leaves of a
 * record is cut off when the file is opened. With dir:PATH?sync=never nothing waits for the disk: then
 * a crash of the machine may take the last writes.
 *
 * The file is locked as long as it is open, so two processes cannot have it, nor two registries.
 * It grows with each change; when it is opened, and most of it is old, it is written anew.
 */
#define _GNU_SOURCE
#include <kvreg_engine.h>

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define SCHEME "dir:"
#define MARK "kvregdir"
enum { MARK_LEN = 8, RECORD_HEAD = 8, CHANGE_HEAD = 32, PATH_MOST = 4096, FILES_MOST = 1024 };

/* What a change is in the file, beside those of kvreg_engine_write: no change, but the revision. */
enum { REVISION_ONLY = 255 };

typedef struct dir_store {
    int file;
    bool is_synced;
    off_t len;
    const kvreg_engine_host *host;
    char path[PATH_MOST];
} dir_store;

/* A change, as it lies in what was read. */
typedef struct change {
    const unsigned char *at;
    size_t number;
    uint32_t key_len, value_len;
} change;

/* The files that are open, for a child of a fork: 0 is none. */
static atomic_int files[FILES_MOST];

static void note_file(int from, int to) {
    for (size_t i = 0; i < FILES_MOST; i++) {
        int expected = from;
        if (atomic_compare_exchange_strong(&files[i], &expected, to)) return;
    }
}

static void forked(void) {
    for (size_t i = 0; i < FILES_MOST; i++) {
        int file = atomic_exchange(&files[i], 0);
        if (file > 0) close(file);
    }
}

static kvreg_status failed(const kvreg_engine_host *host, const char *what, kvreg_status status) {
    int error = errno;
    char text[PATH_MOST + 200];
    snprintf(text, sizeof text, "%s: %s", what, strerror(error));
    host->explain(text, strlen(text), error);
    return status;
}

/* CRC-32, bit by bit: an example may be slow. */
static uint32_t checksum(const unsigned char *data, size_t len) {
    uint32_t sum = 0xffffffffu;
    for (size_t i = 0; i < len; i++) {
        sum ^= data[i];
        for (int bit = 0; bit < 8; bit++) sum = sum >> 1 ^ (0xedb88320u & (0u - (sum & 1u)));
    }
    return ~sum;
}

/* dir:PATH?sync=never, and the file of a bucket there: its name, in hexadecimal digits. */
static kvreg_status find_path(const kvreg_engine_open *open, char *path, bool *is_synced) {
    const char *url = open->url.data + strlen(SCHEME);
    size_t len = open->url.len - strlen(SCHEME);
    const char *query = memchr(url, '?', len);
    size_t path_len = query == NULL ? len : (size_t)(query - url);
    size_t query_len = len - path_len;
    *is_synced = true;
    if (query_len != 0) {
        bool is_never = query_len == 11 && memcmp(query, "?sync=never", 11) == 0;
        bool is_always = query_len == 12 && memcmp(query, "?sync=always", 12) == 0;
        if (!is_never && !is_always) {
            static const char text[] = "dir: has one parameter, sync=always or sync=never";
            open->host->explain(text, sizeof text - 1, 0);
            return KVREG_INVALID_ARGUMENT;
        }
        *is_synced = is_always;
    }
    if (path_len == 0 || path_len + 2 * open->bucket.len + 8 > PATH_MOST ||
        2 * open->bucket.len + 4 > 255 || memchr(url, 0, path_len) != NULL) {
        static const char text[] = "the path is empty or too long, or the bucket's name is";
        open->host->explain(text, sizeof text - 1, 0);
        return KVREG_INVALID_ARGUMENT;
    }
    int at = snprintf(path, PATH_MOST, "%.*s/", (int)path_len, url);
    for (size_t i = 0; i < open->bucket.len; i++)
        at += snprintf(path + at, 3, "%02x", (unsigned char)open->bucket.data[i]);
    strcpy(path + at, ".log");
    return KVREG_OK;
}

static bool write_all(int file, const void *data, size_t len) {
    const char *at = data;
    while (len != 0) {
        ssize_t written = write(file, at, len);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return false;
        at += written;
        len -= (size_t)written;
    }
    return true;
}

/* Brings the directory's entry of a file to the disk. */
static bool sync_folder(const char *path) {
    char folder[PATH_MOST];
    strcpy(folder, path);
    *strrchr(folder, '/') = 0;
    int file = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool is_synced = file >= 0 && (fsync(file) == 0 || errno == EINVAL);
    if (file >= 0) close(file);
    return is_synced;
}

static void close_store(void *place) {
    dir_store *store = place;
    note_file(store->file, 0);
    close(store->file);
    free(store);
}

static kvreg_status open_store(const kvreg_engine_open *given, int64_t deadline, void **out) {
    dir_store *store = calloc(1, sizeof *store);
    if (store == NULL) return KVREG_NO_MEMORY;
    (void)deadline; /* a lock that another process has it has for long */
    store->host = given->host;
    kvreg_status status = find_path(given, store->path, &store->is_synced);
    if (status != KVREG_OK) {
        free(store);
        return status;
    }
    store->file = open(store->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (store->file < 0) {
        status = failed(given->host, store->path, KVREG_IO);
        free(store);
        return status;
    }
    note_file(0, store->file);
    struct stat about;
    if (flock(store->file, LOCK_EX | LOCK_NB) != 0 || fstat(store->file, &about) != 0) {
        status = failed(given->host, "another has the file of the bucket", KVREG_IO);
        close_store(store);
        return status;
    }
    store->len = about.st_size;
    if (store->len < MARK_LEN) { /* new, or made by who did not live to see it */
        bool is_made = ftruncate(store->file, 0) == 0 &&
                       write_all(store->file, MARK, MARK_LEN) &&
                       (!store->is_synced || (fsync(store->file) == 0 && sync_folder(store->path)));
        if (!is_made) {
            status = failed(given->host, store->path, KVREG_IO);
            close_store(store);
            return status;
        }
        store->len = MARK_LEN;
    }
    *out = store;
    return KVREG_OK;
}

static void put32(unsigned char *to, uint32_t number) { memcpy(to, &number, sizeof number); }

static uint32_t get32(const unsigned char *from) {
    uint32_t number;
    memcpy(&number, from, sizeof number);
    return number;
}

static bool is_text(const kvreg_value *value) {
    return value->type == KVREG_STRING || value->type == KVREG_BYTES;
}

/* kind, type, two of nothing, the lengths of key and value, the revision, when it goes, and the eight
 * bytes of a number; then key and value. */
static unsigned char *put_change(unsigned char *to, const kvreg_engine_write *write) {
    uint32_t value_len = is_text(&write->value) ? (uint32_t)write->value.as.text.len : 0;
    to[0] = (unsigned char)write->kind;
    to[1] = (unsigned char)write->value.type;
    to[2] = to[3] = 0;
    put32(to + 4, (uint32_t)write->key.len);
    put32(to + 8, value_len);
    put32(to + 12, 0);
    memcpy(to + 16, &write->revision, 8);
    memcpy(to + 24, &write->expires_ms, 8);
    to += CHANGE_HEAD;
    memset(to, 0, 8);
    if (write->value.type == KVREG_BOOL) to[0] = write->value.as.boolean;
    if (write->value.type == KVREG_INT) memcpy(to, &write->value.as.integer, 8);
    if (write->value.type == KVREG_FLOAT) memcpy(to, &write->value.as.real, 8);
    to += 8;
    memcpy(to, write->key.data, write->key.len);
    to += write->key.len;
    if (value_len != 0) memcpy(to, write->value.as.text.data, value_len);
    return to + value_len;
}

/* Appends one record; `len` is what the file has before and afterwards. */
static kvreg_status append(dir_store *store, int file, off_t *len, const kvreg_engine_write *writes,
                           size_t count) {
    size_t size = RECORD_HEAD;
    for (size_t i = 0; i < count; i++) {
        const kvreg_value *value = &writes[i].value;
        size += CHANGE_HEAD + 8 + writes[i].key.len + (is_text(value) ? value->as.text.len : 0);
    }
    if (size - RECORD_HEAD > UINT32_MAX) return KVREG_LIMIT;
    unsigned char *record = malloc(size), *end = record + RECORD_HEAD;
    if (record == NULL) return KVREG_NO_MEMORY;
    for (size_t i = 0; i < count; i++) end = put_change(end, &writes[i]);
    put32(record, (uint32_t)(size - RECORD_HEAD));
    put32(record + 4, checksum(record + RECORD_HEAD, size - RECORD_HEAD));
    kvreg_status status = KVREG_OK;
    if (lseek(file, *len, SEEK_SET) < 0 || !write_all(file, record, size)) {
        bool is_full = errno == ENOSPC || errno == EDQUOT || errno == EFBIG;
        status = failed(store->host, store->path, is_full ? KVREG_LIMIT : KVREG_IO);
        /* Nothing is there if it is cut off again; else nobody knows. */
        if (ftruncate(file, *len) != 0) status = KVREG_IO;
    } else if (store->is_synced && fdatasync(file) != 0) {
        status = failed(store->host, store->path, KVREG_IO);
    } else {
        *len += (off_t)size;
    }
    free(record);
    return status;
}

static kvreg_status write_store(void *place, const kvreg_engine_write *writes, size_t count,
                                int64_t deadline, uint64_t *given) {
    dir_store *store = place;
    (void)deadline, (void)given;
    return append(store, store->file, &store->len, writes, count);
}

static const unsigned char *key_of(const change *it) { return it->at + CHANGE_HEAD + 8; }

static bool is_same_key(const change *one, const change *other) {
    return one->key_len == other->key_len &&
           memcmp(key_of(one), key_of(other), one->key_len) == 0;
}

static int by_key(const void *one, const void *other) {
    const change *a = one, *b = other;
    const unsigned char *a_key = key_of(a), *b_key = key_of(b);
    size_t common = a->key_len < b->key_len ? a->key_len : b->key_len;
    int order = memcmp(a_key, b_key, common);
    if (order != 0) return order;
    if (a->key_len != b->key_len) return a->key_len < b->key_len ? -1 : 1;
    return a->number < b->number ? -1 : a->number > b->number;
}

/* The changes of a file, up to the first record that is not whole; `*len` is where that begins. */
static change *read_changes(const unsigned char *data, off_t *len, size_t *count,
                            uint64_t *revision) {
    size_t room = 64, found = 0;
    off_t at = MARK_LEN;
    change *changes = malloc(room * sizeof *changes);
    while (changes != NULL && *len - at >= RECORD_HEAD) {
        uint32_t size = get32(data + at);
        if (*len - at - RECORD_HEAD < (off_t)size ||
            checksum(data + at + RECORD_HEAD, size) != get32(data + at + 4))
            break;
        const unsigned char *from = data + at + RECORD_HEAD, *end = from + size;
        while (from < end) {
            change one = {from, found, get32(from + 4), get32(from + 8)};
            uint64_t its;
            memcpy(&its, from + 16, 8);
            if (its > *revision) *revision = its;
            from += CHANGE_HEAD + 8 + one.key_len + one.value_len;
            if (*one.at == KVREG_ENGINE_CLEAR) found = 0;
            if (*one.at > KVREG_ENGINE_DELETE) continue;
            if (found == room) {
                change *more = realloc(changes, (room *= 2) * sizeof *changes);
                if (more == NULL) free(changes);
                changes = more;
                if (changes == NULL) return NULL;
            }
            one.number = found;
            changes[found++] = one;
        }
        at += RECORD_HEAD + (off_t)size;
    }
    *len = at;
    *count = found;
    return changes;
}

static kvreg_engine_entry entry_of(const change *it) {
    kvreg_engine_entry entry;
    memset(&entry, 0, sizeof entry);
    const unsigned char *number = it->at + CHANGE_HEAD, *key = number + 8;
    entry.size = sizeof entry;
    entry.key = (kvreg_text){(const char *)key, it->key_len};
    entry.value.type = it->at[1];
    memcpy(&entry.revision, it->at + 16, 8);
    memcpy(&entry.expires_ms, it->at + 24, 8);
    if (entry.value.type == KVREG_BOOL) entry.value.as.boolean = number[0] != 0;
    if (entry.value.type == KVREG_INT) memcpy(&entry.value.as.integer, number, 8);
    if (entry.value.type == KVREG_FLOAT) memcpy(&entry.value.as.real, number, 8);
    if (is_text(&entry.value)) {
        entry.value.as.text.data = (const void *)(key + it->key_len);
        entry.value.as.text.len = it->value_len;
    }
    return entry;
}

/* The file anew, with what counts: beside the old one, then in its place, with the lock. */
static kvreg_status write_anew(dir_store *store, const change *changes, size_t count,
                               uint64_t revision) {
    char path[PATH_MOST + 8];
    snprintf(path, sizeof path, "%s.new", store->path);
    int file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (file < 0) return KVREG_OK; /* then it stays as it is */
    off_t len = MARK_LEN;
    kvreg_engine_write write = {.size = sizeof write, .kind = REVISION_ONLY, .revision = revision,
                                .key = {"", 0}};
    bool is_whole = flock(file, LOCK_EX | LOCK_NB) == 0 && write_all(file, MARK, MARK_LEN) &&
                    append(store, file, &len, &write, 1) == KVREG_OK;
    for (size_t i = 0; is_whole && i < count; i++) {
        kvreg_engine_entry entry = entry_of(&changes[i]);
        write = (kvreg_engine_write){sizeof write, KVREG_ENGINE_PUT, entry.key, entry.value,
                                     entry.revision, entry.expires_ms, KVREG_ENGINE_ANY};
        is_whole = append(store, file, &len, &write, 1) == KVREG_OK;
    }
    if (!is_whole || fsync(file) != 0 || rename(path, store->path) != 0) {
        close(file);
        unlink(path);
        return KVREG_OK;
    }
    note_file(store->file, file);
    close(store->file);
    store->file = file;
    store->len = len;
    return sync_folder(store->path) ? KVREG_OK : failed(store->host, store->path, KVREG_IO);
}

static kvreg_status scan_store(void *place, const kvreg_scan_options *which, int64_t deadline,
                               void *out) {
    dir_store *store = place;
    (void)deadline, (void)which;
    unsigned char *data = malloc((size_t)store->len);
    size_t count = 0, kept = 0;
    uint64_t revision = 0;
    if (data == NULL) return KVREG_NO_MEMORY;
    off_t have = 0, whole = store->len;
    while (have < store->len) {
        ssize_t got = pread(store->file, data + have, (size_t)(store->len - have), have);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        have += got;
    }
    if (have < store->len || memcmp(data, MARK, MARK_LEN) != 0) {
        free(data);
        errno = have < store->len ? errno : EINVAL;
        return failed(store->host, store->path, KVREG_IO);
    }
    change *changes = read_changes(data, &whole, &count, &revision);
    kvreg_status status = changes == NULL ? KVREG_NO_MEMORY : KVREG_OK;
    if (status == KVREG_OK && whole < store->len && ftruncate(store->file, whole) != 0)
        status = failed(store->host, store->path, KVREG_IO);
    store->len = whole;
    if (status == KVREG_OK) {
        qsort(changes, count, sizeof *changes, by_key);
        for (size_t i = 0; i < count; i++) {
            bool is_last = i + 1 == count || !is_same_key(&changes[i], &changes[i + 1]);
            if (is_last && *changes[i].at == KVREG_ENGINE_PUT) changes[kept++] = changes[i];
        }
        status = store->host->last_revision(out, revision);
    }
    for (size_t i = 0; status == KVREG_OK && i < kept; i++) {
        kvreg_engine_entry entry = entry_of(&changes[i]);
        status = store->host->found(out, &entry);
    }
    if (status == KVREG_OK && count > 2 * kept + 1000)
        status = write_anew(store, changes, kept, revision);
    free(changes);
    free(data);
    return status;
}

static kvreg_status destroy_store(const kvreg_engine_open *given, int64_t deadline) {
    char path[PATH_MOST];
    bool is_synced;
    (void)deadline;
    kvreg_status status = find_path(given, path, &is_synced);
    if (status != KVREG_OK) return status;
    int file = open(path, O_RDWR | O_CLOEXEC);
    if (file < 0) return errno == ENOENT ? KVREG_NOT_FOUND : failed(given->host, path, KVREG_IO);
    bool is_gone = flock(file, LOCK_EX | LOCK_NB) == 0 && unlink(path) == 0 &&
                   (!is_synced || sync_folder(path));
    if (!is_gone) status = failed(given->host, path, KVREG_IO);
    close(file);
    return status;
}

static const kvreg_engine engine = {
    .size = sizeof engine,
    .abi = KVREG_ENGINE_ABI,
    .abilities = KVREG_ENGINE_EXCLUSIVE,
    .open = open_store,
    .close = close_store,
    .write = write_store,
    .scan = scan_store,
    .destroy = destroy_store,
    .forked = forked,
};

__attribute__((visibility("default"))) kvreg_status kvreg_engine_init(uint32_t abi,
                                                                      kvreg_engine_add_fn *add) {
    return abi == KVREG_ENGINE_ABI ? add("dir", KVREG_NUL, &engine) : KVREG_UNSUPPORTED;
}
