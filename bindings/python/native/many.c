/* Many keys in one call. The caller has seen to codecs, and raises what is answered. */
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

/* What the library is given. Where others run meanwhile, the objects that it reads are kept, whatever
 * is done to what holds them. */
struct kept {
    kvreg_pair *pairs;
    PyObject **objects; /* or NULL */
    size_t count, used;
    kvreg_pair few[FEW];
};

static bool keep(struct kept *kept, size_t count, size_t objects) {
    kept->count = count;
    kept->used = 0;
    kept->pairs = count <= FEW ? kept->few : PyMem_Malloc(count * sizeof *kept->pairs);
    kept->objects = objects == 0 ? NULL : PyMem_Malloc(objects * sizeof *kept->objects);
    if (kept->pairs == NULL || (kept->objects == NULL && objects != 0)) {
        PyErr_NoMemory();
        return false;
    }
    return true;
}

static void let_go(struct kept *kept) {
    for (size_t at = 0; at < kept->used; at++) {
        Py_DECREF(kept->objects[at]);
    }
    if (kept->pairs != kept->few) {
        PyMem_Free(kept->pairs);
    }
    PyMem_Free(kept->objects);
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
        if (kept->objects != NULL) {
            kept->objects[kept->used++] = Py_NewRef(key);
            kept->objects[kept->used++] = Py_NewRef(value);
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

/* put_many(bucket, dict): the status. It is TIMEOUT too if that is not for the short way. */
static PyObject *put_many(PyObject *module, PyObject *const *args, Py_ssize_t count) {
    (void)module;
    (void)count;
    struct kept kept;
    void *handle = bucket_at_once(args[0]);
    PyObject *answer = NULL, *dict = own_dict(args[1]);
    if (dict == NULL) {
        return NULL;
    }
    size_t size = (size_t)PyDict_Size(dict);
    bool are_few = size <= FEW && ((struct object *)args[0])->stored == Py_False;
    if (keep(&kept, size, are_few ? 0 : 2 * size)) {
        kvreg_status status = KVREG_TIMEOUT;
        if (handle != NULL && pairs_of(dict, &kept)) {
            PyThreadState *state = are_few ? NULL : PyEval_SaveThread();
            status = library.bucket_put_many(handle, kept.pairs, size);
            come_back(state);
        }
        answer = PyLong_FromLong(status);
    }
    let_go(&kept);
    Py_DECREF(dict);
    return answer;
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

/* get_many(bucket, keys, default): the status, and a list. It is TIMEOUT too if they are not for
 * the short way. */
static PyObject *get_many(PyObject *module, PyObject *const *args, Py_ssize_t count) {
    (void)module;
    (void)count;
    struct kept kept;
    void *handle = bucket_at_once(args[0]);
    PyObject *answer = NULL, *keys = PySequence_Tuple(args[1]);
    size_t size = keys == NULL ? 0 : (size_t)PyTuple_Size(keys);
    if (keys != NULL && keep(&kept, size, 0)) {
        kvreg_status status = KVREG_TIMEOUT;
        if (handle != NULL && keys_of(keys, &kept)) {
            PyThreadState *state = size <= FEW ? NULL : PyEval_SaveThread();
            status = library.bucket_get_many(handle, kept.pairs, size);
            come_back(state);
        }
        PyObject *found = status == KVREG_OK ? values_of(&kept, args[2]) : NULL;
        if (found != NULL || status != KVREG_OK) {
            answer = answer_of(status, found);
        }
    }
    if (keys != NULL) {
        let_go(&kept);
        Py_DECREF(keys);
    }
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

/* snapshot(bucket, values): the list of what it has; None if it is not for the short way. */
static PyObject *snapshot(PyObject *module, PyObject *const *args, Py_ssize_t count) {
    (void)count;
    void *handle = bucket_at_once(args[0]);
    size_t keys;
    kvreg_items *items;
    if (handle == NULL || library.bucket_count(handle, &keys) != KVREG_OK) {
        return Py_NewRef(Py_None);
    }
    if (!follow(PyModule_GetState(module))) {
        return NULL;
    }
    PyThreadState *state = keys <= FEW ? NULL : PyEval_SaveThread();
    kvreg_status status = library.bucket_items(handle, &items);
    come_back(state);
    if (status != KVREG_OK) {
        return Py_NewRef(Py_None);
    }
    PyObject *found;
    status = collected(items, args[1] == Py_True, &found);
    state = keys <= FEW ? NULL : PyEval_SaveThread();
    library.items_free(items);
    come_back(state);
    if (found != NULL && status != KVREG_NOT_FOUND) {
        fail(args[0], status);
        Py_CLEAR(found);
    }
    return found;
}

PyMethodDef many_methods[] = {
    {"put_many", METHOD(put_many), METH_FASTCALL, NULL},
    {"get_many", METHOD(get_many), METH_FASTCALL, NULL},
    {"collect", METHOD(collect), METH_FASTCALL, NULL},
    {"snapshot", METHOD(snapshot), METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};
