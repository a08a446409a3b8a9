/* The registry, and a server in C by callbacks; see together.js. */
#include <kvreg.h>

#include <stdio.h>
#include <string.h>

kvreg_status native_start(kvreg_registry **registry);

/* A text ends at its NUL. */
static const char *text_of(const kvreg_value *value) {
    return (const char *)value->as.text.data;
}

/* Answers with a text. */
static kvreg_verdict say(kvreg_value *reply, const char *text) {
    kvreg_status copied = kvreg_value_copy_text(reply, text, KVREG_NUL);
    return copied == KVREG_OK ? KVREG_KEEP : KVREG_ABORT;
}

static kvreg_verdict greet(const char *who, kvreg_value *reply) {
    char text[64];
    snprintf(text, sizeof text, "C greets %s", who);
    return say(reply, text);
}

/* Has another server greet this one, on the thread that called this one. */
static kvreg_verdict ask(kvreg_registry *registry, const char *whom, kvreg_value *reply) {
    kvreg_value me = kvreg_string("C", KVREG_NUL), answer;
    char text[256];
    if (kvreg_registry_call(registry, whom, KVREG_NUL, "greet", KVREG_NUL, &me, 1, &answer) !=
        KVREG_OK) {
        kvreg_last_error(text, sizeof text);
        say(reply, text);
        return KVREG_ABORT;
    }
    kvreg_verdict verdict = say(reply, answer.type == KVREG_STRING ? text_of(&answer) : "?");
    kvreg_value_clear(&answer);
    return verdict;
}

static kvreg_verdict handle(void *state, const kvreg_message *message, kvreg_value *reply) {
    if (message->count != 1 || message->values[0].type != KVREG_STRING) return KVREG_UNHANDLED;
    const char *text = text_of(message->values);
    if (strcmp(message->tag.data, "greet") == 0) return greet(text, reply);
    if (strcmp(message->tag.data, "ask") == 0) return ask(state, text, reply);
    return KVREG_UNHANDLED;
}

kvreg_status native_start(kvreg_registry **registry) {
    kvreg_registry_options named = kvreg_registry_options_init();
    kvreg_server_options options = kvreg_server_options_init();
    named.name = "together";
    named.name_len = KVREG_NUL;
    kvreg_status status = kvreg_registry_start(&named, registry);
    if (status != KVREG_OK) return status;
    options.handle = handle;
    options.argument = *registry; /* its handle is the state */
    return kvreg_registry_start_server(*registry, "C", KVREG_NUL, 0, &options, NULL, NULL);
}
