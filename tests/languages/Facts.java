// What docs/other-languages.md says of Java.

import com.sun.jna.Library;
import com.sun.jna.Native;
import com.sun.jna.Pointer;
import com.sun.jna.ptr.LongByReference;
import com.sun.jna.ptr.PointerByReference;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.FutureTask;

public final class Facts {
    static final int TIMEOUT = 5, CALLING_SELF = 7, BAD_HANDLE = 8, WRONG_TYPE = 11;

    /** What the example does not use. */
    public interface More extends Demo.Kvreg {
        int kvreg_bucket_start(PointerByReference bucket);
        int kvreg_bucket_put_string(Pointer bucket, byte[] key, long len, byte[] data, long size);
        int kvreg_bucket_get_bytes(
                Pointer bucket, byte[] key, long len, byte[] buffer, long capacity, LongByReference size);
        int kvreg_update_free(Pointer update);
    }

    static final More KVREG = Native.load(
            System.getenv("KVREG_LIBRARY"), More.class, Map.of(Library.OPTION_STRING_ENCODING, "UTF-8"));

    static void expect(int expected, int status) {
        if (status != expected) {
            throw new AssertionError(
                    KVREG.kvreg_status_name(status) + ", not " + KVREG.kvreg_status_name(expected));
        }
    }

    static Pointer bucket() {
        PointerByReference bucket = new PointerByReference();
        expect(Demo.OK, KVREG.kvreg_bucket_start(bucket));
        return bucket.getValue();
    }

    static Pointer inbox() {
        PointerByReference inbox = new PointerByReference();
        expect(Demo.OK, KVREG.kvreg_inbox_open(inbox));
        return inbox.getValue();
    }

    static FutureTask<Integer> receiving(Pointer inbox, long timeout) {
        return new FutureTask<>(() -> KVREG.kvreg_inbox_receive(inbox, timeout, new Demo.Event()));
    }

    /** A call runs on the Java thread that makes it, and an update belongs to that. */
    static void threadsAreThreads() throws Exception {
        Pointer bucket = bucket(), inbox = inbox();
        PointerByReference update = new PointerByReference();
        expect(Demo.OK, KVREG.kvreg_bucket_update_begin(bucket, "n", Demo.NUL, null, update));
        expect(CALLING_SELF, KVREG.kvreg_inbox_receive(inbox, 1, new Demo.Event()));
        FutureTask<Integer> other = receiving(inbox, 1);
        new Thread(other).start();
        expect(TIMEOUT, other.get());
        expect(Demo.OK, KVREG.kvreg_update_free(update.getValue()));
        KVREG.kvreg_inbox_free(inbox);
        KVREG.kvreg_bucket_free(bucket);
    }

    /** Thread.interrupt ends no call; the inbox's free does. */
    static void freeWakes() throws Exception {
        Pointer inbox = inbox();
        FutureTask<Integer> waiting = receiving(inbox, -1);
        Thread thread = new Thread(waiting);
        thread.start();
        thread.interrupt();
        thread.join(200);
        if (!thread.isAlive()) {
            throw new AssertionError("the call was interrupted");
        }
        KVREG.kvreg_inbox_free(inbox);
        expect(BAD_HANDLE, waiting.get());
    }

    /** Arrays of bytes go with their length, NULs included, and come back copied. */
    static void bytesAreCopied() {
        Pointer bucket = bucket();
        byte[] key = {'k', 0}, data = {1, 0, 2}, buffer = new byte[8];
        LongByReference size = new LongByReference();
        expect(Demo.OK, KVREG.kvreg_bucket_put_string(bucket, key, 2, data, 3));
        data[0] = 9;
        expect(Demo.NOT_FOUND, KVREG.kvreg_bucket_get_bytes(bucket, key, 1, buffer, 8, size));
        expect(Demo.OK, KVREG.kvreg_bucket_get_bytes(bucket, key, 2, buffer, 8, size));
        if (size.getValue() != 3 || buffer[0] != 1 || buffer[1] != 0 || buffer[2] != 2) {
            throw new AssertionError("other bytes");
        }
        expect(WRONG_TYPE, KVREG.kvreg_bucket_get_int(bucket, "k\0", 2, new LongByReference()));
        KVREG.kvreg_bucket_free(bucket);
    }

    /** A long is every int64_t. */
    static void longsAreExact() {
        Pointer bucket = bucket();
        LongByReference integer = new LongByReference();
        for (long number : new long[] {Long.MIN_VALUE, (1L << 53) + 1, Long.MAX_VALUE}) {
            expect(Demo.OK, KVREG.kvreg_bucket_put_int(bucket, "größe", Demo.NUL, number));
            expect(Demo.OK, KVREG.kvreg_bucket_get_int(bucket, "größe", Demo.NUL, integer));
            if (integer.getValue() != number) {
                throw new AssertionError("another number");
            }
        }
        KVREG.kvreg_bucket_free(bucket);
    }

    /** A daemon thread that waits in a call keeps the virtual machine from ending no longer. */
    static void leaveOneWaiting() throws Exception {
        Pointer inbox = inbox();
        CountDownLatch started = new CountDownLatch(1);
        Thread daemon = new Thread(() -> {
            started.countDown();
            KVREG.kvreg_inbox_receive(inbox, -1, new Demo.Event());
        });
        daemon.setDaemon(true);
        daemon.start();
        started.await();
    }

    public static void main(String[] args) throws Exception {
        threadsAreThreads();
        freeWakes();
        bytesAreCopied();
        longsAreExact();
        leaveOneWaiting();
        System.out.println("facts: ok");
    }
}
