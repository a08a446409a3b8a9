/* The handler of a server in C that Python calls: it adds. */
#include "kvreg.h"

kvreg_verdict adds(void *state, const kvreg_message *message, kvreg_value *reply) {
    (void)state;
    if (message->count != 2) return KVREG_UNHANDLED;
    *reply = kvreg_int(message->values[0].as.integer + message->values[1].as.integer);
    return KVREG_KEEP;
}
