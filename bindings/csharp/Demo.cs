// The shopping session, and a kill that is noticed, by P/Invoke: mcs Demo.cs && mono Demo.exe
// The library is the one that the system finds: libkvreg.so, or kvreg.dll on Windows.
using System;
using System.Runtime.InteropServices;
using System.Text;

/// <summary>What is freed exactly once: at the end of a using, else by a finaliser.</summary>
public abstract class Handle : SafeHandle
{
    protected Handle() : base(IntPtr.Zero, true) { }
    public override bool IsInvalid => handle == IntPtr.Zero;
}

public sealed class Registry : Handle
{
    protected override bool ReleaseHandle() => Kvreg.kvreg_registry_free(handle) == Kvreg.OK;
}

public sealed class Bucket : Handle
{
    protected override bool ReleaseHandle() => Kvreg.kvreg_bucket_free(handle) == Kvreg.OK;
}

public sealed class Inbox : Handle
{
    protected override bool ReleaseHandle() => Kvreg.kvreg_inbox_free(handle) == Kvreg.OK;
}

[StructLayout(LayoutKind.Explicit, Size = 32)]
public struct Value
{
    [FieldOffset(0)] public uint Type;
    [FieldOffset(8)] public long Integer;
    [FieldOffset(8)] public double Real;
    [FieldOffset(8)] public Text Text;
    [FieldOffset(24)] ulong own;
}

[StructLayout(LayoutKind.Sequential)]
public struct Text
{
    IntPtr data;
    ulong len;

    public override string ToString()
    {
        var bytes = new byte[len];
        Marshal.Copy(data, bytes, 0, bytes.Length);
        return Encoding.UTF8.GetString(bytes);
    }
}

[StructLayout(LayoutKind.Sequential)]
public struct Event
{
    public uint Type;
    public int Reason;
    public uint Level;
    public int Status;
    public ulong Reference, Count, Revision;
    public Text Name, Detail;
    public Value Value;
    ulong own0, own1, own2, own3, own4, own5, own6, own7;
}

/// <summary>From kvreg.h, what is used here. A size_t is a ulong: kvreg is for 64-bit platforms.</summary>
public static class Kvreg
{
    public const int OK = 0, NOT_FOUND = 1, INT = 2, STORE = 1, KILLED = 2;
    public const ulong NUL = ulong.MaxValue; // KVREG_NUL: a string goes as UTF-8 that ends at its NUL
    public static readonly string[] Reasons = { "NORMAL", "SHUTDOWN", "KILLED", "CRASHED", "NOPROC" };
    const UnmanagedType Utf8 = UnmanagedType.LPUTF8Str;

    [DllImport("kvreg")] public static extern IntPtr kvreg_status_name(int status);
    [DllImport("kvreg")] public static extern ulong kvreg_last_error(byte[] buffer, ulong capacity);
    [DllImport("kvreg")] public static extern int kvreg_registry_start(IntPtr options, out Registry registry);
    [DllImport("kvreg")] public static extern int kvreg_registry_create(
        Registry registry, [MarshalAs(Utf8)] string name, ulong len, uint flags, out Bucket bucket);
    [DllImport("kvreg")] public static extern int kvreg_registry_lookup(
        Registry registry, [MarshalAs(Utf8)] string name, ulong len, out Bucket bucket);
    [DllImport("kvreg")] public static extern int kvreg_registry_free(IntPtr registry);
    [DllImport("kvreg")] public static extern int kvreg_bucket_put_int(
        Bucket bucket, [MarshalAs(Utf8)] string key, ulong len, long integer);
    [DllImport("kvreg")] public static extern int kvreg_bucket_get_int(
        Bucket bucket, [MarshalAs(Utf8)] string key, ulong len, out long integer);
    [DllImport("kvreg")] public static extern int kvreg_bucket_update_begin(
        Bucket bucket, [MarshalAs(Utf8)] string key, ulong len, out Value current, out IntPtr update);
    [DllImport("kvreg")] public static extern int kvreg_update_end(IntPtr update, int verdict, ref Value next);
    [DllImport("kvreg")] public static extern int kvreg_bucket_exit(
        Bucket bucket, int reason, [MarshalAs(Utf8)] string detail, ulong len);
    [DllImport("kvreg")] public static extern int kvreg_bucket_free(IntPtr bucket);
    [DllImport("kvreg")] public static extern int kvreg_inbox_open(out Inbox inbox);
    [DllImport("kvreg")] public static extern int kvreg_inbox_monitor(Inbox inbox, Bucket bucket, out ulong reference);
    [DllImport("kvreg")] public static extern int kvreg_inbox_receive(Inbox inbox, long timeoutMs, out Event received);
    [DllImport("kvreg")] public static extern int kvreg_inbox_free(IntPtr inbox);
    [DllImport("kvreg")] public static extern void kvreg_event_clear(ref Event received);

    public static string Name(int status) => Marshal.PtrToStringAnsi(kvreg_status_name(status));

    public static void Check(int status)
    {
        if (status == OK) return;
        var text = new byte[256];
        int size = (int)Math.Min(kvreg_last_error(text, (ulong)text.Length), 255);
        throw new InvalidOperationException($"{Name(status)}: {Encoding.UTF8.GetString(text, 0, size)}");
    }
}

public static class Demo
{
    public static void Main()
    {
        Kvreg.Check(Kvreg.kvreg_registry_start(IntPtr.Zero, out Registry registry));
        using (registry)
        {
            Kvreg.Check(Kvreg.kvreg_registry_create(registry, "shopping", Kvreg.NUL, 0, out Bucket shopping));
            using (shopping) Shop(registry, shopping);
        }
    }

    static void Shop(Registry registry, Bucket shopping)
    {
        Kvreg.Check(Kvreg.kvreg_bucket_put_int(shopping, "milk", Kvreg.NUL, 1));
        Kvreg.Check(Kvreg.kvreg_bucket_get_int(shopping, "milk", Kvreg.NUL, out long milk));
        Console.WriteLine($"milk: {milk}");

        // An update without a callback: begin gives the value, and the bucket waits until end. An
        // integer owns nothing; a text would be cleared by kvreg_value_clear.
        Kvreg.Check(Kvreg.kvreg_bucket_update_begin(shopping, "milk", Kvreg.NUL, out Value value, out IntPtr update));
        value.Integer += 1;
        Kvreg.Check(Kvreg.kvreg_update_end(update, Kvreg.STORE, ref value));
        Kvreg.Check(Kvreg.kvreg_bucket_get_int(shopping, "milk", Kvreg.NUL, out milk));
        Console.WriteLine($"milk: {milk}");

        Kvreg.Check(Kvreg.kvreg_inbox_open(out Inbox inbox));
        using (inbox)
        {
            Kvreg.Check(Kvreg.kvreg_inbox_monitor(inbox, shopping, out _));
            Kvreg.Check(Kvreg.kvreg_bucket_exit(shopping, Kvreg.KILLED, "for the demo", Kvreg.NUL));
            Kvreg.Check(Kvreg.kvreg_inbox_receive(inbox, 1000, out Event down));
            Console.WriteLine($"DOWN {down.Name} {Kvreg.Reasons[down.Reason]}: {down.Detail}");
            Kvreg.kvreg_event_clear(ref down);
        }

        int status = Kvreg.kvreg_registry_lookup(registry, "shopping", Kvreg.NUL, out Bucket again);
        again.Dispose();
        Console.WriteLine($"lookup: {Kvreg.Name(status)}");
        if (status != Kvreg.NOT_FOUND) throw new InvalidOperationException("the name is still there");
    }
}
