/* What all objects with handles have in common, and the way to what Python does. */
#include "native.h"

PyObject *call(PyObject *function, PyObject *first, PyObject *const *args, Py_ssize_t count,
               PyObject *names) {
    Py_ssize_t named = names == NULL ? 0 : PyTuple_Size(names), at = 0;
    PyObject *given = PyTuple_New(count + (first != NULL));
    PyObject *keywords = named == 0 ? NULL : PyDict_New(), *result = NULL;
    if (given == NULL || (named != 0 && keywords == NULL)) {
        goto done;
    }
    if (first != NULL) {
        PyTuple_SetItem(given, at++, Py_NewRef(first));
    }
    for (Py_ssize_t from = 0; from < count; from++) {
        PyTuple_SetItem(given, at++, Py_NewRef(args[from]));
    }
    for (Py_ssize_t from = 0; from < named; from++) {
        PyObject *name = PyTuple_GetItem(names, from);
        if (PyDict_SetItem(keywords, name, args[count + from]) != 0) {
            goto done;
        }
    }
    result = PyObject_Call(function, given, keywords);
done:
    Py_XDECREF(given);
    Py_XDECREF(keywords);
    return result;
}

PyObject *pure(PyObject *self, const char *name, PyObject *const *args, Py_ssize_t count,
               PyObject *names) {
    PyObject *function = PyObject_GetAttrString(self, name);
    if (function == NULL) {
        return NULL;
    }
    PyObject *result = call(function, NULL, args, count, names);
    Py_DECREF(function);
    return result;
}

PyObject *raise_error(PyObject *error) {
    if (error != NULL) {
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
        Py_DECREF(error);
    }
    return NULL;
}

PyObject *fail(PyObject *self, kvreg_status status) {
    return raise_error(PyObject_CallMethod(self, "_error", "i", (int)status));
}

PyObject *fail_absent(PyObject *self, PyObject *key) {
    return raise_error(PyObject_CallMethod(self, "_absent", "iO", (int)KVREG_NOT_FOUND, key));
}

void learn_handle(PyObject *self, PyObject *number) {
    void *handle = number == NULL ? NULL : PyLong_AsVoidPtr(number);
    if (handle != NULL) {
        struct object *object = (struct object *)self;
        atomic_store_explicit(&object->handle, handle, memory_order_release);
    }
    Py_XDECREF(number);
    PyErr_Clear(); /* then it stays with the package's own way */
}

void learn(PyObject *self) {
    struct object *object = (struct object *)self;
    if (handle_of(self) != NULL || object->is_long) {
        return;
    }
    PyObject *now = PyObject_GetAttrString(self, "_now");
    PyObject *readings = PyObject_GetAttrString(self, "_readings");
    if (now != NULL && now != Py_None && readings != NULL && PyList_CheckExact(readings)) {
        Py_BEGIN_CRITICAL_SECTION(self);
        if (object->readings == NULL) {
            object->readings = Py_NewRef(readings);
        }
        Py_END_CRITICAL_SECTION();
        learn_handle(self, PyObject_GetAttrString(now, "value"));
    }
    Py_XDECREF(now);
    Py_XDECREF(readings);
    PyErr_Clear();
}

static int traverse(PyObject *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((struct object *)self)->readings);
    return 0;
}

static int clear(PyObject *self) {
    Py_CLEAR(((struct object *)self)->readings);
    return 0;
}

static void dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    clear(self);
    freefunc release = (freefunc)(uintptr_t)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF(type);
}

static PyObject *forget(PyObject *self, PyObject *none) {
    struct object *object = (struct object *)self;
    (void)none;
    atomic_store_explicit(&object->handle, NULL, memory_order_release);
    object->is_long = false;
    object->is_stored = false;
    Py_CLEAR(object->readings);
    return Py_NewRef(Py_None);
}

static PyMethodDef methods[] = {
    {"_forget", METHOD(forget), METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_methods, methods},
    {Py_tp_traverse, FUNCTION(traverse)},
    {Py_tp_clear, FUNCTION(clear)},
    {Py_tp_dealloc, FUNCTION(dealloc)},
    {0, NULL},
};

PyType_Spec object_spec = {
    .name = "kvreg._native.Object",
    .basicsize = sizeof(struct object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = slots,
};
