/* The module, and what the package tells it. */
#include "native.h"

#include <stdlib.h>
#include <string.h>

struct functions library;

static const char *const names[] = {
#define NAME(name) #name,
    FUNCTIONS(NAME)
#undef NAME
};

#define COUNT (sizeof names / sizeof *names)
_Static_assert(sizeof library == COUNT * sizeof(uintptr_t), "a field for each, and nothing else");

/* bind(addresses): those of the functions that FUNCTIONS names, in that order. False if there are
 * others already. */
static PyObject *bind(PyObject *module, PyObject *addresses) {
    (void)module;
    uintptr_t found[COUNT];
    if (!PyTuple_Check(addresses) || (size_t)PyTuple_Size(addresses) != COUNT) {
        PyErr_SetString(PyExc_TypeError, "bind takes a tuple with an address for each function");
        return NULL;
    }
    for (size_t at = 0; at < COUNT; at++) {
        found[at] = (uintptr_t)PyLong_AsVoidPtr(PyTuple_GetItem(addresses, (Py_ssize_t)at));
        if (PyErr_Occurred() != NULL) {
            return NULL;
        }
    }
    if (library.value_clear == NULL) {
        memcpy(&library, found, sizeof library);
    }
    return PyBool_FromLong(memcmp(&library, found, sizeof library) == 0);
}

/* know(what): a dict of what KNOWN names. */
static PyObject *know(PyObject *module, PyObject *what) {
    struct known *known = PyModule_GetState(module);
#define TAKE(name)                                                                                 \
    {                                                                                              \
        PyObject *given = PyDict_GetItemString(what, #name);                                       \
        if (given != NULL && known->name == NULL) {                                                \
            known->name = Py_NewRef(given);                                                        \
        }                                                                                          \
    }
    KNOWN(TAKE)
#undef TAKE
    return Py_NewRef(Py_None);
}

/* A method of the type of that name. */
static PyMethodDef *method(const char *type, const char *name) {
    const struct {
        const char *type;
        PyMethodDef *methods;
    } tables[] = {
        {"Bucket", bucket_methods},
        {"Inbox", inbox_methods},
        {"Remote", remote_methods},
        {"Watch", watch_methods},
    };
    for (size_t table = 0; table < sizeof tables / sizeof *tables; table++) {
        for (PyMethodDef *found = tables[table].methods;
             strcmp(tables[table].type, type) == 0 && found->ml_name != NULL; found++) {
            if (strcmp(found->ml_name, name) == 0) {
                return found;
            }
        }
    }
    return NULL;
}

/* describe(type, name, text): what `help` says of a method, which is written in Python. The text stays
 * for as long as the process lives, as does the method; of two interpreters the first tells it. */
static PyObject *describe(PyObject *module, PyObject *const *args, Py_ssize_t count) {
    (void)module;
    (void)count;
    const char *type = PyUnicode_AsUTF8AndSize(args[0], NULL);
    const char *name = PyUnicode_AsUTF8AndSize(args[1], NULL);
    const char *text = PyUnicode_AsUTF8AndSize(args[2], NULL);
    bool are_texts = type != NULL && name != NULL && text != NULL;
    PyMethodDef *found = are_texts ? method(type, name) : NULL;
    if (PyErr_Occurred() != NULL) {
        return NULL;
    }
    const char *end = found == NULL ? NULL : strstr(found->ml_doc, "\n--\n\n");
    if (end != NULL && end[5] == '\0') {
        size_t before = strlen(found->ml_doc);
        char *whole = malloc(before + strlen(text) + 1);
        if (whole == NULL) {
            return PyErr_NoMemory();
        }
        memcpy(whole, found->ml_doc, before);
        memcpy(whole + before, text, strlen(text) + 1);
        found->ml_doc = whole;
    }
    return Py_NewRef(Py_None);
}

static PyMethodDef methods[] = {
    {"bind", METHOD(bind), METH_O, NULL},
    {"know", METHOD(know), METH_O, NULL},
    {"describe", METHOD(describe), METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static bool add_type(PyObject *module, PyType_Spec *spec, PyObject *base) {
    PyObject *type = PyType_FromModuleAndSpec(module, spec, base);
    bool is_added = type != NULL && PyModule_AddType(module, (PyTypeObject *)type) == 0;
    Py_XDECREF(type);
    return is_added;
}

static bool add_types(PyObject *module) {
    if (!add_type(module, &object_spec, NULL)) {
        return false;
    }
    PyObject *base = PyObject_GetAttrString(module, "Object");
    struct known *known = PyModule_GetState(module);
    known->type = (PyTypeObject *)Py_XNewRef(base);
    bool are_added = base != NULL && add_type(module, &bucket_spec, base) &&
                     add_type(module, &inbox_spec, base) &&
                     add_type(module, &registry_spec, base) &&
                     add_type(module, &remote_spec, base) && add_type(module, &watch_spec, NULL);
    Py_XDECREF(base);
    return are_added;
}

static bool add_names(PyObject *module) {
    PyObject *tuple = PyTuple_New(COUNT);
    for (size_t at = 0; tuple != NULL && at < COUNT; at++) {
        PyObject *name = PyUnicode_FromString(names[at]);
        if (name == NULL || PyTuple_SetItem(tuple, (Py_ssize_t)at, name) != 0) {
            Py_CLEAR(tuple);
        }
    }
    bool are_added = tuple != NULL && PyModule_AddObjectRef(module, "FUNCTIONS", tuple) == 0;
    Py_XDECREF(tuple);
    return are_added;
}

static int execute(PyObject *module) {
    struct known *known = PyModule_GetState(module);
    bool is_whole = add_types(module) && add_names(module);
#define MAKE(name, text)                                                                           \
    is_whole = is_whole && (known->name = PyUnicode_InternFromString(text)) != NULL;
    NAMES(MAKE)
#undef MAKE
    is_whole = is_whole && PyModule_AddFunctions(module, many_methods) == 0 &&
                    PyModule_AddFunctions(module, turn_methods) == 0 &&
                    PyModule_AddIntConstant(module, "VERSION", KVREG_VERSION_NUMBER) == 0;
    return is_whole ? 0 : -1;
}

static int traverse(PyObject *module, visitproc visit, void *arg) {
    struct known *known = PyModule_GetState(module);
#define VISIT(name) Py_VISIT(known->name);
    KNOWN(VISIT)
#undef VISIT
#define VISIT(name, text) Py_VISIT(known->name);
    NAMES(VISIT)
#undef VISIT
    Py_VISIT(known->type);
    return 0;
}

static int clear(PyObject *module) {
    struct known *known = PyModule_GetState(module);
#define CLEAR(name) Py_CLEAR(known->name);
    KNOWN(CLEAR)
#undef CLEAR
#define CLEAR(name, text) Py_CLEAR(known->name);
    NAMES(CLEAR)
#undef CLEAR
    Py_CLEAR(known->type);
    return 0;
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, FUNCTION(execute)},
#ifdef Py_mod_gil
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "kvreg._native",
    .m_doc = "The short ways of kvreg, in C: see native.h.",
    .m_size = sizeof(struct known),
    .m_methods = methods,
    .m_slots = slots,
    .m_traverse = traverse,
    .m_clear = clear,
};

PyMODINIT_FUNC PyInit__native(void) {
    return PyModuleDef_Init(&definition);
}
