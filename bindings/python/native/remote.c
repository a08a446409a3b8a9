/* The short way of a call by a tag, of a server whose code is not Python's. */
#include "native.h"

/* So many values at most; with more it is for the package's own way. */
#define MOST 16

/* Whether a logger, or the one above it, has handlers; -1 if that cannot be told. */
static int has_handlers(PyObject *logger, const struct known *known, bool has_parent) {
    PyObject *handlers = PyObject_GetAttr(logger, known->handlers);
    int is_there = handlers == NULL ? -1 : PyObject_IsTrue(handlers);
    Py_XDECREF(handlers);
    if (is_there != 0 || !has_parent) {
        return is_there;
    }
    PyObject *parent = PyObject_GetAttr(logger, known->parent);
    is_there = parent == NULL ? -1 : has_handlers(parent, known, false);
    Py_XDECREF(parent);
    return is_there;
}

/* Whether `follow` is to look if somebody would see what the library logs: it is asked before each
 * call that can make it log something. Who logs nothing, or to nobody, is not to pay for it. */
static bool is_to_follow(const struct known *known) {
    PyObject *inbox = PyDict_GetItemWithError(known->logging, known->inbox);
    if (inbox == NULL || inbox != Py_None) {
        return false; /* it has begun */
    }
    PyObject *logger = PyDict_GetItemWithError(known->logging, known->logger);
    int is_wanted;
    if (logger == NULL || logger == Py_None) {
        PyObject *module = PyImport_GetModule(known->module);
        is_wanted = module != NULL;
        Py_XDECREF(module);
    } else {
        Py_INCREF(logger);
        is_wanted = has_handlers(logger, known, true);
        Py_DECREF(logger);
    }
    PyErr_Clear();
    return is_wanted != 0;
}

static bool follow(const struct known *known) {
    if (!is_to_follow(known)) {
        return true;
    }
    PyObject *done = PyObject_CallNoArgs(known->follow);
    Py_XDECREF(done);
    return done != NULL;
}

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
