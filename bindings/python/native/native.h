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
#include <stdint.h>

#include <kvreg.h>

#ifndef Py_BEGIN_CRITICAL_SECTION /* where the interpreter's lock is one */
#define Py_BEGIN_CRITICAL_SECTION(object) {
#define Py_END_CRITICAL_SECTION() }
#endif

#define FUNCTIONS(DO)                                                                              \
    DO(bucket_add_int)                                                                             \
    DO(bucket_clone)                                                                               \
    DO(bucket_count)                                                                               \
    DO(bucket_delete)                                                                              \
    DO(bucket_free)                                                                                \
    DO(bucket_get_into)                                                                            \
    DO(bucket_get_many)                                                                            \
    DO(bucket_items)                                                                               \
    DO(bucket_put)                                                                                 \
    DO(bucket_put_many)                                                                            \
    DO(bucket_set_timeout)                                                                         \
    DO(bucket_update_begin)                                                                        \
    DO(event_clear)                                                                                \
    DO(inbox_receive)                                                                              \
    DO(items_free)                                                                                 \
    DO(items_next)                                                                                 \
    DO(registry_clone)                                                                             \
    DO(registry_free)                                                                              \
    DO(registry_lookup)                                                                            \
    DO(registry_set_timeout)                                                                       \
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
 *   absent            stands for no default
 *   bucket            the class of buckets
 *   bucket_not_found  an exception
 *   by_loop           the code that reads a mapping as a whole, and is Python
 *   changes           the kinds of changes, as the library numbers them
 *   down              an event
 *   follow            looks if what the library logs is to be handed on
 *   keep, remove      what the function of an update may return
 *   key_not_found     an exception
 *   later             what a handler returns that answers later
 *   logging           the names of the module that hands it on
 *   lost              an event
 *   pointer           what ctypes has for a handle
 *   reasons           why servers end, as the library numbers them
 *   remote            the class of handles of servers whose code is not Python's
 *   stores            of which registries with a name a store was named
 *   timeouts          the names of the module that has the timeout of new objects
 *   watch             the class of the inboxes that watches have
 */
#define KNOWN(DO)                                                                                  \
    DO(absent)                                                                                     \
    DO(bucket)                                                                                     \
    DO(bucket_not_found)                                                                           \
    DO(by_loop)                                                                                    \
    DO(changes)                                                                                    \
    DO(down)                                                                                       \
    DO(follow)                                                                                     \
    DO(keep)                                                                                       \
    DO(key_not_found)                                                                              \
    DO(later)                                                                                      \
    DO(logging)                                                                                    \
    DO(lost)                                                                                       \
    DO(pointer)                                                                                    \
    DO(reasons)                                                                                    \
    DO(remote)                                                                                     \
    DO(remove)                                                                                     \
    DO(stores)                                                                                     \
    DO(timeouts)                                                                                   \
    DO(watch)

/* Names, which are made once. */
#define NAMES(DO)                                                                                  \
    DO(cell, "_cell")                                                                              \
    DO(code_name, "co_name")                                                                       \
    DO(frame, "frame")                                                                             \
    DO(get_item, "__getitem__")                                                                    \
    DO(handlers, "handlers")                                                                       \
    DO(inbox, "_inbox")                                                                            \
    DO(instruction, "instruction")                                                                 \
    DO(iter, "__iter__")                                                                           \
    DO(last, "f_lasti")                                                                            \
    DO(left, "left")                                                                               \
    DO(logger, "_logger")                                                                          \
    DO(module, "logging")                                                                          \
    DO(object, "object")                                                                           \
    DO(parent, "parent")                                                                           \
    DO(site, "site")                                                                               \
    DO(stored_in, "stored")                                                                        \
    DO(thread, "thread")                                                                           \
    DO(timeout, "default")                                                                         \
    DO(value, "value")                                                                             \
    DO(watched, "_changes")

struct known {
#define FIELD(name) PyObject *name;
    KNOWN(FIELD)
#undef FIELD
#define FIELD(name, text) PyObject *name;
    NAMES(FIELD)
#undef FIELD
    PyTypeObject *type; /* Object */
};

/* Attributes that objects of the package have in the struct, where both sides see them: what Python
 * would have as slots. Which of them an object has depends on its class; the others are NULL.
 * `frees` is not Python's: of a registry that its buckets keep it is what frees them. */
#define FIELDS(DO)                                                                                 \
    DO(called)                                                                                     \
    DO(closed)                                                                                     \
    DO(codec)                                                                                      \
    DO(free)                                                                                       \
    DO(frees)                                                                                      \
    DO(handle)                                                                                     \
    DO(hot)                                                                                        \
    DO(keeper)                                                                                     \
    DO(library)                                                                                    \
    DO(now)                                                                                        \
    DO(owned)                                                                                      \
    DO(readings)                                                                                   \
    DO(shared)                                                                                     \
    DO(stored)                                                                                     \
    DO(timeout)

/* What every object with a handle begins with. */
struct object {
    PyObject_HEAD
    _Atomic(void *) at_once;   /* the handle for the short ways; NULL as long as it is not known */
    const struct known *known; /* NULL as long as it was not needed */
    bool is_named;             /* of a bucket: it was looked up, so to free it ends nothing */
#define FIELD(name) PyObject *name;
    FIELDS(FIELD)
#undef FIELD
};

/* Whether somebody reads the mapping as a whole now: then a look-up may be of that. */
static inline bool is_read(struct object *object) {
    return object->readings != NULL && PyList_Size(object->readings) != 0;
}

/* The handle, or NULL. */
static inline void *handle_of(PyObject *self) {
    struct object *object = (struct object *)self;
    return atomic_load_explicit(&object->at_once, memory_order_acquire);
}

/* Gives the interpreter's lock up for a change that may block for a store; the answer is for
 * `come_back`. */
static inline PyThreadState *let_go_to_store(PyObject *self) {
    return ((struct object *)self)->stored != Py_False ? PyEval_SaveThread() : NULL;
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

/* Whether a value has bytes. */
bool is_text(const kvreg_value *value);

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

/* Raises that a key of a bucket is absent, as the object's `_absent`: NULL. */
PyObject *fail_absent(PyObject *self, PyObject *key);

/* Makes another handle, with timeout 0. */
typedef kvreg_status another(void *handle, void **made);

/* The handle with timeout 0, which is made if there is none yet, as `Server._at_once` does. NULL
 * if it cannot be: then it is for the package's own way. Nothing is raised, and no code in Python
 * runs: what a signal handler raised there would be lost. */
void *begin(PyObject *self, another *make, kvreg_status (*release)(void *));

/* What the module knows; NULL if it cannot be told. Nothing is raised. */
const struct known *known_to(PyObject *self);

/* The same of a bucket, but NULL if it has a codec. */
void *bucket_at_once(PyObject *self);

/* How many arguments there are by name; -1 if one of them is not `default`. */
Py_ssize_t named_default(PyObject *names);

/* Methods of buckets. */
typedef PyObject *of_bucket(PyObject *self, PyTypeObject *type, PyObject *const *args,
                            Py_ssize_t count, PyObject *names);
of_bucket get_many, put_many;

/* A list of the keys of a bucket, or of tuples with their values, as they are at one instant. NULL
 * too, and nothing raised, if it is not for the short way. */
PyObject *snapshot(PyObject *self, const struct known *known, bool with_values);

/* Of a mapping that somebody reads as a whole: as `_whole.looked_up` where one reads, and asks for
 * what is left. NULL for all else, and nothing is raised. */
PyObject *looked_up(struct object *object, PyObject *key);

/* For `tp_iter` of a bucket. */
PyObject *iterate(PyObject *self);

/* As `_logging.follow`; false if that raised. */
bool follow(const struct known *known);

/* Has the handle that the package has for the short ways; what it has is an int. */
void learn_handle(PyObject *self, PyObject *number);

#define FUNCTION(function) ((void *)(uintptr_t)(function))
#define METHOD(function) ((PyCFunction)(uintptr_t)(function))

extern PyType_Spec object_spec, bucket_spec, registry_spec, inbox_spec, remote_spec, watch_spec;
extern PyMethodDef bucket_methods[], inbox_methods[], remote_methods[]; /* of the types */
extern PyMethodDef watch_methods[];
extern PyMethodDef many_methods[], turn_methods[]; /* of the module */

#endif
