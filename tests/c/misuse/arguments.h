/* Misuse: right and wrong arguments, but no pointer that is bad for its length. */
#ifndef MISUSE_ARGUMENTS_H
#define MISUSE_ARGUMENTS_H

#include "actor.h"

struct bytes {
    const char *data;
    size_t len;
};

static struct bytes some_key(struct actor *me) {
    static const char letters[] = "abcd";
    switch (below(me, 24)) {
    case 0:
        return (struct bytes){NULL, 0};
    case 1:
        return (struct bytes){NULL, 1 + below(me, 9)};
    case 2:
        return (struct bytes){"", 0};
    case 3:
        return (struct bytes){"key", KVREG_NUL};
    case 4:
        return (struct bytes){"\0\xff", 2};
    case 5:
        return (struct bytes){big, once_in(me, 2) ? 65537 : BIG};
    case 6:
        return once_in(me, 64) ? (struct bytes){big, 65536} : (struct bytes){big, 300};
    case 7:
        return (struct bytes){NULL, KVREG_NUL};
    case 8:
        return (struct bytes){big, KVREG_NUL}; /* too long, seen only at its NUL */
    default:
        return (struct bytes){letters + below(me, 4), 1};
    }
}

static struct bytes some_name(struct actor *me) {
    static const char digits[] = "012345";
    switch (below(me, 24)) {
    case 0:
        return (struct bytes){NULL, 0};
    case 1:
        return (struct bytes){NULL, 4};
    case 2:
        return (struct bytes){"name", 0};
    case 3:
        return (struct bytes){big, 256};
    case 4:
        return (struct bytes){big, 255};
    case 5:
        return (struct bytes){"\xff\xfe", 2};
    case 6:
        return (struct bytes){"a\0b", 3};
    case 7:
        return (struct bytes){"name", KVREG_NUL};
    case 8:
        return (struct bytes){"\xc3\xbc", 1 + below(me, 2)}; /* sometimes cut in two */
    case 9:
        return (struct bytes){NULL, KVREG_NUL};
    default:
        return (struct bytes){digits + below(me, 6), 1};
    }
}

/* Text or bytes, for values, details and messages. */
static struct bytes some_text(struct actor *me) {
    switch (below(me, 16)) {
    case 0:
        return (struct bytes){NULL, 0};
    case 1:
        return (struct bytes){NULL, 1 + below(me, 9)};
    case 2:
        return (struct bytes){"\xf0\x28\x8c\x28", 4};
    case 3:
        return (struct bytes){"text", KVREG_NUL};
    case 4:
        return (struct bytes){big, once_in(me, 64) ? BIG : 600};
    case 5:
        return (struct bytes){"a\0b", 3};
    case 6:
        return (struct bytes){"\xed\xa0\x80", 3}; /* half a surrogate pair */
    case 7:
        return (struct bytes){big, 505 + below(me, 16)};
    default:
        return (struct bytes){big, below(me, 24)};
    }
}

static kvreg_value some_value(struct actor *me) {
    static const unsigned char two = 2;
    struct bytes text = some_text(me);
    kvreg_value value = kvreg_nil();
    switch (below(me, 12)) {
    case 0:
        break;
    case 1:
        value = kvreg_bool(once_in(me, 2));
        break;
    case 2:
        value = kvreg_bool(true);
        memcpy(&value.as, &two, 1); /* a bool that is none */
        break;
    case 3: case 4: case 5:
        value = kvreg_int((int64_t)next_random(me));
        break;
    case 6:
        value = kvreg_float((double)below(me, 1000) / 3);
        break;
    case 7: case 8:
        value = kvreg_string(text.data, text.len);
        break;
    case 9:
        value.type = KVREG_BYTES + 1 + below(me, 3);
        break;
    case 10:
        value.type = (uint32_t)next_random(me) | 8;
        value.reserved = (uint32_t)next_random(me);
        break;
    default:
        value = kvreg_bytes(text.data, text.len);
    }
    return value;
}

/* A number where few are known. */
static int32_t some_number(struct actor *me, unsigned known) {
    switch (below(me, 16)) {
    case 0:
        return -1;
    case 1:
        return (int32_t)known;
    case 2:
        return (int32_t)next_random(me) | 1 << 20;
    default:
        return (int32_t)below(me, known);
    }
}

static int64_t some_timeout(struct actor *me) {
    switch (below(me, 16)) {
    case 0:
        return -2;
    case 1:
        return INT64_MIN;
    default:
        return short_timeout(me);
    }
}

/* An output is NULL now and then. */
#define OUTPUT(pointer) (once_in(me, 48) ? NULL : (pointer))

#endif
