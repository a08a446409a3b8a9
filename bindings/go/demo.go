// The shopping session, and a kill that is noticed, by cgo: go run .
// The library is the one that pkg-config finds.
package main

/*
#cgo pkg-config: kvreg
#include <kvreg.h>
#include <stdlib.h>
*/
import "C"

import (
	"fmt"
	"runtime"
	"unsafe"
)

var reasons = []string{"NORMAL", "SHUTDOWN", "KILLED", "CRASHED", "NOPROC"}

// must panics unless a call answered OK; what is deferred still runs.
func must(status C.kvreg_status) {
	if status != C.KVREG_OK {
		text := make([]byte, 256)
		size := C.kvreg_last_error((*C.char)(unsafe.Pointer(&text[0])), C.size_t(len(text)))
		if size > 255 {
			size = 255
		}
		panic(fmt.Sprintf("%s: %s", C.GoString(C.kvreg_status_name(status)), text[:size]))
	}
}

func main() {
	// For kvreg this goroutine is its thread: that keeps calls in order, the update ours, and the
	// text of an error where it was left.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	name, milk, why := C.CString("shopping"), C.CString("milk"), C.CString("for the demo")
	defer C.free(unsafe.Pointer(name))
	defer C.free(unsafe.Pointer(milk))
	defer C.free(unsafe.Pointer(why))
	key := unsafe.Pointer(milk)

	var registry *C.kvreg_registry
	var shopping *C.kvreg_bucket
	must(C.kvreg_registry_start(nil, &registry))
	defer C.kvreg_registry_free(registry)
	must(C.kvreg_registry_create(registry, name, C.KVREG_NUL, 0, &shopping))
	defer C.kvreg_bucket_free(shopping)

	var count C.int64_t
	must(C.kvreg_bucket_put_int(shopping, key, C.KVREG_NUL, 1))
	must(C.kvreg_bucket_get_int(shopping, key, C.KVREG_NUL, &count))
	fmt.Println("milk:", count)

	// An update without a callback: begin gives the value, and the bucket waits until end. A union
	// is bytes in Go. An integer owns nothing; a text would be cleared by kvreg_value_clear.
	var value C.kvreg_value
	var update *C.kvreg_update
	must(C.kvreg_bucket_update_begin(shopping, key, C.KVREG_NUL, &value, &update))
	value = C.kvreg_int(*(*C.int64_t)(unsafe.Pointer(&value.as)) + 1)
	must(C.kvreg_update_end(update, C.KVREG_STORE, &value))
	must(C.kvreg_bucket_get_int(shopping, key, C.KVREG_NUL, &count))
	fmt.Println("milk:", count)

	var inbox *C.kvreg_inbox
	var reference C.uint64_t
	var down C.kvreg_event
	must(C.kvreg_inbox_open(&inbox))
	defer C.kvreg_inbox_free(inbox)
	must(C.kvreg_inbox_monitor(inbox, shopping, &reference))
	must(C.kvreg_bucket_exit(shopping, C.KVREG_REASON_KILLED, why, C.KVREG_NUL))
	must(C.kvreg_inbox_receive(inbox, 1000, &down))
	defer C.kvreg_event_clear(&down)
	fmt.Printf("DOWN %s %s: %s\n", C.GoStringN(down.name.data, C.int(down.name.len)),
		reasons[down.reason], C.GoStringN(down.detail.data, C.int(down.detail.len)))

	var again *C.kvreg_bucket
	status := C.kvreg_registry_lookup(registry, name, C.KVREG_NUL, &again)
	fmt.Println("lookup:", C.GoString(C.kvreg_status_name(status)))
	if status != C.KVREG_NOT_FOUND {
		panic("the name is still there")
	}
}
