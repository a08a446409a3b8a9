/*
 * kvreg._native: the short ways of the Python package, in C.
 *
 * It changes nothing but speed. Each function does what one of the package does where that is
 * simple: a key that is a str or bytes, a value of a plain type, a bucket without a codec, a call
 * that ends at once. For all else it calls the package's own, which the classes have as `_pure_`
 * and the name, and has done nothing before that anybody could see. So what is promised is written
 * once, in Python, and is what runs where there is no extension.
 *
 * It has no kvreg of its own: it calls the functions of the library that the package has loaded.
 *
 * Threads: all state is in objects, but for the addresses of the functions, which are written once
 * before the first object is made, and are the same for all interpreters of the process. The
 * interpreter's lock is kept by each call that ends at once, as all do through a handle with timeout
 * 0; and by who has a turn, but for what the user's function does meanwhile. It is given up for what
 * may be long, when no turn is held; and for changes of a bucket that a store keeps, which block for
 * that whatever the timeout. No frame of kvreg's is under code of the user's: an update and
 * a turn are begun before it, and ended after it.
 *
 * Signals: Python handles them between instructions of its own, so never inside a function here,
 * but for the user's code that it calls.
 */
#ifndef KVREG_NATIVE_H
#define KVREG_NATIVE_H

#include <pyconfig.h> /* which says Py_GIL_DISABLED */

#ifndef Py_GIL_DISABLED /* builds without the lock have no stable ABI yet */
#define Py_LIMITED_API 0x030B0000
#endif
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdatomic.h>

#include <kvreg.h>

#ifndef Py_BEGIN_CRITICAL_SECTION /* where the interpreter's lock is one */
#define Py_BEGIN_CRITICAL_SECTION(object) {
#define Py_END_CRITICAL_SECTION() }
#endif

#define FUNCTIONS(DO)                                                                              \
    DO(bucket_add_int)                                                                             \
    DO(bucket_count)                                                                               \
    DO(bucket_delete)                                                                              \
    DO(bucket_free)                                                                                \
    DO(bucket_get_into)                                                                            \
    DO(bucket_get_many)                                                                            \
    DO(bucket_put)                                                                                 \
    DO(bucket_put_many)                                                                            \
    DO(bucket_update_begin)                                                                        \
    DO(event_clear)                                                                                \
    DO(inbox_receive)                                                                              \
    DO(items_next)                                                                                 \
    DO(registry_lookup)                                                                            \
    DO(server_begin)                                                                               \
    DO(server_call)                                                                                \
    DO(turn_end)                                                                                   \
    DO(update_end)                                                                                 \
    DO(update_free)                                                                                \
    DO(value_clear)

/* The library's, by their names without `kvreg_`. */
struct functions {
#define FIELD(name) __typeof__(kvreg_##name) *name;
    FUNCTIONS(FIELD)
#undef FIELD
};

extern struct functions library;

/* What the module knows of the package, and is told by `know`:
 *   absent         stands for no default
 *   changes        the kinds of changes, as the library numbers them
 *   down           an event
 *   follow         looks if what the library logs is to be handed on
 *   keep, remove   what the function of an update may return
 *   key_not_found  an exception
 *   later          what a handler returns that answers later
 *   logging        the names of the module that hands it on
 *   reasons        why servers end, as the library numbers them
 *   remote         the class of handles of servers whose code is not Python's
 */
#define KNOWN(DO)                                                                                  \
    DO(absent)                                                                                     \
    DO(changes)                                                                                    \
    DO(down)                                                                                       \
    DO(follow)                                                                                     \
    DO(keep)                                                                                       \
    DO(key_not_found)                                                                              \
    DO(later)                                                                                      \
    DO(logging)                                                                                    \
    DO(reasons)                                                                                    \
    DO(remote)                                                                                     \
    DO(remove)

/* Names, which are made once. */
#define NAMES(DO)                                                                                  \
    DO(cell, "_cell")                                                                              \
    DO(handlers, "handlers")                                                                       \
    DO(inbox, "_inbox")                                                                            \
    DO(logger, "_logger")                                                                          \
    DO(module, "logging")                                                                          \
    DO(object, "object")                                                                           \
    DO(parent, "parent")

struct known {
#define FIELD(name) PyObject *name;
    KNOWN(FIELD)
#undef FIELD
#define FIELD(name, text) PyObject *name;
    NAMES(FIELD)
#undef FIELD
    PyTypeObject *type; /* Object */
};

/* What every object with a handle begins with. */
struct object {
    PyObject_HEAD
    _Atomic(void *) handle; /* for the short ways; NULL as long as it is not known */
    PyObject *readings;     /* of a mapping that somebody reads as a whole, or NULL */
    atomic_bool is_long;    /* what it has is not for the short ways */
    atomic_bool is_stored;  /* a store may keep it: to change it blocks for that */
};

/* Whether somebody reads the mapping as a whole now: then a look-up may be of that. To be asked
 * once there is a handle. */
static inline bool is_read(struct object *object) {
    return object->readings != NULL && PyList_Size(object->readings) != 0;
}

/* The handle, or NULL. */
static inline void *handle_of(PyObject *self) {
    struct object *object = (struct object *)self;
    return atomic_load_explicit(&object->handle, memory_order_acquire);
}

/* Gives the interpreter's lock up for a change that may block for a store; the answer is for
 * `come_back`. */
static inline PyThreadState *let_go_to_store(PyObject *self) {
    return ((struct object *)self)->is_stored ? PyEval_SaveThread() : NULL;
}

static inline void come_back(PyThreadState *state) {
    if (state != NULL) {
        PyEval_RestoreThread(state);
    }
}

/* As in `kvreg._hot`. */
#define LONGEST 65536
#define ROOM 1024

struct text {
    const char *data;
    size_t len;
};

/* The bytes of a key, which live as long as it does; false if it is not for the short ways. */
bool key_of(PyObject *key, struct text *text);

/* A value as the library takes it, which lives as long as the object; false as above. */
bool value_of(PyObject *object, kvreg_value *value);

/* The object of a value, which is released. NULL if there is no memory, or it is no text. */
PyObject *object_of(kvreg_value *value);

/* The same of a value whose text, if it has `capacity` bytes at most, is in the caller's buffer. */
PyObject *object_of_read(kvreg_value *value, size_t capacity);

/* Releases such a value, of which no object is wanted. */
void release_read(kvreg_value *value, size_t capacity);

/* Calls a function with `first`, if it is not NULL, and then what a METH_FASTCALL got. */
PyObject *call(PyObject *function, PyObject *first, PyObject *const *args, Py_ssize_t count,
               PyObject *names);

/* Calls the package's own function, whose name begins with `_pure_`. */
PyObject *pure(PyObject *self, const char *name, PyObject *const *args, Py_ssize_t count,
               PyObject *names);

/* Raises an exception, which it takes, if there is one: NULL. */
PyObject *raise_error(PyObject *error);

/* Raises what a status says, by the object's `_error`: NULL. */
PyObject *fail(PyObject *self, kvreg_status status);

/* Raises that a key is absent, by the object's `_absent`: NULL. */
PyObject *fail_absent(PyObject *self, PyObject *key);

/* Takes the handle with timeout 0, if the package has made one. Nothing may be raised yet, and no
 * code in Python runs: what a signal handler raised there would be lost. */
void learn(PyObject *self);

/* The same of an object that has no other handle than `number`, which it takes. */
void learn_handle(PyObject *self, PyObject *number);

#define FUNCTION(function) ((void *)(uintptr_t)(function))
#define METHOD(function) ((PyCFunction)(uintptr_t)(function))

extern PyType_Spec object_spec, bucket_spec, registry_spec, inbox_spec, remote_spec;
extern PyMethodDef bucket_methods[], inbox_methods[], remote_methods[]; /* of the types */
extern PyMethodDef many_methods[], turn_methods[];                      /* of the module */

#endif
