/* Whether what the library logs is to be handed on: looked at before a call that may log. */
#include "native.h"

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

bool follow(const struct known *known) {
    if (!is_to_follow(known)) {
        return true;
    }
    PyObject *done = PyObject_CallNoArgs(known->follow);
    Py_XDECREF(done);
    return done != NULL;
}
