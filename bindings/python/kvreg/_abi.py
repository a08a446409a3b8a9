"""The C interface as ctypes sees it: constants, structs and signatures.

Made of `include/kvreg.h` by `make header`: it is not to be changed by hand. How, says
`packaging/header/python.py`.
"""

from __future__ import annotations

from ctypes import (
    POINTER,
    Structure,
    Union,
    c_bool,
    c_char,
    c_char_p,
    c_double,
    c_int,
    c_int32,
    c_int64,
    c_size_t,
    c_uint32,
    c_uint64,
    c_void_p,
)
from typing import Any

from ._shapes import Bytes, Sized

OK = 0
NOT_FOUND = 1
ALREADY_STARTED = 2
NO_PROCESS = 3
SERVER_DOWN = 4
TIMEOUT = 5
OUTCOME_UNKNOWN = 6
CALLING_SELF = 7
BAD_HANDLE = 8
WRONG_KIND = 9
INVALID_ARGUMENT = 10
WRONG_TYPE = 11
CONFLICT = 12
LIMIT = 13
NO_MEMORY = 14
ABORTED = 15
FORKED = 16
SHUT_DOWN = 17
UNSUPPORTED = 18
IO = 19
INTERNAL = 20
TOO_SMALL = 21

REASON_NORMAL = 0
REASON_SHUTDOWN = 1
REASON_KILLED = 2
REASON_CRASHED = 3
REASON_NOPROC = 4

KEEP = 0
STORE = 1
REMOVE = 2
ABORT = 3
CRASH = 4
STOP = 5
LATER = 6
UNHANDLED = 7

NIL = 0
BOOL = 1
INT = 2
FLOAT = 3
STRING = 4
BYTES = 5
ABSENT = 6

EVENT_DOWN = 0
EVENT_LOG = 1
EVENT_LOST = 2
EVENT_CHANGE = 3
EVENT_RESET = 4
EVENT_CURRENT = 5
EVENT_MAIL = 6
EVENT_REPLY = 7
EVENT_STORE = 8

STORE_UP = 0
STORE_AWAY = 1

CHANGE_PUT = 0
CHANGE_DELETE = 1
CHANGE_EXPIRE = 2
CHANGE_EVICT = 3

LOG_ERROR = 0
LOG_WARN = 1
LOG_INFO = 2
LOG_DEBUG = 3

CREATE_EXCLUSIVE = 1

SERVER_WANTS_TERMINATE = 1
SERVER_HAND_OVER = 2

BEGIN_NOW = 1

SEND_NEXT = 1

DEMONITOR_FLUSH = 1

TTL_KEEP = -2
TTL_NEVER = -1
TTL_DEFAULT = 0

OP_PUT = 0
OP_DELETE = 1
OP_PUT_IF = 2
OP_DELETE_IF = 3
OP_ADD = 4

MESSAGE_INIT = 0
MESSAGE_CALL = 1
MESSAGE_CAST = 2
MESSAGE_INFO = 3
MESSAGE_DOWN = 4
MESSAGE_TERMINATE = 5

TEMPORARY = 0
TRANSIENT = 1
PERMANENT = 2

UNORDERED = 0
ORDERED = 1

REFUSE = 0
EVICT = 1

READ_STORE = 0
READ_COPY = 1

KEYS_ONLY = 1
ONLY_NEW = 2
ONE_KEY = 4

LACKS_BATCHES = 1
LACKS_TTL = 2
LACKS_WHOLE = 4


class _TextData(Union):
    _fields_ = [
        ("data", c_char_p),
        ("address", c_void_p),
    ]


class Text(Bytes):
    """`kvreg_text`."""

    data: bytes
    address: int | None
    len: int
    _anonymous_ = ("data_",)
    _fields_ = [
        ("data_", _TextData),
        ("len", c_size_t),
    ]


class _ValueAsTextData(Union):
    _fields_ = [
        ("data", c_char_p),
        ("address", c_void_p),
    ]


class _ValueAsText(Structure):
    _anonymous_ = ("data_",)
    _fields_ = [
        ("data_", _ValueAsTextData),
        ("len", c_size_t),
    ]


class _ValueAs(Union):
    _anonymous_ = ("text",)
    _fields_ = [
        ("boolean", c_bool),
        ("integer", c_int64),
        ("real", c_double),
        ("text", _ValueAsText),
    ]


class Value(Structure):
    """`kvreg_value`."""

    type: int
    reserved: int
    boolean: bool
    integer: int
    real: float
    data: bytes
    address: int | None
    len: int
    private_: int
    _anonymous_ = ("as_",)
    _fields_ = [
        ("type", c_uint32),
        ("reserved", c_uint32),
        ("as_", _ValueAs),
        ("private_", c_uint64),
    ]


class Pair(Structure):
    """`kvreg_pair`."""

    key: bytes
    key_len: int
    value: Value
    _fields_ = [
        ("key", c_char_p),
        ("key_len", c_size_t),
        ("value", Value),
    ]


class Entry(Sized):
    """`kvreg_entry`."""

    size: int
    reserved: int
    value: Value
    revision: int
    ttl_ms: int
    _fields_ = [
        ("size", c_uint32),
        ("reserved", c_uint32),
        ("value", Value),
        ("revision", c_uint64),
        ("ttl_ms", c_int64),
    ]


class Op(Sized):
    """`kvreg_op`."""

    size: int
    op: int
    key: bytes
    key_len: int
    value: Value
    expected: int
    delta: int
    ttl_ms: int
    revision: int
    private_: Any
    _fields_ = [
        ("size", c_uint32),
        ("op", c_uint32),
        ("key", c_char_p),
        ("key_len", c_size_t),
        ("value", Value),
        ("expected", c_uint64),
        ("delta", c_int64),
        ("ttl_ms", c_int64),
        ("revision", c_uint64),
        ("private_", c_uint64 * 4),
    ]


class ScanOptions(Sized):
    """`kvreg_scan_options`."""

    size: int
    flags: int
    prefix: bytes
    prefix_len: int
    after: bytes
    after_len: int
    limit: int
    _fields_ = [
        ("size", c_uint32),
        ("flags", c_uint32),
        ("prefix", c_char_p),
        ("prefix_len", c_size_t),
        ("after", c_char_p),
        ("after_len", c_size_t),
        ("limit", c_uint64),
    ]


class Columns(Sized):
    """`kvreg_columns`."""

    size: int
    type: int
    count: int
    keys: bytes
    key_lens: int | None
    values: bytes
    value_lens: int | None
    _fields_ = [
        ("size", c_uint32),
        ("type", c_uint32),
        ("count", c_size_t),
        ("keys", c_char_p),
        ("key_lens", c_void_p),
        ("values", c_char_p),
        ("value_lens", c_void_p),
    ]


class Event(Structure):
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
    private_: Any
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


class Message(Sized):
    """`kvreg_message`."""

    size: int
    type: int
    reason: int
    reserved: int
    reference: int
    tag: Text
    values: Any
    count: int
    self: int | None
    private_: Any
    _fields_ = [
        ("size", c_uint32),
        ("type", c_uint32),
        ("reason", c_int32),
        ("reserved", c_uint32),
        ("reference", c_uint64),
        ("tag", Text),
        ("values", POINTER(Value)),
        ("count", c_size_t),
        ("self", c_void_p),
        ("private_", c_uint64 * 4),
    ]


class Options(Sized):
    """`kvreg_options`."""

    size: int
    worker_threads: int
    callback_threads: int
    max_monitors: int
    default_timeout_ms: int
    thread_name: bytes
    _fields_ = [
        ("size", c_uint32),
        ("worker_threads", c_uint32),
        ("callback_threads", c_uint32),
        ("max_monitors", c_uint32),
        ("default_timeout_ms", c_int64),
        ("thread_name", c_char_p),
    ]


class BucketOptions(Sized):
    """`kvreg_bucket_options`."""

    size: int
    restart: int
    max_restarts: int
    restart_period_ms: int
    max_mailbox: int
    max_keys: int
    max_bytes: int
    max_value: int
    order: int
    on_full: int
    default_ttl_ms: int
    store: bytes
    store_len: int
    reads: int
    reserved: int
    _fields_ = [
        ("size", c_uint32),
        ("restart", c_uint32),
        ("max_restarts", c_uint32),
        ("restart_period_ms", c_uint32),
        ("max_mailbox", c_uint64),
        ("max_keys", c_uint64),
        ("max_bytes", c_uint64),
        ("max_value", c_uint64),
        ("order", c_uint32),
        ("on_full", c_uint32),
        ("default_ttl_ms", c_int64),
        ("store", c_char_p),
        ("store_len", c_size_t),
        ("reads", c_uint32),
        ("reserved", c_uint32),
    ]


class WatchOptions(Sized):
    """`kvreg_watch_options`."""

    size: int
    flags: int
    prefix: bytes
    prefix_len: int
    max_pending: int
    _fields_ = [
        ("size", c_uint32),
        ("flags", c_uint32),
        ("prefix", c_char_p),
        ("prefix_len", c_size_t),
        ("max_pending", c_uint64),
    ]


class RegistryOptions(Sized):
    """`kvreg_registry_options`."""

    size: int
    reserved: int
    name: bytes
    name_len: int
    bucket: Any
    max_buckets: int
    max_bytes: int
    max_mailbox: int
    max_servers: int
    _fields_ = [
        ("size", c_uint32),
        ("reserved", c_uint32),
        ("name", c_char_p),
        ("name_len", c_size_t),
        ("bucket", POINTER(BucketOptions)),
        ("max_buckets", c_uint64),
        ("max_bytes", c_uint64),
        ("max_mailbox", c_uint64),
        ("max_servers", c_uint64),
    ]


class ServerOptions(Sized):
    """`kvreg_server_options`."""

    size: int
    flags: int
    restart: int
    max_restarts: int
    restart_period_ms: int
    shutdown_ms: int
    max_mailbox: int
    max_bytes: int
    max_value: int
    init: int | None
    handle: int | None
    drop: int | None
    argument: int | None
    destroy: int | None
    inbox: int | None
    owner: int
    key: int
    _fields_ = [
        ("size", c_uint32),
        ("flags", c_uint32),
        ("restart", c_uint32),
        ("max_restarts", c_uint32),
        ("restart_period_ms", c_uint32),
        ("shutdown_ms", c_uint32),
        ("max_mailbox", c_uint64),
        ("max_bytes", c_uint64),
        ("max_value", c_uint64),
        ("init", c_void_p),
        ("handle", c_void_p),
        ("drop", c_void_p),
        ("argument", c_void_p),
        ("destroy", c_void_p),
        ("inbox", c_void_p),
        ("owner", c_uint64),
        ("key", c_uint64),
    ]


class ListenerOptions(Sized):
    """`kvreg_listener_options`."""

    size: int
    max_connections: int
    max_line: int
    max_backlog: int
    idle_timeout_ms: int
    unix_mode: int
    reserved: int
    password: bytes
    password_len: int
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


class BucketStats(Sized):
    """`kvreg_bucket_stats`."""

    size: int
    last_exit: int
    keys: int
    bytes: int
    mailbox: int
    handled: int
    restarts: int
    hits: int
    misses: int
    expired: int
    evicted: int
    order: int
    store: Any
    store_level: int
    lacks: int
    _fields_ = [
        ("size", c_uint32),
        ("last_exit", c_int32),
        ("keys", c_uint64),
        ("bytes", c_uint64),
        ("mailbox", c_uint64),
        ("handled", c_uint64),
        ("restarts", c_uint64),
        ("hits", c_uint64),
        ("misses", c_uint64),
        ("expired", c_uint64),
        ("evicted", c_uint64),
        ("order", c_uint64),
        ("store", c_char * 16),
        ("store_level", c_uint32),
        ("lacks", c_uint32),
    ]


class RegistryStats(Sized):
    """`kvreg_registry_stats`."""

    size: int
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


class ServerStats(Sized):
    """`kvreg_server_stats`."""

    size: int
    last_exit: int
    mailbox: int
    bytes: int
    handled: int
    restarts: int
    owner: int
    key: int
    turn_ms: int
    _fields_ = [
        ("size", c_uint32),
        ("last_exit", c_int32),
        ("mailbox", c_uint64),
        ("bytes", c_uint64),
        ("handled", c_uint64),
        ("restarts", c_uint64),
        ("owner", c_uint64),
        ("key", c_uint64),
        ("turn_ms", c_uint64),
    ]


class Live(Sized):
    """`kvreg_live`."""

    size: int
    reserved: int
    registries: int
    buckets: int
    registry_handles: int
    bucket_handles: int
    update_handles: int
    items_handles: int
    inbox_handles: int
    listener_handles: int
    servers: int
    server_handles: int
    turn_handles: int
    reply_handles: int
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
        ("servers", c_uint64),
        ("server_handles", c_uint64),
        ("turn_handles", c_uint64),
        ("reply_handles", c_uint64),
    ]


# name, result, arguments
SIGNATURES: tuple[tuple[str, Any, list[Any]], ...] = (
    ("kvreg_version_string", c_char_p, []),
    ("kvreg_version_number", c_uint32, []),
    ("kvreg_configure", c_int32, [POINTER(Options)]),
    ("kvreg_shutdown", c_int32, [c_int64]),
    ("kvreg_live_counts", c_int32, [POINTER(Live)]),
    ("kvreg_status_name", c_char_p, [c_int32]),
    ("kvreg_status_message", c_char_p, [c_int32]),
    ("kvreg_reason_name", c_char_p, [c_int32]),
    ("kvreg_verdict_name", c_char_p, [c_int32]),
    ("kvreg_last_error", c_size_t, [c_char_p, c_size_t]),
    ("kvreg_last_os_error", c_int32, []),
    ("kvreg_value_clear", None, [POINTER(Value)]),
    ("kvreg_value_copy_text", c_int32, [POINTER(Value), c_char_p, c_size_t]),
    ("kvreg_registry_start", c_int32, [POINTER(RegistryOptions), POINTER(c_void_p)]),
    ("kvreg_registry_whereis", c_int32, [c_char_p, c_size_t, POINTER(c_void_p)]),
    ("kvreg_registry_clone", c_int32, [c_void_p, POINTER(c_void_p)]),
    ("kvreg_registry_set_timeout", c_int32, [c_void_p, c_int64]),
    (
        "kvreg_registry_create",
        c_int32,
        [c_void_p, c_char_p, c_size_t, c_uint32, POINTER(c_void_p)],
    ),
    (
        "kvreg_registry_create_with",
        c_int32,
        [c_void_p, c_char_p, c_size_t, c_uint32, POINTER(BucketOptions), POINTER(c_void_p)],
    ),
    ("kvreg_registry_erase", c_int32, [c_void_p, c_char_p, c_size_t]),
    ("kvreg_registry_create_cast", c_int32, [c_void_p, c_char_p, c_size_t]),
    ("kvreg_registry_lookup", c_int32, [c_void_p, c_char_p, c_size_t, POINTER(c_void_p)]),
    ("kvreg_registry_remove", c_int32, [c_void_p, c_char_p, c_size_t]),
    ("kvreg_registry_count", c_int32, [c_void_p, POINTER(c_size_t)]),
    ("kvreg_registry_names", c_int32, [c_void_p, POINTER(c_void_p)]),
    ("kvreg_registry_send", c_int32, [c_void_p, c_char_p, c_size_t]),
    ("kvreg_registry_execute", c_int32, [c_void_p, c_char_p, c_size_t, POINTER(Value)]),
    ("kvreg_registry_stop", c_int32, [c_void_p]),
    ("kvreg_registry_exit", c_int32, [c_void_p, c_int32, c_char_p, c_size_t]),
    ("kvreg_registry_info", c_int32, [c_void_p, POINTER(RegistryStats)]),
    ("kvreg_registry_free", c_int32, [c_void_p]),
    ("kvreg_bucket_start", c_int32, [POINTER(c_void_p)]),
    ("kvreg_bucket_start_with", c_int32, [POINTER(BucketOptions), POINTER(c_void_p)]),
    ("kvreg_bucket_clone", c_int32, [c_void_p, POINTER(c_void_p)]),
    ("kvreg_bucket_set_timeout", c_int32, [c_void_p, c_int64]),
    ("kvreg_bucket_name", c_int32, [c_void_p, POINTER(Value)]),
    ("kvreg_bucket_info", c_int32, [c_void_p, POINTER(BucketStats)]),
    ("kvreg_bucket_free", c_int32, [c_void_p]),
    ("kvreg_bucket_stop", c_int32, [c_void_p]),
    ("kvreg_bucket_exit", c_int32, [c_void_p, c_int32, c_char_p, c_size_t]),
    ("kvreg_bucket_link", c_int32, [c_void_p, c_void_p]),
    ("kvreg_bucket_unlink", c_int32, [c_void_p, c_void_p]),
    ("kvreg_bucket_put", c_int32, [c_void_p, c_char_p, c_size_t, POINTER(Value)]),
    ("kvreg_bucket_get", c_int32, [c_void_p, c_char_p, c_size_t, POINTER(Value)]),
    ("kvreg_bucket_delete", c_int32, [c_void_p, c_char_p, c_size_t, POINTER(Value)]),
    ("kvreg_bucket_put_cast", c_int32, [c_void_p, c_char_p, c_size_t, POINTER(Value)]),
    ("kvreg_bucket_delete_cast", c_int32, [c_void_p, c_char_p, c_size_t]),
    ("kvreg_bucket_count", c_int32, [c_void_p, POINTER(c_size_t)]),
    ("kvreg_bucket_clear", c_int32, [c_void_p]),
    ("kvreg_bucket_items", c_int32, [c_void_p, POINTER(c_void_p)]),
    ("kvreg_bucket_put_many", c_int32, [c_void_p, POINTER(Pair), c_size_t]),
    ("kvreg_bucket_get_many", c_int32, [c_void_p, POINTER(Pair), c_size_t]),
    ("kvreg_bucket_put_columns", c_int32, [c_void_p, POINTER(Columns)]),
    ("kvreg_bucket_put_int", c_int32, [c_void_p, c_char_p, c_size_t, c_int64]),
    ("kvreg_bucket_put_float", c_int32, [c_void_p, c_char_p, c_size_t, c_double]),
    ("kvreg_bucket_put_string", c_int32, [c_void_p, c_char_p, c_size_t, c_char_p, c_size_t]),
    ("kvreg_bucket_put_bytes", c_int32, [c_void_p, c_char_p, c_size_t, c_char_p, c_size_t]),
    ("kvreg_bucket_get_int", c_int32, [c_void_p, c_char_p, c_size_t, POINTER(c_int64)]),
    ("kvreg_bucket_get_float", c_int32, [c_void_p, c_char_p, c_size_t, POINTER(c_double)]),
    (
        "kvreg_bucket_get_bytes",
        c_int32,
        [c_void_p, c_char_p, c_size_t, c_void_p, c_size_t, POINTER(c_size_t)],
    ),
    (
        "kvreg_bucket_get_into",
        c_int32,
        [c_void_p, c_char_p, c_size_t, c_void_p, c_size_t, POINTER(Value)],
    ),
    ("kvreg_bucket_get_entry", c_int32, [c_void_p, c_char_p, c_size_t, POINTER(Entry)]),
    (
        "kvreg_bucket_put_entry",
        c_int32,
        [c_void_p, c_char_p, c_size_t, POINTER(Value), c_int64, POINTER(c_uint64)],
    ),
    (
        "kvreg_bucket_put_if",
        c_int32,
        [c_void_p, c_char_p, c_size_t, POINTER(Value), c_uint64, c_int64, POINTER(c_uint64)],
    ),
    (
        "kvreg_bucket_expire",
        c_int32,
        [c_void_p, c_char_p, c_size_t, c_int64, POINTER(c_uint64)],
    ),
    (
        "kvreg_bucket_delete_if",
        c_int32,
        [c_void_p, c_char_p, c_size_t, c_uint64, POINTER(Value)],
    ),
    (
        "kvreg_bucket_put_if_equal",
        c_int32,
        [c_void_p, c_char_p, c_size_t, POINTER(Value), POINTER(Value), POINTER(c_uint64)],
    ),
    (
        "kvreg_bucket_add_int",
        c_int32,
        [c_void_p, c_char_p, c_size_t, c_int64, POINTER(c_int64)],
    ),
    ("kvreg_bucket_revision", c_int32, [c_void_p, POINTER(c_uint64)]),
    ("kvreg_bucket_apply", c_int32, [c_void_p, POINTER(Op), c_size_t, POINTER(c_size_t)]),
    ("kvreg_bucket_save", c_int32, [c_void_p, c_char_p, c_size_t]),
    ("kvreg_bucket_restore", c_int32, [c_void_p, c_char_p, c_size_t]),
    (
        "kvreg_bucket_update_begin",
        c_int32,
        [c_void_p, c_char_p, c_size_t, POINTER(Value), POINTER(c_void_p)],
    ),
    ("kvreg_update_end", c_int32, [c_void_p, c_int32, POINTER(Value)]),
    ("kvreg_update_free", c_int32, [c_void_p]),
    (
        "kvreg_registry_start_server",
        c_int32,
        [
            c_void_p,
            c_char_p,
            c_size_t,
            c_uint32,
            POINTER(ServerOptions),
            POINTER(c_void_p),
            POINTER(c_void_p),
        ],
    ),
    (
        "kvreg_server_start",
        c_int32,
        [POINTER(ServerOptions), POINTER(c_void_p), POINTER(c_void_p)],
    ),
    (
        "kvreg_registry_lookup_server",
        c_int32,
        [c_void_p, c_char_p, c_size_t, POINTER(c_void_p)],
    ),
    ("kvreg_registry_servers", c_int32, [c_void_p, POINTER(c_void_p)]),
    ("kvreg_server_self", c_int32, [POINTER(c_void_p)]),
    ("kvreg_server_clone", c_int32, [c_void_p, POINTER(c_void_p)]),
    ("kvreg_server_set_timeout", c_int32, [c_void_p, c_int64]),
    ("kvreg_server_name", c_int32, [c_void_p, POINTER(Value)]),
    ("kvreg_server_info", c_int32, [c_void_p, POINTER(ServerStats)]),
    ("kvreg_server_free", c_int32, [c_void_p]),
    (
        "kvreg_server_call",
        c_int32,
        [c_void_p, c_char_p, c_size_t, POINTER(Value), c_size_t, POINTER(Value)],
    ),
    (
        "kvreg_registry_call",
        c_int32,
        [
            c_void_p,
            c_char_p,
            c_size_t,
            c_char_p,
            c_size_t,
            POINTER(Value),
            c_size_t,
            POINTER(Value),
        ],
    ),
    ("kvreg_server_cast", c_int32, [c_void_p, c_char_p, c_size_t, POINTER(Value), c_size_t]),
    (
        "kvreg_server_send",
        c_int32,
        [c_void_p, c_uint32, c_char_p, c_size_t, POINTER(Value), c_size_t],
    ),
    (
        "kvreg_server_send_after",
        c_int32,
        [c_void_p, c_int64, c_char_p, c_size_t, POINTER(Value), c_size_t, POINTER(c_uint64)],
    ),
    ("kvreg_server_cancel", c_int32, [c_void_p, c_uint64, POINTER(c_int64)]),
    (
        "kvreg_server_request",
        c_int32,
        [c_void_p, c_char_p, c_size_t, POINTER(Value), c_size_t, c_void_p, POINTER(c_uint64)],
    ),
    ("kvreg_message_clear", None, [POINTER(Message)]),
    ("kvreg_message_defer", c_int32, [POINTER(Message), POINTER(c_void_p)]),
    ("kvreg_value_clone", c_int32, [POINTER(Value), POINTER(Value)]),
    ("kvreg_reply_send", c_int32, [c_void_p, c_int32, POINTER(Value)]),
    ("kvreg_reply_free", c_int32, [c_void_p]),
    ("kvreg_server_begin", c_int32, [c_void_p, c_uint32, POINTER(c_uint64), POINTER(c_void_p)]),
    ("kvreg_turn_next", c_int32, [c_void_p, POINTER(Message)]),
    ("kvreg_turn_answer", c_int32, [c_void_p, c_int32, POINTER(Value)]),
    ("kvreg_turn_defer", c_int32, [c_void_p, c_void_p, POINTER(c_uint64), POINTER(c_void_p)]),
    ("kvreg_turn_end", c_int32, [c_void_p, c_int32, c_char_p, c_size_t]),
    ("kvreg_turn_free", c_int32, [c_void_p]),
    ("kvreg_turn_detach", c_int32, [c_void_p]),
    ("kvreg_inbox_monitor_server", c_int32, [c_void_p, c_void_p, POINTER(c_uint64)]),
    ("kvreg_server_monitor", c_int32, [c_void_p, c_void_p, POINTER(c_uint64)]),
    ("kvreg_server_demonitor", c_int32, [c_void_p, c_uint64, c_uint32]),
    ("kvreg_inbox_abandon", c_int32, [c_void_p, c_uint64]),
    ("kvreg_server_link", c_int32, [c_void_p, c_void_p]),
    ("kvreg_server_unlink", c_int32, [c_void_p, c_void_p]),
    ("kvreg_server_stop", c_int32, [c_void_p]),
    ("kvreg_server_exit", c_int32, [c_void_p, c_int32, c_char_p, c_size_t]),
    ("kvreg_bucket_scan", c_int32, [c_void_p, POINTER(ScanOptions), POINTER(c_void_p)]),
    ("kvreg_items_next", c_int32, [c_void_p, POINTER(Value), POINTER(Value)]),
    ("kvreg_items_next_entry", c_int32, [c_void_p, POINTER(Value), POINTER(Entry)]),
    ("kvreg_items_count", c_int32, [c_void_p, POINTER(c_size_t)]),
    ("kvreg_items_free", c_int32, [c_void_p]),
    ("kvreg_inbox_open", c_int32, [POINTER(c_void_p)]),
    ("kvreg_inbox_monitor", c_int32, [c_void_p, c_void_p, POINTER(c_uint64)]),
    ("kvreg_inbox_monitor_registry", c_int32, [c_void_p, c_void_p, POINTER(c_uint64)]),
    ("kvreg_inbox_demonitor", c_int32, [c_void_p, c_uint64, c_uint32]),
    ("kvreg_inbox_subscribe_logs", c_int32, [c_void_p, c_uint32]),
    ("kvreg_inbox_receive", c_int32, [c_void_p, c_int64, POINTER(Event)]),
    (
        "kvreg_inbox_receive_many",
        c_int32,
        [c_void_p, c_int64, POINTER(Event), c_size_t, POINTER(c_size_t)],
    ),
    ("kvreg_inbox_fd", c_int32, [c_void_p, POINTER(c_int)]),
    ("kvreg_inbox_handle", c_int32, [c_void_p, POINTER(c_void_p)]),
    ("kvreg_inbox_free", c_int32, [c_void_p]),
    (
        "kvreg_inbox_watch",
        c_int32,
        [c_void_p, c_void_p, POINTER(WatchOptions), POINTER(c_uint64)],
    ),
    (
        "kvreg_inbox_watch_names",
        c_int32,
        [c_void_p, c_void_p, POINTER(WatchOptions), POINTER(c_uint64)],
    ),
    ("kvreg_inbox_unwatch", c_int32, [c_void_p, c_uint64]),
    ("kvreg_event_clear", None, [POINTER(Event)]),
    (
        "kvreg_listener_start",
        c_int32,
        [c_void_p, c_char_p, POINTER(ListenerOptions), POINTER(c_void_p)],
    ),
    ("kvreg_listener_address", c_int32, [c_void_p, POINTER(Value)]),
    ("kvreg_listener_stop", c_int32, [c_void_p]),
    ("kvreg_listener_free", c_int32, [c_void_p]),
    ("kvreg_engine_register", c_int32, [c_char_p, c_size_t, c_void_p]),
    ("kvreg_engine_load", c_int32, [c_char_p, c_size_t]),
)
