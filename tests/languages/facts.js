// What docs/other-languages.md says of Node.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import { promisify } from 'node:util';
import { Worker, isMainThread, parentPort, workerData } from 'node:worker_threads';
import koffi from 'koffi';

const library = koffi.load(process.env.KVREG_LIBRARY);
koffi.struct('kvreg_text_value', {
  type: 'uint32_t', reserved: 'uint32_t', data: 'void *', len: 'size_t', private_: 'uint64_t',
});
const call = (prototype) => library.func(`int32_t kvreg_${prototype}`);
const start = call('bucket_start(_Out_ void **bucket)');
const putInt = call('bucket_put_int(void *bucket, const char *key, size_t len, int64_t integer)');
const getInt = call('bucket_get_int(void *bucket, const char *key, size_t len, _Out_ int64_t *integer)');
const putString = call('bucket_put_string(void *bucket, const char *key, size_t len, const char *data, size_t)');
const get = call('bucket_get(void *bucket, const char *key, size_t len, _Out_ kvreg_text_value *value)');
const begin = call('bucket_update_begin(void *, const char *key, size_t len, void *current, _Out_ void **update)');
const freeUpdate = call('update_free(void *update)');
const exit = call('bucket_exit(void *bucket, int32_t reason, const char *detail, size_t len)');
const freeBucket = call('bucket_free(void *bucket)');
const open = call('inbox_open(_Out_ void **inbox)');
const monitor = call('inbox_monitor(void *inbox, void *bucket, _Out_ uint64_t *reference)');
const receive = call('inbox_receive(void *inbox, int64_t timeout_ms, _Inout_ uint8_t *event)');
const inboxFd = call('inbox_fd(void *inbox, _Out_ int *fd)');
const freeInbox = call('inbox_free(void *inbox)');
const clear = library.func('void kvreg_value_clear(_Inout_ kvreg_text_value *value)');
const clearEvent = library.func('void kvreg_event_clear(_Inout_ uint8_t *event)');
const later = (...args) => promisify(receive.async)(...args);
const [OK, TIMEOUT, CALLING_SELF, BAD_HANDLE, KILLED] = [0, 5, 7, 8, 2];

function opened(opener) {
  const out = [null];
  assert.equal(opener(out), OK);
  return out[0];
}

function watch() {
  const [bucket, inbox] = [opened(start), opened(open)];
  assert.equal(monitor(inbox, bucket, [0]), OK);
  return [bucket, inbox, Buffer.alloc(168)];
}

/** An async call runs on another thread than the ones beside it. */
async function asyncIsAnotherThread() {
  const [bucket, inbox, event] = watch();
  const update = opened((out) => begin(bucket, 'n', 1, null, out));
  assert.equal(receive(inbox, 1, event), CALLING_SELF);
  assert.equal(await later(inbox, 1, event), TIMEOUT);
  assert.equal(freeUpdate(update), OK);
  assert.equal(freeInbox(inbox), OK);
  assert.equal(freeBucket(bucket), OK);
}

/** The event loop runs on beside a receive, and free ends it. */
async function loopRunsOn() {
  const [bucket, inbox, event] = watch();
  let waiting = later(inbox, -1, event);
  await promisify(setImmediate)();
  assert.equal(exit(bucket, KILLED, null, 0), OK);
  assert.equal(await waiting, OK);
  clearEvent(event);
  waiting = later(inbox, -1, event);
  await promisify(setImmediate)();
  assert.equal(freeInbox(inbox), OK);
  assert.equal(await waiting, BAD_HANDLE);
  assert.equal(freeBucket(bucket), OK);
}

/** An async call that waits has one of libuv's four threads: with four, files wait too. */
async function filesWait() {
  const watched = Array.from({ length: 4 }, watch);
  const waiting = watched.map(([, inbox, event]) => later(inbox, -1, event));
  let done = false;
  const stat = fs.promises.stat('/').then(() => { done = true; });
  await promisify(setTimeout)(100);
  assert.ok(!done);
  for (const [bucket] of watched) assert.equal(exit(bucket, KILLED, null, 0), OK);
  assert.deepEqual(await Promise.all(waiting), [OK, OK, OK, OK]);
  await stat;
  for (const [bucket, inbox, event] of watched) {
    clearEvent(event);
    assert.equal(freeInbox(inbox), OK);
    assert.equal(freeBucket(bucket), OK);
  }
}

/** Node does not poll a descriptor that it does not know the kind of. */
function noPolling() {
  const [bucket, inbox] = watch();
  const fd = opened((out) => inboxFd(inbox, out));
  assert.throws(() => new net.Socket({ fd }), { code: 'ERR_INVALID_FD_TYPE' });
  assert.equal(freeInbox(inbox), OK);
  assert.equal(freeBucket(bucket), OK);
}

/** Numbers are exact to 2^53, and a BigInt beyond. */
function bigIntegers() {
  const [bucket, integer] = [opened(start), [0]];
  for (const number of [-1, 2 ** 53 - 1, 2n ** 63n - 1n, -(2n ** 63n)]) {
    assert.equal(putInt(bucket, 'n', 1, number), OK);
    assert.equal(getInt(bucket, 'n', 1, integer), OK);
    assert.equal(integer[0], number);
  }
  assert.equal(freeBucket(bucket), OK);
}

/** Text comes back as bytes; what is decoded as 'char' ends at a NUL. */
function textWithNul() {
  const [bucket, value, text] = [opened(start), {}, 'größe\0€'];
  assert.equal(putString(bucket, 'k', 1, text, Buffer.byteLength(text)), OK);
  assert.equal(get(bucket, 'k', 1, value), OK);
  const { data, len } = value;
  assert.equal(Buffer.from(koffi.decode(data, 'uint8_t', len)).toString(), text);
  assert.equal(koffi.decode(data, 'char', len), 'größe');
  clear(value);
  assert.equal(freeBucket(bucket), OK);
}

/**
 * A worker has the same library, and a handle is a BigInt that can be sent there: it receives
 * without libuv's threads, until the inbox is freed.
 */
async function workerReceives() {
  const [bucket, inbox] = watch();
  const worker = new Worker(new URL(import.meta.url), { workerData: inbox });
  const ended = once(worker, 'exit');
  assert.equal(exit(bucket, KILLED, null, 0), OK);
  assert.deepEqual(await once(worker, 'message'), [KILLED]);
  assert.equal(freeInbox(inbox), OK);
  assert.deepEqual(await ended, [0]);
  assert.equal(freeBucket(bucket), OK);
}

/** process.exit() waits for what waits on libuv's threads and in workers: free wakes them first. */
function exitsWhileWaiting() {
  const file = new URL(import.meta.url).pathname;
  for (const how of ['async', 'worker']) {
    const done = spawnSync(process.execPath, [file, how], { timeout: 300000 });
    assert.equal(done.status, 7, `${how}: ${done.stderr}`);
  }
}

if (!isMainThread) {
  const event = Buffer.alloc(168);
  let status;
  while ((status = receive(workerData, -1, event)) === OK) {
    parentPort.postMessage(event.readInt32LE(4)); // the reason
    clearEvent(event);
  }
  assert.equal(status, BAD_HANDLE);
} else if (process.argv[2]) {
  const [, inbox, event] = watch();
  process.on('exit', () => freeInbox(inbox));
  if (process.argv[2] === 'async') later(inbox, -1, event);
  else await once(new Worker(new URL(import.meta.url), { workerData: inbox }), 'online');
  setImmediate(() => process.exit(7));
} else {
  await asyncIsAnotherThread();
  await loopRunsOn();
  await filesWait();
  noPolling();
  bigIntegers();
  textWithNul();
  await workerReceives();
  exitsWhileWaiting();
  console.log('facts: ok');
}
