// The shopping session, and a kill that is noticed, by koffi: npm ci && npm start
// The library is the one that KVREG_LIBRARY names, else the system's.
import { promisify } from 'node:util';
import koffi from 'koffi';

const library = koffi.load(process.env.KVREG_LIBRARY ?? 'libkvreg.so.0');

// From kvreg.h, what is used here.
for (const kind of ['registry', 'bucket', 'update', 'inbox']) koffi.opaque(`kvreg_${kind}`);
koffi.struct('kvreg_text', { data: 'void *', len: 'size_t' });
koffi.struct('kvreg_value', {
  type: 'uint32_t',
  reserved: 'uint32_t',
  as: koffi.union({ integer: 'int64_t', real: 'double', text: 'kvreg_text' }),
  private_: 'uint64_t',
});
koffi.struct('kvreg_event', {
  type: 'uint32_t',
  reason: 'int32_t',
  level: 'uint32_t',
  status: 'int32_t',
  reference: 'uint64_t',
  count: 'uint64_t',
  revision: 'uint64_t',
  name: 'kvreg_text',
  detail: 'kvreg_text',
  value: 'kvreg_value',
  private_: koffi.array('uint64_t', 8),
});
const prototypes = [
  'registry_start(void *options, _Out_ kvreg_registry **registry)',
  'registry_create(kvreg_registry *, const char *name, size_t len, uint32_t flags, _Out_ kvreg_bucket **)',
  'registry_lookup(kvreg_registry *, const char *name, size_t len, _Out_ kvreg_bucket **)',
  'registry_free(kvreg_registry *)',
  'bucket_put_int(kvreg_bucket *, const char *key, size_t len, int64_t integer)',
  'bucket_get_int(kvreg_bucket *, const char *key, size_t len, _Out_ int64_t *integer)',
  'bucket_update_begin(kvreg_bucket *, const char *key, size_t len, _Out_ kvreg_value *, _Out_ kvreg_update **)',
  'update_end(kvreg_update *, int32_t verdict, const kvreg_value *next)',
  'bucket_exit(kvreg_bucket *, int32_t reason, const char *detail, size_t len)',
  'bucket_free(kvreg_bucket *)',
  'inbox_open(_Out_ kvreg_inbox **inbox)',
  'inbox_monitor(kvreg_inbox *, kvreg_bucket *, _Out_ uint64_t *reference)',
  'inbox_receive(kvreg_inbox *, int64_t timeout_ms, _Out_ kvreg_event *)',
  'inbox_free(kvreg_inbox *)',
];
const kvreg = {};
for (const prototype of prototypes) {
  kvreg[prototype.split('(')[0]] = library.func(`int32_t kvreg_${prototype}`);
}
const clearEvent = library.func('void kvreg_event_clear(_Inout_ kvreg_event *)');
const statusName = library.func('const char *kvreg_status_name(int32_t)');
const lastError = library.func('size_t kvreg_last_error(_Out_ uint8_t *buffer, size_t capacity)');

const [OK, NOT_FOUND, INT, STORE, KILLED] = [0, 1, 2, 1, 2];
const REASONS = ['NORMAL', 'SHUTDOWN', 'KILLED', 'CRASHED', 'NOPROC'];
const NUL = 0xffffffffffffffffn; // KVREG_NUL: koffi passes a string as UTF-8 that ends at its NUL
// As 'char' koffi would stop at a NUL.
const text = ({ data, len }) => Buffer.from(koffi.decode(data, 'uint8_t', len)).toString();

function check(status) {
  if (status === OK) return;
  const sentence = Buffer.alloc(256);
  lastError(sentence, sentence.length);
  throw new Error(`${statusName(status)}: ${koffi.decode(sentence, 'char', -1)}`);
}

const registry = [null], shopping = [null], update = [null], inbox = [null];
const milk = [0], value = {}, down = {};
try {
  check(kvreg.registry_start(null, registry));
  check(kvreg.registry_create(registry[0], 'shopping', NUL, 0, shopping));
  check(kvreg.bucket_put_int(shopping[0], 'milk', NUL, 1));
  check(kvreg.bucket_get_int(shopping[0], 'milk', NUL, milk));
  console.log(`milk: ${milk[0]}`); // beyond 2^53 koffi gives, and takes, a BigInt

  // An update without a callback: begin gives the value, and the bucket waits until end. An
  // integer owns nothing; a text would be cleared by kvreg_value_clear.
  check(kvreg.bucket_update_begin(shopping[0], 'milk', NUL, value, update));
  const next = { type: INT, as: { integer: value.as.integer + 1 } };
  check(kvreg.update_end(update[0], STORE, next));
  check(kvreg.bucket_get_int(shopping[0], 'milk', NUL, milk));
  console.log(`milk: ${milk[0]}`);

  check(kvreg.inbox_open(inbox));
  check(kvreg.inbox_monitor(inbox[0], shopping[0], [0]));
  check(kvreg.bucket_exit(shopping[0], KILLED, 'for the demo', NUL));
  // What may wait runs beside the event loop, on a thread of koffi's. The sentence of an error
  // would stay there.
  check(await promisify(kvreg.inbox_receive.async)(inbox[0], 1000, down));
  console.log(`DOWN ${text(down.name)} ${REASONS[down.reason]}: ${text(down.detail)}`);
  clearEvent(down);

  const status = kvreg.registry_lookup(registry[0], 'shopping', NUL, [null]);
  console.log(`lookup: ${statusName(status)}`);
  if (status !== NOT_FOUND) throw new Error('the name is still there');
} finally {
  // What was never opened is null, which is fine.
  kvreg.inbox_free(inbox[0]);
  kvreg.bucket_free(shopping[0]);
  kvreg.registry_free(registry[0]);
}
