/* Keys and values on their way across. */
#include "native.h"

bool key_of(PyObject *key, struct text *text) {
    if (PyUnicode_CheckExact(key)) {
        Py_ssize_t len;
        text->data = PyUnicode_AsUTF8AndSize(key, &len);
        if (text->data == NULL) { /* surrogates, which stand for bytes */
            PyErr_Clear();
            return false;
        }
        text->len = (size_t)len;
    } else if (PyBytes_CheckExact(key)) {
        text->data = PyBytes_AsString(key);
        text->len = (size_t)PyBytes_Size(key);
    } else {
        return false;
    }
    return text->len <= LONGEST;
}

bool value_of(PyObject *object, kvreg_value *value) {
    struct text text;
    if (PyUnicode_CheckExact(object) || PyBytes_CheckExact(object)) {
        /* What a long str has as UTF-8 it would keep, for nothing. */
        if (!PyBytes_CheckExact(object) && PyUnicode_GetLength(object) > ROOM) {
            return false;
        }
        if (!key_of(object, &text)) {
            return false;
        }
        value->type = PyUnicode_CheckExact(object) ? KVREG_STRING : KVREG_BYTES;
        value->as.text.data = (const uint8_t *)text.data;
        value->as.text.len = text.len;
    } else if (PyLong_CheckExact(object)) {
        int overflow;
        value->type = KVREG_INT;
        value->as.integer = PyLong_AsLongLongAndOverflow(object, &overflow);
        if (overflow != 0) {
            return false;
        }
    } else if (PyFloat_CheckExact(object)) {
        value->type = KVREG_FLOAT;
        value->as.real = PyFloat_AsDouble(object);
    } else if (PyBool_Check(object)) {
        value->type = KVREG_BOOL;
        value->as.boolean = object == Py_True;
    } else if (object == Py_None) {
        value->type = KVREG_NIL;
    } else {
        return false;
    }
    value->reserved = 0;
    value->private_ = 0;
    return true;
}

static PyObject *text_of(const kvreg_value *value) {
    const char *data = (const char *)value->as.text.data;
    Py_ssize_t len = (Py_ssize_t)value->as.text.len;
    if (value->type == KVREG_BYTES) {
        return PyBytes_FromStringAndSize(data, len);
    }
    return PyUnicode_DecodeUTF8(data, len, NULL);
}

bool is_text(const kvreg_value *value) {
    return value->type == KVREG_STRING || value->type == KVREG_BYTES;
}

void release_read(kvreg_value *value, size_t capacity) {
    if (is_text(value) && value->as.text.len > capacity) {
        library.value_clear(value);
    }
}

PyObject *object_of_read(kvreg_value *value, size_t capacity) {
    switch (value->type) {
    case KVREG_INT:
        return PyLong_FromLongLong(value->as.integer);
    case KVREG_FLOAT:
        return PyFloat_FromDouble(value->as.real);
    case KVREG_BOOL:
        return PyBool_FromLong(value->as.boolean);
    case KVREG_STRING:
    case KVREG_BYTES: {
        PyObject *object = text_of(value);
        release_read(value, capacity);
        return object;
    }
    default:
        return Py_NewRef(Py_None);
    }
}

PyObject *object_of(kvreg_value *value) {
    if (!is_text(value)) {
        return object_of_read(value, 0);
    }
    PyObject *object = text_of(value);
    library.value_clear(value);
    return object;
}
