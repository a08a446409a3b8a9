// Three languages in one process, each with a server that the others call by its name: Node, which
// is the process, a library in C (native.c), and a plug-in in Python (plugin.py). All by koffi.
//
// Node's server is by turns. A worker serves it: the event loop's thread calls, and so waits, in
// C and in Python, and from there Node is called while it does.
//
// KVREG_LIBRARY, NATIVE and LIBPYTHON name the libraries, PYTHONPATH where kvreg and plugin.py are.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Worker, isMainThread, parentPort, workerData } from 'node:worker_threads';
import koffi from 'koffi';

const library = koffi.load(process.env.KVREG_LIBRARY);
const fields = { type: 'uint32_t', reserved: 'uint32_t' };
koffi.struct('kvreg_value', { ...fields, data: 'void *', len: 'size_t', private_: 'uint64_t' });
// The same with a text of JavaScript's, which koffi keeps for as long as a call takes.
koffi.struct('given_value', { ...fields, data: 'const char *', len: 'size_t', private_: 'uint64_t' });
koffi.struct('kvreg_message', {
  size: 'uint32_t', type: 'uint32_t', other: koffi.array('uint64_t', 2),
  tag: 'const char *', tag_len: 'size_t', values: 'kvreg_value *', rest: koffi.array('uint64_t', 6),
});
const kvreg = {};
for (const prototype of [
  'registry_start_server(void *registry, const char *name, size_t len, uint32_t flags, ' +
    'const void *options, _Out_ void **server, _Out_ void **turn)',
  'registry_call(void *registry, const char *name, size_t len, const char *tag, size_t tag_len, ' +
    'const given_value *values, size_t count, _Out_ kvreg_value *reply)',
  'registry_set_timeout(void *registry, int64_t timeout_ms)',
  'registry_stop(void *registry)',
  'registry_free(void *registry)',
  'server_free(void *server)',
  'server_begin(void *server, uint32_t flags, void *waiting, _Out_ void **turn)',
  'turn_next(void *turn, _Inout_ kvreg_message *)',
  'turn_answer(void *turn, int32_t verdict, const given_value *reply)',
  'turn_end(void *turn, int32_t verdict, const char *detail, size_t len)',
  'inbox_open(_Out_ void **inbox)',
  'inbox_receive(void *inbox, int64_t timeout_ms, _Inout_ uint8_t *event)',
  'inbox_free(void *inbox)',
]) kvreg[prototype.split('(')[0]] = library.func(`int32_t kvreg_${prototype}`);
const clearValue = library.func('void kvreg_value_clear(_Inout_ kvreg_value *)');
const clearMessage = library.func('void kvreg_message_clear(_Inout_ kvreg_message *)');
const clearEvent = library.func('void kvreg_event_clear(_Inout_ uint8_t *event)');
const statusName = library.func('const char *kvreg_status_name(int32_t)');
const lastError = library.func('size_t kvreg_last_error(_Out_ uint8_t *buffer, size_t capacity)');
const [KEEP, STRING, NOW, NOT_FOUND, TIMEOUT] = [0, 4, 1, 1, 5];
const NUL = 0xffffffffffffffffn;

function check(status) {
  if (status === 0) return;
  const sentence = Buffer.alloc(256);
  lastError(sentence, sentence.length);
  throw new Error(`${statusName(status)}: ${koffi.decode(sentence, 'char', -1)}`);
}

function opened(opener, ...args) {
  const out = [null];
  check(opener(...args, out));
  return out[0];
}

const textOf = ({ data, len }) => Buffer.from(koffi.decode(data, 'uint8_t', len)).toString();
const valueOf = (text) => (
  { type: STRING, reserved: 0, data: text, len: Buffer.byteLength(text), private_: 0 });

/** Calls a server of any language by its name. */
function call(registry, name, tag, text) {
  const reply = {};
  check(kvreg.registry_call(registry, name, NUL, tag, NUL, valueOf(text), 1, reply));
  assert.equal(reply.type, STRING);
  const answer = textOf(reply);
  clearValue(reply);
  return answer;
}

/** Starts a server by turns, whose mail is told to an inbox. */
function startServer(registry, name, inbox) {
  const [server, turn, options] = [[null], [null], Buffer.alloc(112)];
  options.writeUInt32LE(options.length);
  options.writeBigUInt64LE(BigInt(inbox), 88); // offsetof(kvreg_server_options, inbox)
  check(kvreg.registry_start_server(registry, name, NUL, 0, options, server, turn));
  check(kvreg.turn_end(turn[0], KEEP, null, 0)); // it has begun
  return server[0];
}

/** What Node's server answers. */
const handlers = {
  greet: (registry, who) => `Node greets ${who}`,
  ask: (registry, whom) => call(registry, whom, 'greet', 'Node'),
};

/** Handles what others have sent. */
function serve(registry, server) {
  const turn = opened(kvreg.server_begin, server, NOW, null);
  const message = { size: 96, type: 0, other: [0, 0], tag: null, tag_len: 0, values: null,
    rest: Array(6).fill(0) };
  let status;
  while ((status = kvreg.turn_next(turn, message)) === 0) {
    const text = textOf(koffi.decode(message.values, 'kvreg_value'));
    const answer = handlers[message.tag](registry, text);
    check(kvreg.turn_answer(turn, KEEP, valueOf(answer)));
    clearMessage(message);
  }
  assert.equal(status, NOT_FOUND);
  check(kvreg.turn_end(turn, KEEP, null, 0));
}

/** The worker: it serves until the inbox is freed. */
function serveAll({ registry, server, inbox }) {
  const event = Buffer.alloc(168);
  parentPort.postMessage('ready');
  while (kvreg.inbox_receive(inbox, -1, event) === 0) {
    clearEvent(event);
    serve(registry, server);
  }
}

/** Loads the interpreter, and has it import the plug-in. Gives what ends it. */
function startPython() {
  // Global: the modules of Python that are libraries look for its functions there.
  const python = koffi.load(process.env.LIBPYTHON, { global: true });
  python.func('void Py_InitializeEx(int with_signals)')(0); // SIGINT stays Node's
  const imported = python.func('void *PyImport_ImportModule(const char *name)')('plugin');
  if (imported === null) python.func('void PyErr_Print()')();
  // The thread that serves Python's servers needs the lock that this one has.
  const state = python.func('void *PyEval_SaveThread()')();
  const restore = python.func('void PyEval_RestoreThread(void *state)');
  const finalize = python.func('int Py_FinalizeEx()');
  const end = () => {
    restore(state);
    return finalize();
  };
  if (imported !== null) return end;
  end();
  throw new Error('the plug-in cannot be imported');
}

async function main() {
  const start = koffi.load(process.env.NATIVE).func('int32_t native_start(_Out_ void **registry)');
  const registry = opened(start);
  const inbox = opened(kvreg.inbox_open);
  const server = startServer(registry, 'Node', inbox);
  const worker = new Worker(new URL(import.meta.url), { workerData: { registry, server, inbox } });
  const ended = once(worker, 'exit');
  // However this ends: Node waits for the worker, and the worker for the inbox.
  process.on('exit', () => kvreg.inbox_free(inbox));
  await once(worker, 'message');
  const endPython = startPython();

  const languages = ['C', 'Python', 'Node'];
  for (const asks of languages) {
    for (const answers of languages.filter((other) => other !== asks)) {
      const greeting = call(registry, asks, 'ask', answers);
      console.log(`${asks} asks ${answers}: ${greeting}`);
      assert.equal(greeting, `${answers} greets ${asks}`);
    }
  }

  // What the event loop's thread is to serve it must not call: it would wait for itself.
  const own = opened(kvreg.inbox_open);
  const unserved = startServer(registry, 'unserved', own);
  check(kvreg.registry_set_timeout(registry, 20));
  const value = valueOf('Node');
  const status = kvreg.registry_call(registry, 'unserved', NUL, 'greet', NUL, value, 1, {});
  assert.equal(status, TIMEOUT);
  check(kvreg.registry_set_timeout(registry, 5000));

  check(kvreg.registry_stop(registry));
  check(kvreg.inbox_free(inbox)); // the worker ends
  await ended;
  assert.equal(endPython(), 0);
  for (const handle of [server, unserved]) check(kvreg.server_free(handle));
  check(kvreg.inbox_free(own));
  check(kvreg.registry_free(registry));
  console.log('together: ok');
}

if (isMainThread) await main();
else serveAll(workerData);
