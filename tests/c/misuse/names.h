/*
 * Misuse: the functions of the header. `make header` makes this file of include/kvreg.h: it is
 * not to be changed by hand. The compiler refuses one that misuse/functions.h does not call.
 */
#ifndef MISUSE_NAMES_H
#define MISUSE_NAMES_H

#define FUNCTIONS(F) \
    F(version_string) \
    F(version_number) \
    F(configure) \
    F(shutdown) \
    F(live_counts) \
    F(status_name) \
    F(status_message) \
    F(reason_name) \
    F(verdict_name) \
    F(last_error) \
    F(last_os_error) \
    F(value_clear) \
    F(value_copy_text) \
    F(registry_start) \
    F(registry_whereis) \
    F(registry_clone) \
    F(registry_set_timeout) \
    F(registry_create) \
    F(registry_create_with) \
    F(registry_create_cast) \
    F(registry_lookup) \
    F(registry_remove) \
    F(registry_count) \
    F(registry_names) \
    F(registry_send) \
    F(registry_execute) \
    F(registry_stop) \
    F(registry_exit) \
    F(registry_info) \
    F(registry_free) \
    F(bucket_start) \
    F(bucket_start_with) \
    F(bucket_clone) \
    F(bucket_set_timeout) \
    F(bucket_name) \
    F(bucket_info) \
    F(bucket_free) \
    F(bucket_stop) \
    F(bucket_exit) \
    F(bucket_link) \
    F(bucket_unlink) \
    F(bucket_put) \
    F(bucket_get) \
    F(bucket_delete) \
    F(bucket_put_cast) \
    F(bucket_delete_cast) \
    F(bucket_count) \
    F(bucket_clear) \
    F(bucket_items) \
    F(bucket_put_many) \
    F(bucket_get_many) \
    F(bucket_put_columns) \
    F(bucket_put_int) \
    F(bucket_put_float) \
    F(bucket_put_string) \
    F(bucket_put_bytes) \
    F(bucket_get_int) \
    F(bucket_get_float) \
    F(bucket_get_bytes) \
    F(bucket_get_into) \
    F(bucket_get_entry) \
    F(bucket_put_entry) \
    F(bucket_put_if) \
    F(bucket_delete_if) \
    F(bucket_put_if_equal) \
    F(bucket_add_int) \
    F(bucket_revision) \
    F(bucket_update) \
    F(bucket_update_cast) \
    F(bucket_update_begin) \
    F(update_end) \
    F(update_free) \
    F(items_next) \
    F(items_free) \
    F(inbox_open) \
    F(inbox_monitor) \
    F(inbox_monitor_registry) \
    F(inbox_demonitor) \
    F(inbox_subscribe_logs) \
    F(inbox_receive) \
    F(inbox_fd) \
    F(inbox_handle) \
    F(inbox_free) \
    F(event_clear) \
    F(listener_start) \
    F(listener_address) \
    F(listener_stop) \
    F(listener_free)

#endif
