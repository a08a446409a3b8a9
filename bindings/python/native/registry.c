/* The short ways of registries: a look-up. */
#include "native.h"

static kvreg_status clone(void *handle, void **made) {
    kvreg_registry *registry;
    kvreg_status status = library.registry_clone(handle, &registry);
    if (status == KVREG_OK) {
        library.registry_set_timeout(registry, 0);
        *made = registry;
    }
    return status;
}

static kvreg_status release(void *handle) {
    return library.registry_free(handle);
}

/* A handle of the bucket that has the name; NULL if it is not for the short way. */
static kvreg_bucket *look_up(PyObject *self, PyObject *name, kvreg_status *status) {
    void *handle;
    struct text text;
    kvreg_bucket *bucket;
    if (!PyUnicode_CheckExact(name) || !key_of(name, &text) ||
        ((handle = handle_of(self)) == NULL && (handle = begin(self, clone, release)) == NULL)) {
        return NULL;
    }
    *status = library.registry_lookup(handle, text.data, text.len, &bucket);
    return *status == KVREG_OK ? bucket : NULL;
}

/* Whether a store was named in the registry, so that it may keep the bucket: as
 * `_stores.stored_in`. */
static bool has_store(const struct object *registry, const struct known *known) {
    if (registry->called != Py_None) {
        return PyDict_GetItemWithError(known->stores, registry->called) != NULL;
    }
    PyObject *stored = PyObject_GetAttr(registry->keeper, known->stored_in);
    Py_XDECREF(stored);
    return stored != Py_None;
}

/* The object of a handle, which it owns, as `Registry._bucket` makes it; NULL if Python is to make
 * it, or there is no memory. */
static PyObject *bucket_of(const struct object *registry, PyObject *name, PyObject *number) {
    const struct known *known = registry->known;
    if (registry->frees == NULL || known == NULL || has_store(registry, known)) {
        return NULL;
    }
    PyObject *timeout = PyObject_GetItem(known->timeouts, known->timeout);
    PyTypeObject *type = (PyTypeObject *)known->bucket;
    allocfunc allocate = (allocfunc)(uintptr_t)PyType_GetSlot(type, Py_tp_alloc);
    PyObject *made = timeout == NULL ? NULL : allocate(type, 0);
    if (made == NULL) {
        Py_XDECREF(timeout);
        return NULL;
    }
    struct object *bucket = (struct object *)made;
    bucket->known = known;
    bucket->is_named = true;
    bucket->called = Py_NewRef(name);
    bucket->closed = Py_NewRef(Py_False);
    bucket->codec = Py_NewRef(registry->codec);
    bucket->free = Py_NewRef(registry->frees);
    bucket->handle = Py_NewRef(number);
    bucket->hot = Py_NewRef(registry->hot);
    bucket->keeper = Py_NewRef(registry->keeper);
    bucket->library = Py_NewRef(registry->library);
    bucket->now = Py_NewRef(Py_None);
    bucket->readings = PyList_New(0);
    bucket->shared = Py_NewRef(Py_False);
    bucket->stored = Py_NewRef(Py_False);
    bucket->timeout = timeout;
    PyObject *owned = PyList_New(0);
    if (bucket->readings != NULL && owned != NULL &&
        PyList_Append(owned, number) == 0) {
        bucket->owned = owned;
        return made;
    }
    Py_XDECREF(owned);
    Py_DECREF(made);
    return NULL;
}

/* After Python has made a bucket, which keeps the registry from then on. */
static void note_kept(struct object *registry, PyObject *made) {
    Py_BEGIN_CRITICAL_SECTION(registry);
    if (made != NULL && registry->frees == NULL) {
        registry->frees = Py_XNewRef(((struct object *)made)->free);
    }
    Py_END_CRITICAL_SECTION();
}

static PyObject *get_item(PyObject *self, PyObject *name) {
    struct object *registry = (struct object *)self;
    kvreg_status status = KVREG_TIMEOUT;
    kvreg_bucket *bucket = is_read(registry) ? NULL : look_up(self, name, &status);
    if (status == KVREG_NOT_FOUND && registry->known->bucket_not_found != NULL) {
        PyErr_SetObject(registry->known->bucket_not_found, name);
        return NULL;
    }
    if (bucket == NULL) {
        return pure(self, "_pure___getitem__", &name, 1, NULL);
    }
    PyObject *number = PyLong_FromVoidPtr(bucket);
    PyObject *found = number == NULL ? NULL : bucket_of(registry, name, number);
    if (found == NULL && number != NULL) {
        PyErr_Clear();
        found = PyObject_CallMethod(self, "_bucket", "OO", number, name);
        note_kept(registry, found);
    }
    Py_XDECREF(number);
    if (found == NULL) { /* an object that had it by then has freed it: this does nothing then */
        library.bucket_free(bucket);
    }
    return found;
}

static int contains(PyObject *self, PyObject *name) {
    kvreg_status status = KVREG_TIMEOUT;
    kvreg_bucket *bucket = look_up(self, name, &status);
    if (bucket != NULL) {
        library.bucket_free(bucket);
        return 1;
    }
    if (status == KVREG_NOT_FOUND) {
        return 0;
    }
    PyObject *found = pure(self, "_pure___contains__", &name, 1, NULL);
    int is_there = found == NULL ? -1 : found == Py_True;
    Py_XDECREF(found);
    return is_there;
}

static PyType_Slot slots[] = {
    {Py_mp_subscript, FUNCTION(get_item)},
    {Py_sq_contains, FUNCTION(contains)},
    {0, NULL},
};

PyType_Spec registry_spec = {
    .name = "kvreg._native.Registry",
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = slots,
};
