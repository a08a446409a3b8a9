/* Mappings that others iterate, or read as a whole: as `_whole.py`, which does what is not here. */
#include "native.h"

#include <pythread.h>

/* Whether an attribute of one object is another object, or is equal to it. */
static bool is_same(PyObject *of, PyObject *name, PyObject *expected) {
    PyObject *found = PyObject_GetAttr(of, name);
    bool is_so = found != NULL && expected != NULL &&
                 (found == expected || PyObject_RichCompareBool(found, expected, Py_EQ) == 1);
    Py_XDECREF(found);
    return is_so;
}

/* The frame that calls, if it is not one of a method of that name, which hands on what it was
 * asked. Nothing is raised. */
static PyObject *caller(const struct known *known, PyObject *method) {
    PyFrameObject *frame = PyEval_GetFrame();
    PyObject *code = frame == NULL ? NULL : (PyObject *)PyFrame_GetCode(frame);
    bool hands_on = code == NULL || code == known->by_loop ||
                    is_same(code, known->code_name, method);
    Py_XDECREF(code);
    PyErr_Clear();
    return hands_on ? NULL : (PyObject *)frame;
}

/* Whether a site is that of a call of this thread's, by that frame, in its present instruction. */
static bool is_at(PyObject *site, const struct known *known, PyObject *frame) {
    PyObject *instruction = PyObject_GetAttr(frame, known->last);
    PyObject *thread = PyLong_FromUnsignedLong(PyThread_get_thread_ident());
    bool is_so = is_same(site, known->frame, frame) &&
                 is_same(site, known->instruction, instruction) &&
                 is_same(site, known->thread, thread);
    Py_XDECREF(instruction);
    Py_XDECREF(thread);
    return is_so;
}

static PyObject *taken(PyObject *left, PyObject *key) {
    PyObject *found = PyDict_GetItemWithError(left, key);
    Py_XINCREF(found);
    if (found != NULL && PyDict_DelItem(left, key) != 0) {
        Py_CLEAR(found);
    }
    return found;
}

PyObject *looked_up(struct object *object, PyObject *key) {
    const struct known *known = object->known;
    if (known == NULL || PyList_Size(object->readings) != 1 || !PyUnicode_CheckExact(key)) {
        return NULL;
    }
    PyObject *frame = caller(known, known->get_item);
    PyObject *reading = PySequence_GetItem(object->readings, 0), *found = NULL;
    PyObject *site = reading == NULL ? NULL : PyObject_GetAttr(reading, known->site);
    PyObject *left = reading == NULL ? NULL : PyObject_GetAttr(reading, known->left);
    if (frame != NULL && site != NULL && left != NULL && PyDict_Size(left) > 1 &&
        is_at(site, known, frame)) {
        found = taken(left, key);
    }
    Py_XDECREF(left);
    Py_XDECREF(site);
    Py_XDECREF(reading);
    PyErr_Clear();
    return found;
}

PyObject *iterate(PyObject *self) {
    const struct known *known = known_to(self);
    if (known != NULL && caller(known, known->iter) != NULL) {
        PyObject *keys = snapshot(self, known, false);
        if (keys != NULL) {
            PyObject *iterator = PyObject_GetIter(keys);
            Py_DECREF(keys);
            return iterator;
        }
        if (PyErr_Occurred() != NULL) {
            return NULL;
        }
    }
    return pure(self, "_pure___iter__", NULL, 0, NULL);
}
