/* The short ways of buckets: one key. */
#include "native.h"

static kvreg_status clone(void *handle, void **made) {
    kvreg_bucket *bucket;
    kvreg_status status = library.bucket_clone(handle, &bucket);
    if (status == KVREG_OK) {
        library.bucket_set_timeout(bucket, 0);
        *made = bucket;
    }
    return status;
}

static kvreg_status release(void *handle) {
    return library.bucket_free(handle);
}

void *bucket_at_once(PyObject *self) {
    void *handle = handle_of(self);
    bool is_short = handle == NULL && ((struct object *)self)->codec == Py_None;
    return is_short ? begin(self, clone, release) : handle;
}

/* Whether it is for the short way: then the handle and the key are there. */
static bool is_short(PyObject *self, PyObject *key, void **handle, struct text *text) {
    return key_of(key, text) && (*handle = bucket_at_once(self)) != NULL;
}

/* Reads a key by the short way, and its object if `found` is not NULL: NULL there is raised. The
 * answer is OK, NOT_FOUND, or TIMEOUT for whatever the package's own way is to see to. */
static kvreg_status read_key(PyObject *self, PyObject *key, PyObject **found) {
    void *handle;
    struct text text;
    if (!is_short(self, key, &handle, &text)) {
        return KVREG_TIMEOUT;
    }
    char buffer[ROOM];
    kvreg_value value;
    kvreg_status status =
        library.bucket_get_into(handle, text.data, text.len, buffer, ROOM, &value);
    if (status != KVREG_OK) {
        return status == KVREG_NOT_FOUND ? status : KVREG_TIMEOUT;
    }
    if (found != NULL) {
        *found = object_of_read(&value, ROOM);
    } else {
        release_read(&value, ROOM);
    }
    return status;
}

Py_ssize_t named_default(PyObject *names) {
    if (names == NULL || PyTuple_Size(names) == 0) {
        return 0;
    }
    PyObject *name = PyTuple_GetItem(names, 0);
    bool is_default = PyUnicode_CompareWithASCIIString(name, "default") == 0;
    return is_default && PyTuple_Size(names) == 1 ? 1 : -1;
}

static PyObject *get_item(PyObject *self, PyObject *key) {
    if (is_read((struct object *)self)) {
        PyObject *found = looked_up((struct object *)self, key);
        if (found != NULL) {
            return found;
        }
    } else {
        PyObject *found;
        kvreg_status status = read_key(self, key, &found);
        if (status != KVREG_TIMEOUT) {
            return status == KVREG_OK ? found : fail_absent(self, key);
        }
    }
    return pure(self, "_pure___getitem__", &key, 1, NULL);
}

static PyObject *get(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    Py_ssize_t named = named_default(names);
    if (named >= 0 && count >= 1 && count + named <= 2) {
        PyObject *found;
        kvreg_status status = read_key(self, args[0], &found);
        if (status != KVREG_TIMEOUT) {
            PyObject *absent = count + named == 2 ? args[1] : Py_None;
            return status == KVREG_OK ? found : Py_NewRef(absent);
        }
    }
    return pure(self, "_pure_get", args, count, names);
}

static int contains(PyObject *self, PyObject *key) {
    kvreg_status status = read_key(self, key, NULL);
    if (status != KVREG_TIMEOUT) {
        return status == KVREG_OK;
    }
    PyObject *found = pure(self, "_pure___contains__", &key, 1, NULL);
    int is_there = found == NULL ? -1 : found == Py_True;
    Py_XDECREF(found);
    return is_there;
}

static Py_ssize_t length(PyObject *self) {
    void *handle = bucket_at_once(self);
    size_t count;
    if (handle != NULL && library.bucket_count(handle, &count) == KVREG_OK) {
        return (Py_ssize_t)count;
    }
    PyObject *found = pure(self, "_pure___len__", NULL, 0, NULL);
    Py_ssize_t len = found == NULL ? -1 : PyLong_AsSsize_t(found);
    Py_XDECREF(found);
    return len;
}

static int set_item(PyObject *self, PyObject *key, PyObject *object) {
    void *handle;
    struct text text;
    if (is_short(self, key, &handle, &text)) {
        kvreg_status status = KVREG_TIMEOUT;
        kvreg_value value;
        if (object == NULL) {
            PyThreadState *state = let_go_to_store(self);
            status = library.bucket_delete(handle, text.data, text.len, NULL);
            come_back(state);
        } else if (value_of(object, &value)) {
            PyThreadState *state = let_go_to_store(self);
            status = library.bucket_put(handle, text.data, text.len, &value);
            come_back(state);
        }
        if (status == KVREG_OK) {
            return 0;
        }
        if (status != KVREG_TIMEOUT) {
            status == KVREG_NOT_FOUND ? fail_absent(self, key) : fail(self, status);
            return -1;
        }
    }
    PyObject *args[] = {key, object};
    const char *name = object == NULL ? "_pure___delitem__" : "_pure___setitem__";
    PyObject *done = pure(self, name, args, object == NULL ? 1 : 2, NULL);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

static PyObject *pop(PyObject *self, PyTypeObject *type, PyObject *const *args, Py_ssize_t count,
                     PyObject *names) {
    const struct known *known = PyType_GetModuleState(type);
    void *handle;
    struct text text;
    if ((count == 1 || count == 2) && names == NULL && is_short(self, args[0], &handle, &text)) {
        kvreg_value value;
        PyThreadState *state = let_go_to_store(self);
        kvreg_status status = library.bucket_delete(handle, text.data, text.len, &value);
        come_back(state);
        if (status == KVREG_OK) {
            return object_of(&value);
        }
        if (status == KVREG_NOT_FOUND) {
            bool has_default = count == 2 && args[1] != known->absent;
            return has_default ? Py_NewRef(args[1]) : fail_absent(self, args[0]);
        }
        if (status != KVREG_TIMEOUT) {
            return fail(self, status);
        }
    }
    return pure(self, "_pure_pop", args, count, names);
}

static PyObject *set_default(PyObject *self, PyObject *const *args, Py_ssize_t count,
                             PyObject *names) {
    if (count >= 1 && count <= 2 && names == NULL) {
        PyObject *found, *given = count == 2 ? args[1] : Py_None;
        kvreg_status status = read_key(self, args[0], &found);
        if (status == KVREG_OK) {
            return found;
        }
        if (status == KVREG_NOT_FOUND) {
            return PyObject_CallMethod(self, "_store_if_absent", "OO", args[0], given);
        }
    }
    return pure(self, "_pure_setdefault", args, count, names);
}

static PyObject *add(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    void *handle;
    struct text text;
    if (count >= 1 && count <= 2 && names == NULL && is_short(self, args[0], &handle, &text) &&
        (count == 1 || PyLong_CheckExact(args[1]))) {
        int overflow = 0;
        int64_t sum, delta = count == 1 ? 1 : PyLong_AsLongLongAndOverflow(args[1], &overflow);
        if (overflow == 0) {
            PyThreadState *state = let_go_to_store(self);
            kvreg_status status =
                library.bucket_add_int(handle, text.data, text.len, delta, &sum);
            come_back(state);
            if (status == KVREG_OK) {
                return PyLong_FromLongLong(sum);
            }
            if (status != KVREG_TIMEOUT) {
                return fail(self, status);
            }
        }
    }
    return pure(self, "_pure_add", args, count, names);
}

/* Ends an update whose function has returned `result`: false with what is raised. */
static bool end(PyObject *self, const struct known *known, kvreg_update *update,
                PyObject *result) {
    kvreg_verdict verdict = KVREG_STORE;
    kvreg_value next;
    if (result == known->keep || result == known->remove) {
        verdict = result == known->keep ? KVREG_KEEP : KVREG_REMOVE;
    } else if (!value_of(result, &next)) {
        PyObject *number = PyLong_FromVoidPtr(update);
        PyObject *done = number == NULL ? NULL
                                        : PyObject_CallMethod(self, "_end_update", "OO", number,
                                                              result);
        Py_XDECREF(number);
        Py_XDECREF(done);
        return done != NULL;
    }
    PyThreadState *state = let_go_to_store(self);
    kvreg_status status = library.update_end(update, verdict, &next);
    come_back(state);
    if (status != KVREG_OK) {
        fail(self, status);
    }
    return status == KVREG_OK;
}

/* One update that has begun. Whatever is raised, it is freed: to end one twice does nothing. */
static PyObject *decide(PyObject *self, const struct known *known, kvreg_update *update,
                        PyObject *given, PyObject *function) {
    PyObject *result = PyObject_CallFunctionObjArgs(function, given, NULL);
    if (result == NULL || !end(self, known, update, result)) {
        library.update_free(update);
        Py_XDECREF(result);
        return NULL;
    }
    if (result == known->keep || result == known->remove) {
        Py_DECREF(result);
        return Py_NewRef(result == known->keep ? given : Py_None);
    }
    return result;
}

static PyObject *update_key(PyObject *self, const struct known *known, void *handle,
                            PyObject *key, const struct text *text, PyObject *function,
                            PyObject *absent) {
    kvreg_update *update;
    kvreg_value current;
    kvreg_status status =
        library.bucket_update_begin(handle, text->data, text->len, &current, &update);
    if (status != KVREG_OK) {
        return status == KVREG_TIMEOUT ? NULL : fail(self, status);
    }
    PyObject *given = NULL;
    if (current.type != KVREG_ABSENT) {
        given = object_of(&current);
    } else if (absent != NULL) {
        given = Py_NewRef(absent);
    } else {
        PyErr_SetObject(known->key_not_found, key);
    }
    if (given == NULL) {
        library.update_free(update);
        return NULL;
    }
    PyObject *result = decide(self, known, update, given, function);
    Py_DECREF(given);
    return result;
}

static PyObject *update(PyObject *self, PyTypeObject *type, PyObject *const *args,
                        Py_ssize_t count, PyObject *names) {
    void *handle;
    struct text text;
    Py_ssize_t named = named_default(names);
    if (count == 2 && named >= 0 && PyCallable_Check(args[1]) &&
        is_short(self, args[0], &handle, &text)) {
        PyObject *result = update_key(self, PyType_GetModuleState(type), handle, args[0], &text,
                                      args[1], named == 1 ? args[2] : NULL);
        if (result != NULL || PyErr_Occurred() != NULL) {
            return result;
        }
    }
    const struct known *known = PyType_GetModuleState(type);
    if (count == 1 && names == NULL && PyDict_CheckExact(args[0]) &&
        (PyObject *)Py_TYPE(self) == known->bucket) { /* others may have a put_many of their own */
        return put_many(self, type, args, count, names);
    }
    return pure(self, "_pure_update", args, count, names);
}

static void free_handle(struct object *object, PyObject *owned) {
    PyObject *number = PyLong_CheckExact(owned) || object->known == NULL
                           ? Py_NewRef(owned)
                           : PyObject_GetAttr(owned, object->known->value);
    if (number != NULL && PyLong_CheckExact(number)) {
        void *handle = PyLong_AsVoidPtr(number);
        PyThreadState *state = object->is_named ? NULL : PyEval_SaveThread();
        library.bucket_free(handle);
        come_back(state);
    } else if (number != NULL && owned != Py_None) {
        PyObject *done = PyObject_CallFunctionObjArgs(object->free, owned, NULL);
        Py_XDECREF(done);
    }
    Py_XDECREF(number);
    PyErr_Clear();
}

/* As `Handle.__del__`. The last handle of a bucket without a name frees what that has, which may be
 * long. */
static void finalize(PyObject *self) {
    struct object *object = (struct object *)self;
    PyObject *type, *error, *traceback, *owned = object->owned;
    PyErr_Fetch(&type, &error, &traceback);
    Py_XINCREF(owned);
    for (Py_ssize_t left; owned != NULL && (left = PyList_Size(owned)) > 0;) {
        PyObject *last = Py_NewRef(PyList_GetItem(owned, left - 1));
        PyList_SetSlice(owned, left - 1, left, NULL);
        free_handle(object, last);
        Py_DECREF(last);
    }
    Py_XDECREF(owned);
    PyErr_Restore(type, error, traceback);
}

PyMethodDef bucket_methods[] = {
    {"add", METHOD(add), METH_FASTCALL | METH_KEYWORDS, "add($self, key, n=1)\n--\n\n"},
    {"get", METHOD(get), METH_FASTCALL | METH_KEYWORDS, "get($self, key, /, default=None)\n--\n\n"},
    {"get_many", METHOD(get_many), METH_METHOD | METH_FASTCALL | METH_KEYWORDS,
     "get_many($self, keys, default=None)\n--\n\n"},
    {"pop", METHOD(pop), METH_METHOD | METH_FASTCALL | METH_KEYWORDS,
     "pop($self, key, /, default=...)\n--\n\n"},
    {"put_many", METHOD(put_many), METH_METHOD | METH_FASTCALL | METH_KEYWORDS,
     "put_many($self, other)\n--\n\n"},
    {"setdefault", METHOD(set_default), METH_FASTCALL | METH_KEYWORDS,
     "setdefault($self, key, default=None)\n--\n\n"},
    {"update", METHOD(update), METH_METHOD | METH_FASTCALL | METH_KEYWORDS,
     "update($self, /, *args, **named)\n--\n\n"},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_mp_subscript, FUNCTION(get_item)},
    {Py_mp_ass_subscript, FUNCTION(set_item)},
    {Py_mp_length, FUNCTION(length)},
    {Py_sq_contains, FUNCTION(contains)},
    {Py_tp_iter, FUNCTION(iterate)},
    {Py_tp_methods, bucket_methods},
    {Py_tp_finalize, FUNCTION(finalize)},
    {0, NULL},
};

PyType_Spec bucket_spec = {
    .name = "kvreg._native.Bucket",
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = slots,
};
