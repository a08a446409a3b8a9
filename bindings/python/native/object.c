/* What all objects with handles have in common, and the way to what Python does. */
#include "native.h"

#include <stddef.h>
#include <structmember.h>

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
    const struct known *known = ((struct object *)self)->known;
    if (known != NULL && known->key_not_found != NULL) {
        PyErr_SetObject(known->key_not_found, key);
        return NULL;
    }
    return raise_error(PyObject_CallMethod(self, "_absent", "iO", (int)KVREG_NOT_FOUND, key));
}

void learn_handle(PyObject *self, PyObject *number) {
    void *handle = number == NULL ? NULL : PyLong_AsVoidPtr(number);
    if (handle != NULL) {
        struct object *object = (struct object *)self;
        atomic_store_explicit(&object->at_once, handle, memory_order_release);
    }
    PyErr_Clear(); /* then it stays with the package's own way */
}

/* The object has what the module knows. */
static PyObject *meet(PyObject *self, PyTypeObject *type, PyObject *const *args, Py_ssize_t count,
                      PyObject *names) {
    (void)args;
    (void)count;
    (void)names;
    ((struct object *)self)->known = PyType_GetModuleState(type);
    return Py_NewRef(Py_None);
}

const struct known *known_to(PyObject *self) {
    struct object *object = (struct object *)self;
    if (object->known == NULL) { /* only what is called by its name is told */
        PyObject *done = PyObject_CallMethod(self, "_meet", NULL);
        Py_XDECREF(done);
        PyErr_Clear();
    }
    return object->known;
}

/* Has Python know the handle too, and own it. False if it is not needed any more. */
static bool take_over(struct object *object, PyObject *pointer) {
    bool is_taken = false;
    Py_BEGIN_CRITICAL_SECTION(object);
    if (object->closed == Py_False && object->now == Py_None &&
        PyList_Append(object->owned, pointer) == 0) {
        Py_DECREF(Py_None);
        object->now = Py_NewRef(pointer);
        is_taken = true;
    }
    Py_END_CRITICAL_SECTION();
    return is_taken;
}

void *begin(PyObject *self, another *make, kvreg_status (*release)(void *)) {
    struct object *object = (struct object *)self;
    const struct known *known = known_to(self);
    void *made;
    if (known == NULL || known->pointer == NULL || object->handle == NULL ||
        object->owned == NULL || object->now == NULL || object->readings == NULL) {
        return NULL;
    }
    if (object->now != Py_None) { /* Python has made one */
        PyObject *number = PyObject_GetAttr(object->now, known->value);
        learn_handle(self, number);
        Py_XDECREF(number);
        return handle_of(self);
    }
    void *handle = PyLong_AsVoidPtr(object->handle);
    if (make(handle, &made) == KVREG_OK) {
        PyObject *number = PyLong_FromVoidPtr(made);
        PyObject *pointer =
            number == NULL ? NULL
                           : PyObject_CallFunctionObjArgs(known->pointer, number, NULL);
        if (pointer != NULL && take_over(object, pointer)) {
            learn_handle(self, number);
        } else {
            release(made);
        }
        Py_XDECREF(pointer);
        Py_XDECREF(number);
    }
    PyErr_Clear();
    return handle_of(self);
}

static int traverse(PyObject *self, visitproc visit, void *arg) {
    struct object *object = (struct object *)self;
    Py_VISIT(Py_TYPE(self));
#define VISIT(name) Py_VISIT(object->name);
    FIELDS(VISIT)
#undef VISIT
    return 0;
}

static int clear(PyObject *self) {
    struct object *object = (struct object *)self;
#define CLEAR(name) Py_CLEAR(object->name);
    FIELDS(CLEAR)
#undef CLEAR
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
    atomic_store_explicit(&object->at_once, NULL, memory_order_release);
    object->is_named = false;
    Py_CLEAR(object->frees);
    return Py_NewRef(Py_None);
}

static PyMethodDef methods[] = {
    {"_forget", METHOD(forget), METH_NOARGS, NULL},
    {"_meet", METHOD(meet), METH_METHOD | METH_FASTCALL | METH_KEYWORDS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef members[] = {
#define MEMBER(name) {"_" #name, T_OBJECT_EX, offsetof(struct object, name), 0, NULL},
    FIELDS(MEMBER)
#undef MEMBER
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_methods, methods},
    {Py_tp_members, members},
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
