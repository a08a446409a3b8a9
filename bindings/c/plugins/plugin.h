/* What a host and its plug-ins agree on. They share no memory and no types beyond this: they meet in
 * kvreg's registry of this name. */
#ifndef PLUGIN_H
#define PLUGIN_H

#define PLUGIN_REGISTRY "plugins"
enum { PLUGIN_VERSION = 1 };

typedef struct plugin {
    int version; /* PLUGIN_VERSION, as the plug-in was compiled with */
    const char *name;
    int (*run)(void); /* what the plug-in is there for; 0: it went well. It is unloaded then: no
                         thread or update_cast that it started may still run its code. */
} plugin;

/* Each plug-in has it. */
const plugin *plugin_get(void);

#endif
