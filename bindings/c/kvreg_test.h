/*
 * kvreg_test.h: for tests in C, with whatever runs them: what a test has left behind.
 *
 *     kvreg_live before = kvreg_test_begin();
 *     ... the test, which stops and frees what it has started ...
 *     assert(kvreg_test_end(&before));
 *
 * Tests of one process that run at the same time see what the others have: then it tells nothing.
 */
#ifndef KVREG_TEST_H
#define KVREG_TEST_H

#include <stdio.h>

#include "kvreg.h"

/* What lives in kvreg before a test; nothing after kvreg_shutdown. Never blocks. */
static inline kvreg_live kvreg_test_begin(void) {
    kvreg_live live = kvreg_live_init();
    kvreg_live_counts(&live);
    return live;
}

/* How many more there are, which is said on stderr. */
static inline uint64_t kvreg_test_more(const char *what, uint64_t before, uint64_t now) {
    if (now <= before)
        return 0;
    fprintf(stderr, "left behind in kvreg: %llu %s\n", (unsigned long long)(now - before), what);
    return now - before;
}

/*
 * Whether no more lives now than before the test; says on stderr what does. What ends on a thread of
 * the library's, as the registry of a listener that was freed, is given a few seconds for it.
 */
static inline bool kvreg_test_end(const kvreg_live *before) {
    kvreg_live now = kvreg_test_begin();
    uint64_t more = 0;
    for (int looks = 0; looks < 1000; looks++) {
        /* An inbox that nobody sends to is a pause on every system. */
        kvreg_inbox *pause = NULL;
        kvreg_event none;
        if (now.registries <= before->registries && now.buckets <= before->buckets &&
            now.servers <= before->servers)
            break;
        if (kvreg_inbox_open(&pause) == KVREG_OK)
            kvreg_inbox_receive(pause, 5, &none);
        kvreg_inbox_free(pause);
        now = kvreg_test_begin();
    }
    more += kvreg_test_more("registries", before->registries, now.registries);
    more += kvreg_test_more("buckets", before->buckets, now.buckets);
    more += kvreg_test_more("registry handles", before->registry_handles, now.registry_handles);
    more += kvreg_test_more("bucket handles", before->bucket_handles, now.bucket_handles);
    more += kvreg_test_more("update handles", before->update_handles, now.update_handles);
    more += kvreg_test_more("items handles", before->items_handles, now.items_handles);
    more += kvreg_test_more("inbox handles", before->inbox_handles, now.inbox_handles);
    more += kvreg_test_more("listener handles", before->listener_handles, now.listener_handles);
    more += kvreg_test_more("servers", before->servers, now.servers);
    more += kvreg_test_more("server handles", before->server_handles, now.server_handles);
    more += kvreg_test_more("turn handles", before->turn_handles, now.turn_handles);
    more += kvreg_test_more("reply handles", before->reply_handles, now.reply_handles);
    return more == 0;
}

#endif /* KVREG_TEST_H */
