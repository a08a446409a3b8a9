// The shopping session, and a kill that is noticed, by JNA: java -cp jna.jar Demo.java
// The library is the one that KVREG_LIBRARY names, else the system's.

import com.sun.jna.Library;
import com.sun.jna.Native;
import com.sun.jna.Pointer;
import com.sun.jna.Structure;
import com.sun.jna.Structure.FieldOrder;
import com.sun.jna.Union;
import com.sun.jna.ptr.LongByReference;
import com.sun.jna.ptr.PointerByReference;
import java.nio.charset.StandardCharsets;
import java.util.Map;

public final class Demo {
    static final int OK = 0, NOT_FOUND = 1, INT = 2, STORE = 1, KILLED = 2;
    static final String[] REASONS = {"NORMAL", "SHUTDOWN", "KILLED", "CRASHED", "NOPROC"};
    static final long NUL = -1; // KVREG_NUL: JNA passes a String as UTF-8 that ends at its NUL

    /** From kvreg.h, what is used here. A size_t is a long: kvreg is for 64-bit platforms. */
    public interface Kvreg extends Library {
        String kvreg_status_name(int status);
        long kvreg_last_error(byte[] buffer, long capacity);
        int kvreg_registry_start(Pointer options, PointerByReference registry);
        int kvreg_registry_create(
                Pointer registry, String name, long len, int flags, PointerByReference bucket);
        int kvreg_registry_lookup(Pointer registry, String name, long len, PointerByReference bucket);
        int kvreg_registry_free(Pointer registry);
        int kvreg_bucket_put_int(Pointer bucket, String key, long len, long integer);
        int kvreg_bucket_get_int(Pointer bucket, String key, long len, LongByReference integer);
        int kvreg_bucket_update_begin(
                Pointer bucket, String key, long len, Value current, PointerByReference update);
        int kvreg_update_end(Pointer update, int verdict, Value next);
        int kvreg_bucket_exit(Pointer bucket, int reason, String detail, long len);
        int kvreg_bucket_free(Pointer bucket);
        int kvreg_inbox_open(PointerByReference inbox);
        int kvreg_inbox_monitor(Pointer inbox, Pointer bucket, LongByReference reference);
        int kvreg_inbox_receive(Pointer inbox, long timeoutMs, Event event);
        int kvreg_inbox_free(Pointer inbox);
        void kvreg_event_clear(Event event);
    }

    @FieldOrder({"data", "len"})
    public static class Text extends Structure {
        public Pointer data;
        public long len;

        @Override
        public String toString() {
            return new String(data.getByteArray(0, (int) len), StandardCharsets.UTF_8);
        }
    }

    public static class As extends Union {
        public long integer;
        public double real;
        public Text text;
    }

    @FieldOrder({"type", "reserved", "as", "private_"})
    public static class Value extends Structure {
        public int type, reserved;
        public As as;
        public long private_;
    }

    @FieldOrder({"type", "reason", "level", "status", "reference", "count", "revision", "name", "detail",
            "value", "private_"})
    public static class Event extends Structure {
        public int type, reason, level, status;
        public long reference, count, revision;
        public Text name, detail;
        public Value value;
        public long[] private_ = new long[8];
    }

    static final Kvreg KVREG = Native.load(
            System.getenv().getOrDefault("KVREG_LIBRARY", "libkvreg.so.0"),
            Kvreg.class,
            Map.of(Library.OPTION_STRING_ENCODING, "UTF-8"));

    static void check(int status) {
        if (status != OK) {
            byte[] text = new byte[256];
            KVREG.kvreg_last_error(text, text.length);
            throw new IllegalStateException(
                    KVREG.kvreg_status_name(status) + ": " + Native.toString(text, "UTF-8"));
        }
    }

    public static void main(String[] args) {
        PointerByReference registry = new PointerByReference(), shopping = new PointerByReference(),
                update = new PointerByReference(), inbox = new PointerByReference();
        LongByReference milk = new LongByReference();
        Event down = new Event();
        try {
            check(KVREG.kvreg_registry_start(null, registry));
            check(KVREG.kvreg_registry_create(registry.getValue(), "shopping", NUL, 0, shopping));
            Pointer bucket = shopping.getValue();
            check(KVREG.kvreg_bucket_put_int(bucket, "milk", NUL, 1));
            check(KVREG.kvreg_bucket_get_int(bucket, "milk", NUL, milk));
            System.out.println("milk: " + milk.getValue());

            // An update without a callback: begin gives the value, and the bucket waits until end.
            // An integer owns nothing; a text would be cleared by kvreg_value_clear.
            Value value = new Value();
            check(KVREG.kvreg_bucket_update_begin(bucket, "milk", NUL, value, update));
            value.as.setType(long.class); // which member JNA reads and writes
            value.as.read();
            value.as.integer += 1;
            check(KVREG.kvreg_update_end(update.getValue(), STORE, value));
            check(KVREG.kvreg_bucket_get_int(bucket, "milk", NUL, milk));
            System.out.println("milk: " + milk.getValue());

            check(KVREG.kvreg_inbox_open(inbox));
            check(KVREG.kvreg_inbox_monitor(inbox.getValue(), bucket, new LongByReference()));
            check(KVREG.kvreg_bucket_exit(bucket, KILLED, "for the demo", NUL));
            check(KVREG.kvreg_inbox_receive(inbox.getValue(), 1000, down));
            System.out.println("DOWN " + down.name + " " + REASONS[down.reason] + ": " + down.detail);

            PointerByReference again = new PointerByReference();
            int status = KVREG.kvreg_registry_lookup(registry.getValue(), "shopping", NUL, again);
            System.out.println("lookup: " + KVREG.kvreg_status_name(status));
            if (status != NOT_FOUND) {
                throw new IllegalStateException("the name is still there");
            }
        } finally {
            // What was never opened is NULL, which is fine.
            KVREG.kvreg_event_clear(down);
            KVREG.kvreg_inbox_free(inbox.getValue());
            KVREG.kvreg_bucket_free(shopping.getValue());
            KVREG.kvreg_registry_free(registry.getValue());
        }
    }
}
