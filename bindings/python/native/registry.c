/* The short ways of registries: a look-up. */
#include "native.h"

/* A handle of the bucket that has the name; NULL if it is not for the short way. */
static kvreg_bucket *look_up(PyObject *self, PyObject *name, kvreg_status *status) {
    void *handle = handle_of(self);
    struct text text;
    kvreg_bucket *bucket;
    if (handle == NULL || !PyUnicode_CheckExact(name) || !key_of(name, &text)) {
        return NULL;
    }
    *status = library.registry_lookup(handle, text.data, text.len, &bucket);
    return *status == KVREG_OK ? bucket : NULL;
}

static PyObject *own(PyObject *self, const char *function, PyObject *name) {
    PyObject *result = pure(self, function, &name, 1, NULL);
    if (result != NULL) {
        learn(self);
    }
    return result;
}

static PyObject *get_item(PyObject *self, PyObject *name) {
    kvreg_status status = KVREG_TIMEOUT;
    kvreg_bucket *bucket = NULL;
    if (handle_of(self) != NULL && !is_read((struct object *)self)) {
        bucket = look_up(self, name, &status);
    }
    if (bucket == NULL) {
        return own(self, "_pure___getitem__", name);
    }
    PyObject *number = PyLong_FromVoidPtr(bucket);
    PyObject *found =
        number == NULL ? NULL : PyObject_CallMethod(self, "_bucket", "OO", number, name);
    Py_XDECREF(number);
    if (found == NULL) { /* an object that had it by then has freed it: this does nothing then */
        library.bucket_free(bucket);
    }
    return found;
}

static int contains(PyObject *self, PyObject *name) {
    kvreg_status status = KVREG_TIMEOUT;
    kvreg_bucket *bucket = look_up(self, name, &status);
    if (bucket != NULL) {
        library.bucket_free(bucket);
        return 1;
    }
    if (status == KVREG_NOT_FOUND) {
        return 0;
    }
    PyObject *found = own(self, "_pure___contains__", name);
    int is_there = found == NULL ? -1 : found == Py_True;
    Py_XDECREF(found);
    return is_there;
}

static PyType_Slot slots[] = {
    {Py_mp_subscript, FUNCTION(get_item)},
    {Py_sq_contains, FUNCTION(contains)},
    {0, NULL},
};

PyType_Spec registry_spec = {
    .name = "kvreg._native.Registry",
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = slots,
};
