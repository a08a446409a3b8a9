-- What docs/other-languages.md says of LuaJIT.
local ffi = require("ffi")

ffi.cdef([[
typedef struct { uint32_t size, reserved; uint64_t registries, buckets, registry_handles,
  bucket_handles, update_handles, items_handles, inbox_handles, listener_handles; } kvreg_live;
int32_t kvreg_live_counts(kvreg_live *);
int32_t kvreg_bucket_start(void **bucket);
int32_t kvreg_bucket_free(void *);
int32_t kvreg_bucket_put_int(void *, const void *key, size_t len, int64_t integer);
int32_t kvreg_bucket_get_int(void *, const void *key, size_t len, int64_t *integer);
int32_t kvreg_bucket_put_string(void *, const void *key, size_t len, const char *data, size_t size);
int32_t kvreg_bucket_get_bytes(void *, const void *key, size_t len, void *, size_t, size_t *);
int32_t kvreg_bucket_update_begin(void *, const void *key, size_t len, void *, void **update);
int32_t kvreg_update_free(void *);
]])
local kvreg = ffi.load(os.getenv("KVREG_LIBRARY"))
local OK, NOT_FOUND, CALLING_SELF = 0, 1, 7

local function live()
  local counts = ffi.new("kvreg_live", { size = ffi.sizeof("kvreg_live") })
  assert(kvreg.kvreg_live_counts(counts) == OK)
  return tonumber(counts.bucket_handles), tonumber(counts.buckets)
end

local function use()
  local out = ffi.new("void *[1]")
  assert(kvreg.kvreg_bucket_start(out) == OK)
  local bucket = ffi.gc(out[0], kvreg.kvreg_bucket_free)
  assert(live() == 1)

  -- Every int64_t, by cdata.
  local integer = ffi.new("int64_t[1]")
  assert(kvreg.kvreg_bucket_put_int(bucket, "n", 1, 9007199254740993LL) == OK)
  assert(kvreg.kvreg_bucket_get_int(bucket, "n", 1, integer) == OK)
  assert(integer[0] == 9007199254740993LL)

  -- Strings with NULs, as long as # says; kvreg's copy outlives Lua's.
  local text, len, buffer = ("a\0b"):rep(20), ffi.new("size_t[1]"), ffi.new("char[100]")
  assert(kvreg.kvreg_bucket_put_string(bucket, "k\0", 2, text, #text) == OK)
  text = nil
  collectgarbage()
  assert(kvreg.kvreg_bucket_get_bytes(bucket, "k", 1, buffer, 100, len) == NOT_FOUND)
  assert(kvreg.kvreg_bucket_get_bytes(bucket, "k\0", 2, buffer, 100, len) == OK)
  assert(ffi.string(buffer, len[0]) == ("a\0b"):rep(20))

  -- Coroutines are of one thread: another is inside the update that one has begun.
  assert(kvreg.kvreg_bucket_update_begin(bucket, "n", 1, nil, out) == OK)
  local other = coroutine.wrap(function() return kvreg.kvreg_bucket_put_int(bucket, "n", 1, 2) end)
  assert(other() == CALLING_SELF)
  assert(kvreg.kvreg_update_free(out[0]) == OK)
end

-- What is told to ffi.gc is freed when it is collected.
use()
collectgarbage()
collectgarbage()
local handles, buckets = live()
assert(handles == 0 and buckets == 0)
print("facts: ok")
