/* The short way of inboxes: an event that waits, of the kinds that are frequent. */
#include "native.h"

static PyObject *text_of(const kvreg_text *text) {
    return PyUnicode_DecodeUTF8((const char *)text->data, (Py_ssize_t)text->len, "replace");
}

/* A tuple of another class, of an exact one which it takes. */
static PyObject *converted(PyTypeObject *kind, PyObject *fields) {
    newfunc make = (newfunc)(uintptr_t)PyType_GetSlot(&PyTuple_Type, Py_tp_new);
    PyObject *args = PyTuple_New(1);
    if (args == NULL) {
        Py_DECREF(fields);
        return NULL;
    }
    PyTuple_SetItem(args, 0, fields);
    PyObject *made = make(kind, args, NULL);
    Py_DECREF(args);
    return made;
}

/* A named tuple of `count` items, which it takes; NULL if one of them is. */
static PyObject *named_tuple(PyObject *kind, PyObject **items, Py_ssize_t count) {
    bool is_whole = true, is_plain = Py_Version < 0x030E0000; /* later ones keep their hash too */
    for (Py_ssize_t at = 0; at < count; at++) {
        is_whole = is_whole && items[at] != NULL;
    }
    PyTypeObject *type = (PyTypeObject *)kind;
    PyObject *made = NULL;
    if (is_whole) {
        made = is_plain ? PyType_GenericAlloc(type, count) : PyTuple_New(count);
    }
    for (Py_ssize_t at = 0; at < count; at++) {
        if (made != NULL) {
            PyTuple_SetItem(made, at, items[at]);
        } else {
            Py_XDECREF(items[at]);
        }
    }
    return made == NULL || is_plain ? made : converted(type, made);
}

static PyObject *down_of(const struct known *known, const kvreg_event *event) {
    PyObject *reason = PyTuple_GetItem(known->reasons, event->reason);
    PyObject *items[] = {
        PyLong_FromUnsignedLongLong(event->reference),
        Py_XNewRef(reason),
        event->name.len == 0 ? Py_NewRef(Py_None) : text_of(&event->name),
        text_of(&event->detail),
    };
    return named_tuple(known->down, items, 4);
}

/* Whether a timeout can be one: what cannot is refused before an event is taken. */
static bool is_timeout(PyObject *const *args, Py_ssize_t count, PyObject *names) {
    Py_ssize_t named = names == NULL ? 0 : PyTuple_Size(names);
    if (count + named == 0) {
        return true;
    }
    if (count + named > 1 ||
        (named == 1 &&
         PyUnicode_CompareWithASCIIString(PyTuple_GetItem(names, 0), "timeout") != 0)) {
        return false;
    }
    if (PyFloat_CheckExact(args[0]) || PyLong_CheckExact(args[0])) {
        bool is_one = PyFloat_AsDouble(args[0]) >= 0;
        PyErr_Clear(); /* of an int that is no float */
        return is_one;
    }
    return args[0] == Py_None;
}

static PyObject *change_of(const struct known *known, kvreg_event *event) {
    PyObject *kind = PyTuple_GetItem(known->changes, event->level);
    PyObject *items[3];
    Py_ssize_t count = 0;
    if (kind == NULL) {
        return NULL;
    }
    items[count++] = PyUnicode_DecodeUTF8((const char *)event->name.data,
                                          (Py_ssize_t)event->name.len, "surrogateescape");
    if (event->level == KVREG_CHANGE_PUT) {
        items[count++] = object_of_read(&event->value, SIZE_MAX) /* that of the event */;
    }
    items[count++] = PyLong_FromUnsignedLongLong(event->revision);
    return named_tuple(kind, items, count);
}

/* What Python makes of it. */
static PyObject *other_of(PyObject *self, kvreg_event *event) {
    PyObject *address = PyLong_FromVoidPtr(event);
    PyObject *made =
        address == NULL ? NULL : PyObject_CallMethod(self, "_received_at", "O", address);
    Py_XDECREF(address);
    return made;
}

/* It is of a watch. */
static bool has_no_codec(PyObject *self) {
    return ((struct object *)self)->codec == Py_None;
}

/* An event that is there, or NULL. */
static PyObject *received_at_once(PyObject *self, const struct known *known) {
    kvreg_event event;
    if (library.inbox_receive(handle_of(self), 0, &event) != KVREG_OK) {
        return NULL;
    }
    PyObject *received;
    if (event.type == KVREG_EVENT_DOWN) {
        received = down_of(known, &event);
    } else if (event.type == KVREG_EVENT_CHANGE && has_no_codec(self)) {
        received = change_of(known, &event);
    } else {
        received = other_of(self, &event);
    }
    library.event_clear(&event);
    return received;
}

static PyObject *receive(PyObject *self, PyTypeObject *type, PyObject *const *args,
                         Py_ssize_t count, PyObject *names) {
    bool is_known = handle_of(self) != NULL;
    if (is_known && is_timeout(args, count, names)) {
        PyObject *received = received_at_once(self, PyType_GetModuleState(type));
        if (received != NULL || PyErr_Occurred() != NULL) {
            return received;
        }
    }
    PyObject *received = pure(self, "_pure_receive", args, count, names);
    if (received != NULL && !is_known) {
        learn_handle(self, ((struct object *)self)->handle);
    }
    return received;
}

/* The same of a watch, which has an inbox. */
static PyObject *receive_change(PyObject *self, PyTypeObject *type, PyObject *const *args,
                                Py_ssize_t count, PyObject *names) {
    const struct known *known = PyType_GetModuleState(type);
    PyObject *inbox = PyObject_GetAttr(self, known->watched), *received = NULL;
    if (inbox == NULL) {
        return NULL;
    }
    if ((PyObject *)Py_TYPE(inbox) == known->watch && handle_of(inbox) != NULL &&
        is_timeout(args, count, names)) {
        received = received_at_once(inbox, known);
    }
    Py_DECREF(inbox);
    if (received == NULL) {
        return PyErr_Occurred() != NULL ? NULL : pure(self, "_pure_receive", args, count, names);
    }
    PyObject *kind = (PyObject *)Py_TYPE(received);
    if (kind == known->down || kind == known->lost) {
        PyObject *raised = PyObject_CallMethod(self, "_ends", "(O)", received);
        Py_XDECREF(raised);
        Py_CLEAR(received);
    }
    return received;
}

PyMethodDef inbox_methods[] = {
    {"receive", METHOD(receive), METH_METHOD | METH_FASTCALL | METH_KEYWORDS,
     "receive($self, timeout=None)\n--\n\n"},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_methods, inbox_methods},
    {0, NULL},
};

PyType_Spec inbox_spec = {
    .name = "kvreg._native.Inbox",
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = slots,
};

PyMethodDef watch_methods[] = {
    {"receive", METHOD(receive_change), METH_METHOD | METH_FASTCALL | METH_KEYWORDS,
     "receive($self, timeout=None)\n--\n\n"},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots_of_watch[] = {
    {Py_tp_methods, watch_methods},
    {0, NULL},
};

PyType_Spec watch_spec = {
    .name = "kvreg._native.Watch",
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = slots_of_watch,
};
