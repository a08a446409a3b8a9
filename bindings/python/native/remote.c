/* The short way of a call by a tag, of a server whose code is not Python's. */
#include "native.h"

/* So many values at most; with more it is for the package's own way. */
#define MOST 16

/* The arguments as values; false if they are not for the short way. */
static bool values_of(PyObject *const *args, Py_ssize_t count, kvreg_value *values) {
    for (Py_ssize_t at = 0; at < count; at++) {
        if (!value_of(args[at], &values[at])) {
            return false;
        }
    }
    return true;
}

static PyObject *refused(PyObject *self, kvreg_status status) {
    return raise_error(PyObject_CallMethod(self, "_refusal", "iO", (int)status, Py_None));
}

/* After a call that the package made: from here on the short way can be. It is not for handles
 * that have the methods of a class, which may be of other types, or a codec. */
static void learn_remote(PyObject *self, const struct known *known) {
    if (handle_of(self) != NULL || (PyObject *)Py_TYPE(self) != known->remote) {
        return;
    }
    const struct object *object = (struct object *)self;
    if (object->now != NULL && object->now != Py_None && object->codec == Py_None) {
        PyObject *number = PyObject_GetAttr(object->now, known->value);
        learn_handle(self, number);
        Py_XDECREF(number);
    }
}

/* call(tag, *values). What runs is the user's code, and may be long: so others run meanwhile. */
static PyObject *call_by_tag(PyObject *self, PyTypeObject *type, PyObject *const *args,
                             Py_ssize_t count, PyObject *names) {
    const struct known *known = PyType_GetModuleState(type);
    bool is_foreign = (PyObject *)Py_TYPE(self) == known->remote;
    void *handle = is_foreign ? handle_of(self) : NULL;
    struct text tag;
    kvreg_value values[MOST], reply;
    if (handle != NULL && names == NULL && count >= 1 && count <= MOST + 1 &&
        PyUnicode_CheckExact(args[0]) && key_of(args[0], &tag) &&
        values_of(args + 1, count - 1, values)) {
        if (!follow(known)) {
            return NULL;
        }
        kvreg_status status;
        Py_BEGIN_ALLOW_THREADS
        status = library.server_call(handle, tag.data, tag.len, values, (size_t)count - 1, &reply);
        Py_END_ALLOW_THREADS
        if (status == KVREG_OK) {
            return object_of(&reply);
        }
        if (status != KVREG_TIMEOUT) {
            return refused(self, status);
        }
    }
    PyObject *answer = pure(self, "_pure_call", args, count, names);
    if (answer != NULL) {
        learn_remote(self, known);
    }
    return answer;
}

PyMethodDef remote_methods[] = {
    {"call", METHOD(call_by_tag), METH_METHOD | METH_FASTCALL | METH_KEYWORDS,
     "call($self, tag, *values)\n--\n\n"},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_methods, remote_methods},
    {0, NULL},
};

PyType_Spec remote_spec = {
    .name = "kvreg._native.Remote",
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = slots,
};
