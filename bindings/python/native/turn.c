/*
 * The short way of a call of a server whose code is Python's: a turn that begins at once.
 *
 * Where somebody has the turn the package's own way begins it. Where messages came before, or the
 * handler raised or puts its answer off, Python goes on with the turn that was begun here. It is
 * held by one of the two; and where Python was to end it and raised, it is ended here again, which
 * does nothing if it was ended: so it is given back whatever is raised, and wherever.
 */
#include "native.h"

/* The object of the server whose turn has begun, or NULL: it is not known, or gone. */
static PyObject *owner_of(PyObject *remote, const struct known *known) {
    PyObject *cell = PyObject_GetAttr(remote, known->cell);
    PyObject *owner = cell == NULL || cell == Py_None ? NULL
                                                      : PyObject_GetAttr(cell, known->object);
    Py_XDECREF(cell);
    if (owner == Py_None) {
        Py_CLEAR(owner);
    }
    return owner;
}

/* What Python makes of a turn whose handler raised, or answers later. */
static PyObject *hand_on(PyObject *remote, const char *method, kvreg_turn *turn,
                         PyObject *what) {
    PyObject *number = PyLong_FromVoidPtr(turn);
    PyObject *result =
        number == NULL ? NULL : PyObject_CallMethod(remote, method, "OO", number, what);
    Py_XDECREF(number);
    if (result == NULL) {
        library.turn_end(turn, KVREG_CRASH, NULL, 0);
    }
    return result;
}

static PyObject *raised(PyObject *remote, kvreg_turn *turn) {
    PyObject *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    PyErr_NormalizeException(&type, &error, &traceback);
    if (traceback != NULL) {
        PyException_SetTraceback(error, traceback);
    }
    PyObject *result = hand_on(remote, "_has_raised", turn, error);
    Py_XDECREF(type);
    Py_XDECREF(error);
    Py_XDECREF(traceback);
    return result;
}

/* Messages came before, or whose turn it is has to be found out. */
static PyObject *goes_on(PyObject *remote, kvreg_turn *turn, uint64_t waiting, PyObject *handler,
                         PyObject *const *args, Py_ssize_t count, PyObject *names) {
    PyObject *rest = PyObject_CallMethod(remote, "_goes_on", "NKO", PyLong_FromVoidPtr(turn),
                                         (unsigned long long)waiting, handler);
    PyObject *result = rest == NULL ? NULL : call(rest, NULL, args, count, names);
    Py_XDECREF(rest);
    if (result == NULL) {
        library.turn_end(turn, KVREG_CRASH, NULL, 0);
    }
    return result;
}

static PyObject *awaited(PyObject *remote, PyObject *answer) {
    PyObject *result = PyObject_CallMethod(remote, "_awaits", "O", answer);
    Py_DECREF(answer);
    return result;
}

/* turn(remote, handler, pure, *args, **kwargs): what the call gives. */
static PyObject *turn(PyObject *module, PyObject *const *args, Py_ssize_t count,
                      PyObject *names) {
    const struct known *known = PyModule_GetState(module);
    PyObject *remote = args[0], *handler = args[1], *own = args[2];
    if (!PyObject_TypeCheck(remote, known->type)) { /* a method, called of something else */
        return call(own, remote, args + 3, count - 3, names);
    }
    void *handle = handle_of(remote);
    uint64_t waiting;
    kvreg_turn *turn;
    args += 3;
    count -= 3;
    if (handle != NULL &&
        library.server_begin(handle, KVREG_BEGIN_NOW, &waiting, &turn) == KVREG_OK) {
        PyObject *owner = waiting == 0 ? owner_of(remote, known) : NULL;
        if (owner != NULL) {
            PyObject *result = call(handler, owner, args, count, names);
            Py_DECREF(owner);
            if (result == NULL) {
                return raised(remote, turn);
            }
            if ((PyObject *)Py_TYPE(result) == known->later) {
                PyObject *answer = hand_on(remote, "_puts_off", turn, result);
                Py_DECREF(result); /* or it would wait for what nobody can answer any more */
                return answer == NULL ? NULL : awaited(remote, answer);
            }
            kvreg_status status = library.turn_end(turn, KVREG_KEEP, NULL, 0);
            if (status != KVREG_OK) {
                fail(remote, status); /* before anything else that may fail */
                Py_CLEAR(result);
            }
            return result;
        }
        PyErr_Clear();
        return goes_on(remote, turn, waiting, handler, args, count, names);
    }
    PyObject *result = call(own, remote, args, count, names);
    if (result != NULL && handle == NULL) {
        learn_handle(remote, ((struct object *)remote)->handle);
    }
    return result;
}

PyMethodDef turn_methods[] = {
    {"turn", METHOD(turn), METH_FASTCALL | METH_KEYWORDS, NULL},
    {NULL, NULL, 0, NULL},
};
