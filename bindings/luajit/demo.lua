-- The shopping session, and a kill that is noticed, by LuaJIT's FFI: luajit demo.lua
-- The library is the one that KVREG_LIBRARY names, else the system's.
local ffi = require("ffi")

-- From kvreg.h, what is used here; LuaJIT has no preprocessor to read it.
ffi.cdef([[
typedef struct kvreg_registry kvreg_registry;
typedef struct kvreg_bucket kvreg_bucket;
typedef struct kvreg_update kvreg_update;
typedef struct kvreg_inbox kvreg_inbox;
typedef struct { const char *data; size_t len; } kvreg_text;
typedef struct {
  uint32_t type, reserved;
  union { bool boolean; int64_t integer; double real; kvreg_text text; } as;
  uint64_t private_;
} kvreg_value;
typedef struct {
  uint32_t type; int32_t reason; uint32_t level; int32_t status;
  uint64_t reference, count, revision;
  kvreg_text name, detail; kvreg_value value; uint64_t private_[8];
} kvreg_event;
enum { KVREG_OK = 0, KVREG_NOT_FOUND = 1, KVREG_INT = 2, KVREG_STORE = 1, KVREG_REASON_KILLED = 2 };
const char *kvreg_status_name(int32_t status);
size_t kvreg_last_error(char *buffer, size_t capacity);
int32_t kvreg_registry_start(const void *options, kvreg_registry **registry);
int32_t kvreg_registry_create(kvreg_registry *, const char *name, size_t len, uint32_t flags,
                              kvreg_bucket **bucket);
int32_t kvreg_registry_lookup(kvreg_registry *, const char *name, size_t len, kvreg_bucket **bucket);
int32_t kvreg_registry_free(kvreg_registry *);
int32_t kvreg_bucket_put_int(kvreg_bucket *, const void *key, size_t len, int64_t integer);
int32_t kvreg_bucket_get_int(kvreg_bucket *, const void *key, size_t len, int64_t *integer);
int32_t kvreg_bucket_update_begin(kvreg_bucket *, const void *key, size_t len, kvreg_value *current,
                                  kvreg_update **update);
int32_t kvreg_update_end(kvreg_update *, int32_t verdict, const kvreg_value *next);
int32_t kvreg_bucket_exit(kvreg_bucket *, int32_t reason, const char *detail, size_t len);
int32_t kvreg_bucket_free(kvreg_bucket *);
int32_t kvreg_inbox_open(kvreg_inbox **inbox);
int32_t kvreg_inbox_monitor(kvreg_inbox *, kvreg_bucket *, uint64_t *reference);
int32_t kvreg_inbox_receive(kvreg_inbox *, int64_t timeout_ms, kvreg_event *event);
int32_t kvreg_inbox_free(kvreg_inbox *);
void kvreg_event_clear(kvreg_event *event);
]])
local C = ffi.C
local kvreg = ffi.load(os.getenv("KVREG_LIBRARY") or "libkvreg.so.0")
local reasons = { [0] = "NORMAL", "SHUTDOWN", "KILLED", "CRASHED", "NOPROC" }

local function check(status)
  if status ~= C.KVREG_OK then
    local text = ffi.new("char[256]")
    kvreg.kvreg_last_error(text, 256)
    error(ffi.string(kvreg.kvreg_status_name(status)) .. ": " .. ffi.string(text), 2)
  end
end

-- A Lua string goes as it is, with # as its length: the library copies it during the call. What
-- ffi.gc is told about is freed when it is collected, at the latest when Lua ends.
local name, key = "shopping", "milk"
local out = ffi.new("kvreg_registry *[1]")
check(kvreg.kvreg_registry_start(nil, out))
local registry = ffi.gc(out[0], kvreg.kvreg_registry_free)
out = ffi.new("kvreg_bucket *[1]")
check(kvreg.kvreg_registry_create(registry, name, #name, 0, out))
local shopping = ffi.gc(out[0], kvreg.kvreg_bucket_free)

check(kvreg.kvreg_bucket_put_int(shopping, key, #key, 1))
local milk = ffi.new("int64_t[1]")
check(kvreg.kvreg_bucket_get_int(shopping, key, #key, milk))
print("milk: " .. tonumber(milk[0])) -- Lua's numbers are exact up to 2^53, an int64_t is all of it

-- An update without a callback: begin gives the value, and the bucket waits until end. An integer
-- owns nothing; a text would be cleared by kvreg_value_clear.
local value, update = ffi.new("kvreg_value"), ffi.new("kvreg_update *[1]")
check(kvreg.kvreg_bucket_update_begin(shopping, key, #key, value, update))
local more = ffi.new("kvreg_value", { type = C.KVREG_INT, as = { integer = value.as.integer + 1 } })
check(kvreg.kvreg_update_end(update[0], C.KVREG_STORE, more))
check(kvreg.kvreg_bucket_get_int(shopping, key, #key, milk))
print("milk: " .. tonumber(milk[0]))

out = ffi.new("kvreg_inbox *[1]")
check(kvreg.kvreg_inbox_open(out))
local inbox = ffi.gc(out[0], kvreg.kvreg_inbox_free)
local why, down = "for the demo", ffi.gc(ffi.new("kvreg_event"), kvreg.kvreg_event_clear)
check(kvreg.kvreg_inbox_monitor(inbox, shopping, ffi.new("uint64_t[1]")))
check(kvreg.kvreg_bucket_exit(shopping, C.KVREG_REASON_KILLED, why, #why))
check(kvreg.kvreg_inbox_receive(inbox, 1000, down))
print("DOWN " .. ffi.string(down.name.data, down.name.len) .. " " .. reasons[down.reason] .. ": "
  .. ffi.string(down.detail.data, down.detail.len))

local status = kvreg.kvreg_registry_lookup(registry, name, #name, ffi.new("kvreg_bucket *[1]"))
print("lookup: " .. ffi.string(kvreg.kvreg_status_name(status)))
assert(status == C.KVREG_NOT_FOUND)
