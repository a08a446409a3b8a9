"""The C interface as ctypes sees it: the structs and the signatures of `kvreg.h`.

Nothing here is called back from C: the two functions that take a callback are left out.
"""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_char_p, c_int, c_int32, c_int64, c_size_t, c_uint32, c_uint64
from ctypes import c_void_p as handle
from typing import Any

# enum { KVREG_NIL, KVREG_BOOL, KVREG_INT, KVREG_FLOAT, KVREG_STRING, KVREG_BYTES,
#        KVREG_ABSENT };
NIL, BOOL, INT, FLOAT, STRING, BYTES, ABSENT = range(7)

# enum { KVREG_EVENT_DOWN, KVREG_EVENT_LOG, KVREG_EVENT_LOST, ... }; the others are reserved.
EVENT_DOWN, EVENT_LOG, EVENT_LOST = range(3)

# enum { KVREG_KEEP, KVREG_STORE, KVREG_REMOVE, KVREG_ABORT, KVREG_CRASH, ... }; the others are
# not of updates.
KEEP, STORE, REMOVE, ABORT, CRASH = range(5)

CREATE_EXCLUSIVE = 1
DEMONITOR_FLUSH = 1


class _Borrowed(ctypes.Structure):
    # ctypes keeps alive what a c_char_p field is set to.
    _fields_ = [("data", c_char_p), ("len", c_size_t)]


class _Payload(ctypes.Union):
    _anonymous_ = ("text",)
    _fields_ = [
        ("boolean", ctypes.c_bool),
        ("integer", c_int64),
        ("real", ctypes.c_double),
        ("text", _Borrowed),
        ("address", handle),  # of the text, for reading: text.data would stop at a NUL
    ]


class Value(ctypes.Structure):
    """`kvreg_value`: 32 bytes, nil when it is made."""

    type: int
    boolean: bool
    integer: int
    real: float
    data: bytes
    len: int
    address: int | None

    _anonymous_ = ("as_",)
    _fields_ = [
        ("type", c_uint32),
        ("reserved", c_uint32),
        ("as_", _Payload),
        ("private_", c_uint64),
    ]


class _Sized(ctypes.Structure):
    """A struct that begins with its size, which is set when it is made; all else is 0."""

    size: int

    def __init__(self, **fields: object) -> None:
        super().__init__(size=ctypes.sizeof(self), **fields)


class Pair(ctypes.Structure):
    """`kvreg_pair`."""

    key: bytes
    key_len: int
    value: Any

    _fields_ = [("key", c_char_p), ("key_len", c_size_t), ("value", Value)]


class Columns(_Sized):
    """`kvreg_columns`."""

    _fields_ = [
        ("size", c_uint32),
        ("type", c_uint32),
        ("count", c_size_t),
        ("keys", c_char_p),
        ("key_lens", handle),
        ("values", handle),
        ("value_lens", handle),
    ]


class Text(ctypes.Structure):
    """`kvreg_text`."""

    address: int | None
    len: int

    _fields_ = [("address", handle), ("len", c_size_t)]

    def decoded(self) -> str:
        """The text, which is UTF-8."""
        return ctypes.string_at(self.address or 0, self.len).decode("utf-8", "replace")


class Event(ctypes.Structure):
    """`kvreg_event`."""

    type: int
    reason: int
    level: int
    status: int
    reference: int
    count: int
    revision: int
    name: Text
    detail: Text
    value: Value

    _fields_ = [
        ("type", c_uint32),
        ("reason", c_int32),
        ("level", c_uint32),
        ("status", c_int32),
        ("reference", c_uint64),
        ("count", c_uint64),
        ("revision", c_uint64),
        ("name", Text),
        ("detail", Text),
        ("value", Value),
        ("private_", c_uint64 * 8),
    ]


class Live(ctypes.Structure):
    """`kvreg_live`; its `size` is to be set."""

    _fields_ = [
        ("size", c_uint32),
        ("reserved", c_uint32),
        ("registries", c_uint64),
        ("buckets", c_uint64),
        ("registry_handles", c_uint64),
        ("bucket_handles", c_uint64),
        ("update_handles", c_uint64),
        ("items_handles", c_uint64),
        ("inbox_handles", c_uint64),
        ("listener_handles", c_uint64),
    ]


class ProcessOptions(_Sized):
    """`kvreg_options`."""

    _fields_ = [
        ("size", c_uint32),
        ("worker_threads", c_uint32),
        ("callback_threads", c_uint32),
        ("max_monitors", c_uint32),
        ("default_timeout_ms", c_int64),
        ("thread_name", c_char_p),
    ]


class BucketOptions(_Sized):
    """`kvreg_bucket_options`."""

    _fields_ = [
        ("size", c_uint32),
        ("restart", c_uint32),
        ("max_restarts", c_uint32),
        ("restart_period_ms", c_uint32),
        ("max_mailbox", c_uint64),
        ("max_keys", c_uint64),
        ("max_bytes", c_uint64),
        ("max_value", c_uint64),
    ]


class RegistryOptions(_Sized):
    """`kvreg_registry_options`."""

    # ctypes keeps alive what a pointer field is set to.
    _fields_ = [
        ("size", c_uint32),
        ("reserved", c_uint32),
        ("name", c_char_p),
        ("name_len", c_size_t),
        ("bucket", POINTER(BucketOptions)),
        ("max_buckets", c_uint64),
        ("max_bytes", c_uint64),
        ("max_mailbox", c_uint64),
    ]


class ListenerOptions(_Sized):
    """`kvreg_listener_options`."""

    _fields_ = [
        ("size", c_uint32),
        ("max_connections", c_uint32),
        ("max_line", c_uint64),
        ("max_backlog", c_uint64),
        ("idle_timeout_ms", c_int64),
        ("unix_mode", c_uint32),
        ("reserved", c_uint32),
        ("password", c_char_p),
        ("password_len", c_size_t),
    ]


class BucketStats(_Sized):
    """`kvreg_bucket_stats`."""

    last_exit: int
    keys: int
    bytes: int
    mailbox: int
    handled: int
    restarts: int

    _fields_ = [
        ("size", c_uint32),
        ("last_exit", c_int32),
        ("keys", c_uint64),
        ("bytes", c_uint64),
        ("mailbox", c_uint64),
        ("handled", c_uint64),
        ("restarts", c_uint64),
    ]


class RegistryStats(_Sized):
    """`kvreg_registry_stats`."""

    last_exit: int
    buckets: int
    keys: int
    bytes: int
    mailbox: int
    handled: int
    restarts: int

    _fields_ = [
        ("size", c_uint32),
        ("last_exit", c_int32),
        ("buckets", c_uint64),
        ("keys", c_uint64),
        ("bytes", c_uint64),
        ("mailbox", c_uint64),
        ("handled", c_uint64),
        ("restarts", c_uint64),
    ]


# Spelled as in the prototypes. Bytes go in as they are; c_char_p refuses a str.
_text = c_char_p
_status = c_int32
_reason = c_int32
_verdict = c_int32
_value = POINTER(Value)
_out = POINTER(handle)  # kvreg_registry **, kvreg_bucket ** and so on
_size_out = POINTER(c_size_t)

# name, result, arguments
SIGNATURES: tuple[tuple[str, Any, list[Any]], ...] = (
    # const char *kvreg_version_string(void);
    ("kvreg_version_string", c_char_p, []),
    # uint32_t kvreg_version_number(void);
    ("kvreg_version_number", c_uint32, []),
    # const char *kvreg_status_name(kvreg_status status);
    ("kvreg_status_name", c_char_p, [_status]),
    # const char *kvreg_status_message(kvreg_status status);
    ("kvreg_status_message", c_char_p, [_status]),
    # const char *kvreg_reason_name(kvreg_reason reason);
    ("kvreg_reason_name", c_char_p, [_reason]),
    # const char *kvreg_verdict_name(kvreg_verdict verdict);
    ("kvreg_verdict_name", c_char_p, [_verdict]),
    # size_t kvreg_last_error(char *buffer, size_t capacity);
    ("kvreg_last_error", c_size_t, [_text, c_size_t]),
    # int32_t kvreg_last_os_error(void);
    ("kvreg_last_os_error", c_int32, []),
    # kvreg_status kvreg_configure(const kvreg_options *options);
    ("kvreg_configure", _status, [POINTER(ProcessOptions)]),
    # kvreg_status kvreg_shutdown(int64_t timeout_ms);
    ("kvreg_shutdown", _status, [c_int64]),
    # kvreg_status kvreg_live_counts(kvreg_live *live);
    ("kvreg_live_counts", _status, [POINTER(Live)]),
    # void kvreg_value_clear(kvreg_value *value);
    ("kvreg_value_clear", None, [_value]),
    # kvreg_status kvreg_value_copy_text(kvreg_value *value, const void *data, size_t len);
    ("kvreg_value_copy_text", _status, [_value, _text, c_size_t]),
    #
    # kvreg_status kvreg_registry_start(const kvreg_registry_options *, kvreg_registry **);
    ("kvreg_registry_start", _status, [POINTER(RegistryOptions), _out]),
    # kvreg_status kvreg_registry_whereis(const char *name, size_t name_len,
    #                                     kvreg_registry **registry);
    ("kvreg_registry_whereis", _status, [_text, c_size_t, _out]),
    # kvreg_status kvreg_registry_clone(kvreg_registry *, kvreg_registry **clone);
    ("kvreg_registry_clone", _status, [handle, _out]),
    # kvreg_status kvreg_registry_set_timeout(kvreg_registry *, int64_t timeout_ms);
    ("kvreg_registry_set_timeout", _status, [handle, c_int64]),
    # kvreg_status kvreg_registry_create(kvreg_registry *, const char *name, size_t name_len,
    #                                    uint32_t flags, kvreg_bucket **bucket);
    ("kvreg_registry_create", _status, [handle, _text, c_size_t, c_uint32, _out]),
    # kvreg_status kvreg_registry_create_with(kvreg_registry *, const char *name, size_t,
    #                                         uint32_t flags, const kvreg_bucket_options *,
    #                                         kvreg_bucket **bucket);
    (
        "kvreg_registry_create_with",
        _status,
        [handle, _text, c_size_t, c_uint32, POINTER(BucketOptions), _out],
    ),
    # kvreg_status kvreg_registry_create_cast(kvreg_registry *, const char *name, size_t);
    ("kvreg_registry_create_cast", _status, [handle, _text, c_size_t]),
    # kvreg_status kvreg_registry_lookup(kvreg_registry *, const char *name, size_t name_len,
    #                                    kvreg_bucket **bucket);
    ("kvreg_registry_lookup", _status, [handle, _text, c_size_t, _out]),
    # kvreg_status kvreg_registry_remove(kvreg_registry *, const char *name, size_t name_len);
    ("kvreg_registry_remove", _status, [handle, _text, c_size_t]),
    # kvreg_status kvreg_registry_count(kvreg_registry *, size_t *count);
    ("kvreg_registry_count", _status, [handle, _size_out]),
    # kvreg_status kvreg_registry_names(kvreg_registry *, kvreg_items **names);
    ("kvreg_registry_names", _status, [handle, _out]),
    # kvreg_status kvreg_registry_send(kvreg_registry *, const void *message, size_t);
    ("kvreg_registry_send", _status, [handle, _text, c_size_t]),
    # kvreg_status kvreg_registry_execute(kvreg_registry *, const char *line, size_t line_len,
    #                                     kvreg_value *reply);
    ("kvreg_registry_execute", _status, [handle, _text, c_size_t, _value]),
    # kvreg_status kvreg_registry_stop(kvreg_registry *);
    ("kvreg_registry_stop", _status, [handle]),
    # kvreg_status kvreg_registry_exit(kvreg_registry *, kvreg_reason, const char *detail,
    #                                  size_t detail_len);
    ("kvreg_registry_exit", _status, [handle, _reason, _text, c_size_t]),
    # kvreg_status kvreg_registry_info(kvreg_registry *, kvreg_registry_stats *stats);
    ("kvreg_registry_info", _status, [handle, POINTER(RegistryStats)]),
    # kvreg_status kvreg_registry_free(kvreg_registry *);
    ("kvreg_registry_free", _status, [handle]),
    #
    # kvreg_status kvreg_bucket_start(kvreg_bucket **bucket);
    ("kvreg_bucket_start", _status, [_out]),
    # kvreg_status kvreg_bucket_start_with(const kvreg_bucket_options *, kvreg_bucket **bucket);
    ("kvreg_bucket_start_with", _status, [POINTER(BucketOptions), _out]),
    # kvreg_status kvreg_bucket_clone(kvreg_bucket *, kvreg_bucket **clone);
    ("kvreg_bucket_clone", _status, [handle, _out]),
    # kvreg_status kvreg_bucket_put(kvreg_bucket *, const void *key, size_t key_len,
    #                               const kvreg_value *value);
    ("kvreg_bucket_put", _status, [handle, _text, c_size_t, _value]),
    # kvreg_status kvreg_bucket_get(kvreg_bucket *, const void *key, size_t key_len,
    #                               kvreg_value *value);
    ("kvreg_bucket_get", _status, [handle, _text, c_size_t, _value]),
    # kvreg_status kvreg_bucket_delete(kvreg_bucket *, const void *key, size_t key_len,
    #                                  kvreg_value *old);
    ("kvreg_bucket_delete", _status, [handle, _text, c_size_t, _value]),
    # kvreg_status kvreg_bucket_put_int(kvreg_bucket *, const void *key, size_t key_len,
    #                                   int64_t integer);
    ("kvreg_bucket_put_int", _status, [handle, _text, c_size_t, c_int64]),
    # kvreg_status kvreg_bucket_put_float(kvreg_bucket *, const void *key, size_t key_len,
    #                                     double real);
    ("kvreg_bucket_put_float", _status, [handle, _text, c_size_t, ctypes.c_double]),
    # kvreg_status kvreg_bucket_put_string(kvreg_bucket *, const void *key, size_t key_len,
    #                                      const char *data, size_t len);
    ("kvreg_bucket_put_string", _status, [handle, _text, c_size_t, _text, c_size_t]),
    # kvreg_status kvreg_bucket_put_bytes(kvreg_bucket *, const void *key, size_t key_len,
    #                                     const void *data, size_t len);
    ("kvreg_bucket_put_bytes", _status, [handle, _text, c_size_t, _text, c_size_t]),
    # kvreg_status kvreg_bucket_get_int(kvreg_bucket *, const void *key, size_t key_len,
    #                                   int64_t *integer);
    ("kvreg_bucket_get_int", _status, [handle, _text, c_size_t, POINTER(c_int64)]),
    # kvreg_status kvreg_bucket_get_float(kvreg_bucket *, const void *key, size_t key_len,
    #                                     double *real);
    ("kvreg_bucket_get_float", _status, [handle, _text, c_size_t, POINTER(ctypes.c_double)]),
    # kvreg_status kvreg_bucket_get_bytes(kvreg_bucket *, const void *key, size_t key_len,
    #                                     void *buffer, size_t capacity, size_t *len);
    (
        "kvreg_bucket_get_bytes",
        _status,
        [handle, _text, c_size_t, handle, c_size_t, _size_out],
    ),
    # kvreg_status kvreg_bucket_put_cast(kvreg_bucket *, const void *key, size_t key_len,
    #                                    const kvreg_value *value);
    ("kvreg_bucket_put_cast", _status, [handle, _text, c_size_t, _value]),
    # kvreg_status kvreg_bucket_get_into(kvreg_bucket *, const void *key, size_t key_len,
    #                                    void *buffer, size_t capacity, kvreg_value *value);
    ("kvreg_bucket_get_into", _status, [handle, _text, c_size_t, handle, c_size_t, _value]),
    # kvreg_status kvreg_bucket_delete_cast(kvreg_bucket *, const void *key, size_t key_len);
    ("kvreg_bucket_delete_cast", _status, [handle, _text, c_size_t]),
    # kvreg_status kvreg_bucket_put_many(kvreg_bucket *, const kvreg_pair *pairs, size_t);
    ("kvreg_bucket_put_many", _status, [handle, POINTER(Pair), c_size_t]),
    # kvreg_status kvreg_bucket_put_columns(kvreg_bucket *, const kvreg_columns *columns);
    ("kvreg_bucket_put_columns", _status, [handle, POINTER(Columns)]),
    # kvreg_status kvreg_bucket_get_many(kvreg_bucket *, kvreg_pair *pairs, size_t count);
    ("kvreg_bucket_get_many", _status, [handle, POINTER(Pair), c_size_t]),
    # kvreg_status kvreg_bucket_count(kvreg_bucket *, size_t *count);
    ("kvreg_bucket_count", _status, [handle, _size_out]),
    # kvreg_status kvreg_bucket_clear(kvreg_bucket *);
    ("kvreg_bucket_clear", _status, [handle]),
    # kvreg_status kvreg_bucket_items(kvreg_bucket *, kvreg_items **items);
    ("kvreg_bucket_items", _status, [handle, _out]),
    # kvreg_status kvreg_bucket_name(kvreg_bucket *, kvreg_value *name);
    ("kvreg_bucket_name", _status, [handle, _value]),
    # kvreg_status kvreg_bucket_set_timeout(kvreg_bucket *, int64_t timeout_ms);
    ("kvreg_bucket_set_timeout", _status, [handle, c_int64]),
    # kvreg_status kvreg_bucket_stop(kvreg_bucket *);
    ("kvreg_bucket_stop", _status, [handle]),
    # kvreg_status kvreg_bucket_exit(kvreg_bucket *, int32_t reason, const char *detail,
    #                                size_t detail_len);
    ("kvreg_bucket_exit", _status, [handle, _reason, _text, c_size_t]),
    # kvreg_status kvreg_bucket_link(kvreg_bucket *, kvreg_bucket *other);
    ("kvreg_bucket_link", _status, [handle, handle]),
    # kvreg_status kvreg_bucket_unlink(kvreg_bucket *, kvreg_bucket *other);
    ("kvreg_bucket_unlink", _status, [handle, handle]),
    # kvreg_status kvreg_bucket_info(kvreg_bucket *, kvreg_bucket_stats *stats);
    ("kvreg_bucket_info", _status, [handle, POINTER(BucketStats)]),
    # kvreg_status kvreg_bucket_free(kvreg_bucket *);
    ("kvreg_bucket_free", _status, [handle]),
    # kvreg_status kvreg_bucket_update_begin(kvreg_bucket *, const void *key, size_t key_len,
    #                                        kvreg_value *current, kvreg_update **update);
    ("kvreg_bucket_update_begin", _status, [handle, _text, c_size_t, _value, _out]),
    # kvreg_status kvreg_update_end(kvreg_update *, kvreg_verdict, const kvreg_value *next);
    ("kvreg_update_end", _status, [handle, _verdict, _value]),
    # kvreg_status kvreg_update_free(kvreg_update *);
    ("kvreg_update_free", _status, [handle]),
    #
    # kvreg_status kvreg_items_next(kvreg_items *, kvreg_value *key, kvreg_value *value);
    ("kvreg_items_next", _status, [handle, _value, _value]),
    # kvreg_status kvreg_items_free(kvreg_items *);
    ("kvreg_items_free", _status, [handle]),
    #
    # kvreg_status kvreg_inbox_open(kvreg_inbox **inbox);
    ("kvreg_inbox_open", _status, [_out]),
    # kvreg_status kvreg_inbox_monitor(kvreg_inbox *, kvreg_bucket *, uint64_t *reference);
    ("kvreg_inbox_monitor", _status, [handle, handle, POINTER(c_uint64)]),
    # kvreg_status kvreg_inbox_monitor_registry(kvreg_inbox *, kvreg_registry *,
    #                                           uint64_t *reference);
    ("kvreg_inbox_monitor_registry", _status, [handle, handle, POINTER(c_uint64)]),
    # kvreg_status kvreg_inbox_demonitor(kvreg_inbox *, uint64_t reference, uint32_t flags);
    ("kvreg_inbox_demonitor", _status, [handle, c_uint64, c_uint32]),
    # kvreg_status kvreg_inbox_subscribe_logs(kvreg_inbox *, uint32_t max_level);
    ("kvreg_inbox_subscribe_logs", _status, [handle, c_uint32]),
    # kvreg_status kvreg_inbox_receive(kvreg_inbox *, int64_t timeout_ms, kvreg_event *event);
    ("kvreg_inbox_receive", _status, [handle, c_int64, POINTER(Event)]),
    # kvreg_status kvreg_inbox_fd(kvreg_inbox *, int *fd);
    ("kvreg_inbox_fd", _status, [handle, POINTER(c_int)]),
    # kvreg_status kvreg_inbox_handle(kvreg_inbox *, void **handle);
    ("kvreg_inbox_handle", _status, [handle, POINTER(handle)]),
    # kvreg_status kvreg_inbox_free(kvreg_inbox *);
    ("kvreg_inbox_free", _status, [handle]),
    # void kvreg_event_clear(kvreg_event *event);
    ("kvreg_event_clear", None, [POINTER(Event)]),
    #
    # kvreg_status kvreg_listener_start(kvreg_registry *, const char *address,
    #                                   const kvreg_listener_options *,
    #                                   kvreg_listener **listener);
    ("kvreg_listener_start", _status, [handle, _text, POINTER(ListenerOptions), _out]),
    # kvreg_status kvreg_listener_address(kvreg_listener *, kvreg_value *address);
    ("kvreg_listener_address", _status, [handle, _value]),
    # kvreg_status kvreg_listener_stop(kvreg_listener *);
    ("kvreg_listener_stop", _status, [handle]),
    # kvreg_status kvreg_listener_free(kvreg_listener *);
    ("kvreg_listener_free", _status, [handle]),
)


def declare(library: ctypes.CDLL) -> None:
    """Gives each function its signature; `AttributeError` if the library lacks one."""
    for name, result, arguments in SIGNATURES:
        function = getattr(library, name)
        function.restype = result
        function.argtypes = arguments
