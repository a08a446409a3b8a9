// What docs/other-languages.md says of Go.
package main

/*
#cgo pkg-config: kvreg
#include <kvreg.h>
*/
import "C"

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"
)

func expect(status, expected C.kvreg_status) {
	if status != expected {
		panic(fmt.Sprintf("%s, not %s", C.GoString(C.kvreg_status_name(status)),
			C.GoString(C.kvreg_status_name(expected))))
	}
}

type watched struct {
	bucket *C.kvreg_bucket
	inbox  *C.kvreg_inbox
}

func watch() *watched {
	var w watched
	var reference C.uint64_t
	expect(C.kvreg_bucket_start(&w.bucket), C.KVREG_OK)
	expect(C.kvreg_inbox_open(&w.inbox), C.KVREG_OK)
	expect(C.kvreg_inbox_monitor(w.inbox, w.bucket, &reference), C.KVREG_OK)
	return &w
}

func (w *watched) free() {
	expect(C.kvreg_inbox_free(w.inbox), C.KVREG_OK)
	expect(C.kvreg_bucket_free(w.bucket), C.KVREG_OK)
}

func (w *watched) receive(timeout C.int64_t) C.kvreg_status {
	var event C.kvreg_event
	defer C.kvreg_event_clear(&event)
	return C.kvreg_inbox_receive(w.inbox, timeout, &event)
}

// What a goroutine on a thread of its own is answered.
func elsewhere(call func() C.kvreg_status) C.kvreg_status {
	answer := make(chan C.kvreg_status)
	go func() {
		runtime.LockOSThread()
		answer <- call()
	}()
	return <-answer
}

// An update belongs to the thread that began it: a goroutine has to stay there.
func updatesBelongToThreads() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	w := watch()
	defer w.free()
	var update *C.kvreg_update
	key := []byte("n\x00") // Go's own bytes may go as they are, for the time of the call
	at, size := unsafe.Pointer(&key[0]), C.size_t(len(key))
	expect(C.kvreg_bucket_update_begin(w.bucket, at, size, nil, &update), C.KVREG_OK)
	expect(w.receive(1), C.KVREG_CALLING_SELF)
	expect(elsewhere(func() C.kvreg_status { return w.receive(1) }), C.KVREG_TIMEOUT)
	expect(elsewhere(func() C.kvreg_status { return C.kvreg_update_free(update) }), C.KVREG_OK)
	expect(w.receive(1), C.KVREG_TIMEOUT)
}

// A call that waits keeps its thread, and no other goroutine.
func waitingKeepsNobody() {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	w := watch()
	defer w.free()
	answer := make(chan C.kvreg_status)
	go func() { answer <- w.receive(-1) }()
	runtime.Gosched()
	expect(C.kvreg_bucket_exit(w.bucket, C.KVREG_REASON_KILLED, nil, 0), C.KVREG_OK)
	expect(<-answer, C.KVREG_OK)
}

// Go's poller waits for an inbox's descriptor, and no thread does: by a copy, which Go may close.
func pollerWaits() {
	w := watch()
	defer w.free()
	var fd C.int
	expect(C.kvreg_inbox_fd(w.inbox, &fd), C.KVREG_OK)
	own, err := syscall.Dup(int(fd))
	if err != nil {
		panic(err)
	}
	file := os.NewFile(uintptr(own), "inbox")
	defer file.Close()
	polled, err := file.SyscallConn()
	if err != nil {
		panic(err)
	}
	looked := make(chan bool, 1)
	go func() {
		<-looked
		expect(C.kvreg_bucket_exit(w.bucket, C.KVREG_REASON_KILLED, nil, 0), C.KVREG_OK)
	}()
	status, times := C.kvreg_status(C.KVREG_OK), 0
	err = polled.Read(func(uintptr) bool {
		status = w.receive(0)
		if times++; times == 1 {
			expect(status, C.KVREG_TIMEOUT)
			looked <- true
		}
		return status != C.KVREG_TIMEOUT
	})
	if err != nil {
		panic(err)
	}
	expect(status, C.KVREG_OK)
}

// Handles are no addresses, and the garbage collector leaves them alone.
func collectorLeavesHandles() {
	var all []*watched
	for i := 0; i < 1000; i++ {
		all = append(all, watch())
	}
	runtime.GC()
	for _, w := range all {
		expect(w.receive(0), C.KVREG_TIMEOUT)
		w.free()
	}
}

func main() {
	updatesBelongToThreads()
	waitingKeepsNobody()
	pollerWaits()
	collectorLeavesHandles()
	go watch().receive(-1) // and the process ends all the same
	runtime.Gosched()
	fmt.Println("facts: ok")
}
