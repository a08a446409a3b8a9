/* Many keys in one call. */
#include "native.h"

/* So many keys are taken or made with the interpreter's lock, some milliseconds; then others and
 * signals have their turn. */
#define STRIDE 16384

/* So few are done before another thread could use the lock. */
#define FEW 64

static int let_others_run(size_t at) {
    if (at % STRIDE != STRIDE - 1) {
        return 0;
    }
    PyThreadState *state = PyEval_SaveThread();
    PyEval_RestoreThread(state);
    return PyErr_CheckSignals();
}

/* What the library is given, and the objects that it reads: kept, whatever others do meanwhile to
 * what holds them. */
struct kept {
    kvreg_pair *pairs;
    PyObject **objects;
    size_t count, used, bytes;
    kvreg_pair few[FEW];
    PyObject *few_objects[2 * FEW];
};

static bool keep(struct kept *kept, size_t count, size_t objects) {
    bool are_few = count <= FEW;
    kept->count = count;
    kept->used = kept->bytes = 0;
    kept->pairs = are_few ? kept->few : PyMem_Malloc(count * sizeof *kept->pairs);
    kept->objects = are_few ? kept->few_objects : PyMem_Malloc(objects * sizeof *kept->objects);
    if (kept->pairs == NULL || kept->objects == NULL) {
        PyErr_NoMemory();
        return false;
    }
    return true;
}

static void let_go(struct kept *kept) {
    for (size_t at = 0; at < kept->used; at++) {
        Py_DECREF(kept->objects[at]);
    }
    if (kept->count > FEW) {
        PyMem_Free(kept->pairs);
        PyMem_Free(kept->objects);
    }
}

static void key_is(kvreg_pair *pair, const struct text *text) {
    pair->key = text->data;
    pair->key_len = text->len;
}

/* The pairs of a dict; false if one is not for the short way. */
static bool pairs_of(PyObject *dict, struct kept *kept) {
    PyObject *key, *value;
    Py_ssize_t place = 0;
    size_t at = 0;
    for (; at < kept->count && PyDict_Next(dict, &place, &key, &value); at++) {
        struct text text;
        if (!key_of(key, &text) || !value_of(value, &kept->pairs[at].value)) {
            return false;
        }
        key_is(&kept->pairs[at], &text);
        kept->objects[kept->used++] = Py_NewRef(key);
        kept->objects[kept->used++] = Py_NewRef(value);
        if (is_text(&kept->pairs[at].value)) {
            kept->bytes += kept->pairs[at].value.as.text.len;
        }
    }
    return at == kept->count;
}

/* A dict that nobody changes meanwhile. */
static PyObject *own_dict(PyObject *dict) {
#ifdef Py_GIL_DISABLED
    return PyDict_Copy(dict);
#else
    return Py_NewRef(dict);
#endif
}

/* Puts all that a dict has. TIMEOUT too if that is not for the short way, or something is raised. */
static kvreg_status put_all(PyObject *self, void *handle, PyObject *dict) {
    struct kept kept;
    kvreg_status status = KVREG_TIMEOUT;
    size_t size = (size_t)PyDict_Size(dict);
    if (keep(&kept, size, 2 * size) && pairs_of(dict, &kept)) {
        bool are_few = size <= FEW && kept.bytes <= LONGEST;
        PyThreadState *state = are_few ? let_go_to_store(self) : PyEval_SaveThread();
        status = library.bucket_put_many(handle, kept.pairs, size);
        come_back(state);
    }
    let_go(&kept);
    return status;
}

PyObject *put_many(PyObject *self, PyTypeObject *type, PyObject *const *args, Py_ssize_t count,
                   PyObject *names) {
    bool is_dict = count == 1 && names == NULL && PyDict_CheckExact(args[0]);
    void *handle = is_dict ? bucket_at_once(self) : NULL;
    if (handle != NULL) {
        if (!follow(PyType_GetModuleState(type))) {
            return NULL;
        }
        PyObject *dict = own_dict(args[0]);
        kvreg_status status = dict == NULL ? KVREG_TIMEOUT : put_all(self, handle, dict);
        Py_XDECREF(dict);
        if (status == KVREG_OK) {
            return Py_NewRef(Py_None);
        }
        if (status != KVREG_TIMEOUT) {
            return fail(self, status);
        }
        if (PyErr_Occurred() != NULL) {
            return NULL;
        }
    }
    return pure(self, "_pure_put_many", args, count, names);
}

static bool keys_of(PyObject *keys, struct kept *kept) {
    for (size_t at = 0; at < kept->count; at++) {
        PyObject *key = PyTuple_GetItem(keys, (Py_ssize_t)at);
        struct text text;
        if (!key_of(key, &text)) {
            return false;
        }
        key_is(&kept->pairs[at], &text);
    }
    return true;
}

/* A list of the values, which are released; NULL if one cannot be made. */
static PyObject *values_of(struct kept *kept, PyObject *absent) {
    PyObject *found = PyList_New(0); /* others can see it: there is nothing in it yet */
    for (size_t at = 0; at < kept->count; at++) {
        kvreg_value *value = &kept->pairs[at].value;
        if (found == NULL || let_others_run(at) != 0) {
            library.value_clear(value);
            Py_CLEAR(found);
            continue;
        }
        PyObject *object =
            value->type == KVREG_ABSENT ? Py_NewRef(absent) : object_of(value);
        if (object == NULL || PyList_Append(found, object) != 0) {
            Py_CLEAR(found);
        }
        Py_XDECREF(object);
    }
    return found;
}

/* The values of the keys of a tuple; NULL too, with nothing raised, if that is not for the short
 * way. */
static PyObject *get_all(PyObject *self, void *handle, PyObject *keys, PyObject *absent) {
    struct kept kept;
    PyObject *found = NULL;
    size_t size = (size_t)PyTuple_Size(keys);
    if (keep(&kept, size, 0) && keys_of(keys, &kept)) {
        PyThreadState *state = size <= FEW ? NULL : PyEval_SaveThread();
        kvreg_status status = library.bucket_get_many(handle, kept.pairs, size);
        come_back(state);
        if (status == KVREG_OK) {
            found = values_of(&kept, absent);
        } else if (status != KVREG_TIMEOUT) {
            fail(self, status);
        }
    }
    let_go(&kept);
    return found;
}

PyObject *get_many(PyObject *self, PyTypeObject *type, PyObject *const *args, Py_ssize_t count,
                   PyObject *names) {
    Py_ssize_t named = named_default(names);
    if (named < 0 || count < 1 || count + named > 2) {
        return pure(self, "_pure_get_many", args, count, names);
    }
    PyObject *absent = count + named == 2 ? args[1] : Py_None, *found = NULL;
    PyObject *keys = PySequence_Tuple(args[0]);
    if (keys == NULL) {
        return NULL;
    }
    void *handle = PyTuple_Size(keys) == 0 ? NULL : bucket_at_once(self);
    if (handle == NULL || follow(PyType_GetModuleState(type))) {
        found = handle == NULL ? NULL : get_all(self, handle, keys, absent);
        if (found == NULL && PyErr_Occurred() == NULL) {
            PyObject *given[] = {keys, absent};
            found = pure(self, "_pure_get_many", given, 2, NULL);
        }
    }
    Py_DECREF(keys);
    return found;
}

/* What a call gives that answered `status`: with a list, which it takes, if it is not NULL. */
static PyObject *answer_of(kvreg_status status, PyObject *found) {
    PyObject *answer = PyTuple_New(2), *number = PyLong_FromLong(status);
    if (answer == NULL || number == NULL) {
        Py_XDECREF(answer);
        Py_XDECREF(number);
        Py_XDECREF(found);
        return NULL;
    }
    PyTuple_SetItem(answer, 0, number);
    PyTuple_SetItem(answer, 1, found == NULL ? Py_NewRef(Py_None) : found);
    return answer;
}

/* What one step of a snapshot gives: its key, or a tuple of key and value. */
static PyObject *item_of(kvreg_value *key, kvreg_value *value) {
    const char *data = (const char *)key->as.text.data;
    PyObject *name =
        PyUnicode_DecodeUTF8(data, (Py_ssize_t)key->as.text.len, "surrogateescape");
    library.value_clear(key);
    if (value == NULL) {
        return name;
    }
    PyObject *object = object_of(value);
    PyObject *pair = name == NULL || object == NULL ? NULL : PyTuple_New(2);
    if (pair == NULL) {
        Py_XDECREF(name);
        Py_XDECREF(object);
        return NULL;
    }
    PyTuple_SetItem(pair, 0, name);
    PyTuple_SetItem(pair, 1, object);
    return pair;
}

/* The status, NOT_FOUND at its end, and a list of all that a snapshot has left. */
static kvreg_status collected(kvreg_items *snapshot, bool with_values, PyObject **found) {
    kvreg_value key, value;
    kvreg_status status = KVREG_OK;
    *found = PyList_New(0);
    for (size_t at = 0; *found != NULL; at++) {
        status = library.items_next(snapshot, &key, with_values ? &value : NULL);
        if (status != KVREG_OK) {
            break;
        }
        PyObject *item = item_of(&key, with_values ? &value : NULL);
        if (item == NULL || PyList_Append(*found, item) != 0 || let_others_run(at) != 0) {
            Py_CLEAR(*found);
        }
        Py_XDECREF(item);
    }
    return status;
}

/* collect(snapshot, values): the status, and the list. */
static PyObject *collect(PyObject *module, PyObject *const *args, Py_ssize_t count) {
    (void)module;
    (void)count;
    PyObject *found;
    kvreg_status status = collected(PyLong_AsVoidPtr(args[0]), args[1] == Py_True, &found);
    return found == NULL ? NULL : answer_of(status, found);
}

PyObject *snapshot(PyObject *self, const struct known *known, bool with_values) {
    void *handle = bucket_at_once(self);
    size_t keys;
    kvreg_items *items;
    if (handle == NULL || library.bucket_count(handle, &keys) != KVREG_OK || !follow(known)) {
        return NULL;
    }
    PyThreadState *state = keys <= FEW ? NULL : PyEval_SaveThread();
    kvreg_status status = library.bucket_items(handle, &items);
    come_back(state);
    if (status != KVREG_OK) {
        return NULL;
    }
    PyObject *found;
    status = collected(items, with_values, &found);
    state = keys <= FEW ? NULL : PyEval_SaveThread();
    library.items_free(items);
    come_back(state);
    if (found != NULL && status != KVREG_NOT_FOUND) {
        fail(self, status);
        Py_CLEAR(found);
    }
    return found;
}

/* snapshot(bucket, values): the list of what it has; None if it is not for the short way. */
static PyObject *take_snapshot(PyObject *module, PyObject *const *args, Py_ssize_t count) {
    (void)count;
    PyObject *found = snapshot(args[0], PyModule_GetState(module), args[1] == Py_True);
    return found != NULL || PyErr_Occurred() != NULL ? found : Py_NewRef(Py_None);
}

PyMethodDef many_methods[] = {
    {"collect", METHOD(collect), METH_FASTCALL, NULL},
    {"snapshot", METHOD(take_snapshot), METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};
