// What docs/other-languages.md says of C#.
using System;
using System.Runtime.InteropServices;
using System.Threading;

public static class Facts
{
    const int TIMEOUT = 5, CALLING_SELF = 7, BAD_HANDLE = 8;

    [StructLayout(LayoutKind.Sequential)]
    struct Live
    {
        public uint Size, Reserved;
        public ulong Registries, Buckets, RegistryHandles, BucketHandles, UpdateHandles, ItemsHandles,
            InboxHandles, ListenerHandles;
    }

    [DllImport("kvreg")] static extern int kvreg_live_counts(ref Live live);
    [DllImport("kvreg")] static extern int kvreg_bucket_start(out Bucket bucket);
    [DllImport("kvreg")] static extern int kvreg_bucket_put_string(
        Bucket bucket, byte[] key, ulong len, byte[] data, ulong size);
    [DllImport("kvreg")] static extern int kvreg_bucket_get(Bucket bucket, byte[] key, ulong len, out Value value);
    [DllImport("kvreg")] static extern void kvreg_value_clear(ref Value value);
    [DllImport("kvreg")] static extern int kvreg_update_free(IntPtr update);

    static void Expect(int expected, int status)
    {
        if (status != expected) throw new Exception($"{Kvreg.Name(status)}, not {Kvreg.Name(expected)}");
    }

    static void Check(bool truth)
    {
        if (!truth) throw new Exception("not so");
    }

    static Bucket Start()
    {
        Expect(Kvreg.OK, kvreg_bucket_start(out Bucket bucket));
        return bucket;
    }

    static Inbox Open()
    {
        Expect(Kvreg.OK, Kvreg.kvreg_inbox_open(out Inbox inbox));
        return inbox;
    }

    static Thread Begun(Action action)
    {
        using (var begun = new ManualResetEventSlim())
        {
            var thread = new Thread(() => { begun.Set(); action(); }) { IsBackground = true };
            thread.Start();
            begun.Wait();
            return thread;
        }
    }

    /// <summary>An update belongs to the thread that began it.</summary>
    static void ThreadsAreThreads()
    {
        using (Bucket bucket = Start())
        using (Inbox inbox = Open())
        {
            int elsewhere = 0;
            Expect(Kvreg.OK, Kvreg.kvreg_bucket_update_begin(bucket, "n", Kvreg.NUL, out _, out IntPtr update));
            Expect(CALLING_SELF, Kvreg.kvreg_inbox_receive(inbox, 1, out _));
            Begun(() => elsewhere = Kvreg.kvreg_inbox_receive(inbox, 1, out _)).Join();
            Expect(TIMEOUT, elsewhere);
            Expect(Kvreg.OK, kvreg_update_free(update));
        }
    }

    /// <summary>A SafeHandle in a call is not freed until that ends; the handle's own free wakes it.</summary>
    static void FreeWakes()
    {
        Inbox inbox = Open();
        int answer = 0;
        Thread waiting = Begun(() => answer = Kvreg.kvreg_inbox_receive(inbox, -1, out _));
        Thread.Sleep(100);
        IntPtr raw = inbox.DangerousGetHandle();
        waiting.Interrupt();
        inbox.Dispose();
        Check(!waiting.Join(200));
        Expect(Kvreg.OK, Kvreg.kvreg_inbox_free(raw));
        Check(waiting.Join(10000));
        Expect(BAD_HANDLE, answer);
    }

    /// <summary>A long is every int64_t, and text may have NULs.</summary>
    static void NothingIsLost()
    {
        using (Bucket bucket = Start())
        {
            foreach (long number in new[] { long.MinValue, (1L << 53) + 1, long.MaxValue })
            {
                Expect(Kvreg.OK, Kvreg.kvreg_bucket_put_int(bucket, "größe", Kvreg.NUL, number));
                Expect(Kvreg.OK, Kvreg.kvreg_bucket_get_int(bucket, "größe", Kvreg.NUL, out long same));
                Check(same == number);
            }
            byte[] key = { 1, 0 }, data = System.Text.Encoding.UTF8.GetBytes("größe\0€");
            Expect(Kvreg.OK, kvreg_bucket_put_string(bucket, key, 2, data, (ulong)data.Length));
            data[0] = 0;
            Expect(Kvreg.NOT_FOUND, kvreg_bucket_get(bucket, key, 1, out _));
            Expect(Kvreg.OK, kvreg_bucket_get(bucket, key, 2, out Value value));
            Check(value.Text.ToString() == "größe\0€");
            kvreg_value_clear(ref value);
        }
    }

    /// <summary>What is forgotten is freed by a finaliser.</summary>
    static void ForgottenHandlesAreFreed()
    {
        var live = new Live { Size = (uint)Marshal.SizeOf<Live>() };
        // On a stack that is gone, for the collector takes what it finds on one for in use.
        Begun(() => { for (int i = 0; i < 100; i++) Start(); }).Join();
        for (int i = 0; i < 100; i++)
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
            Expect(Kvreg.OK, kvreg_live_counts(ref live));
            if (live.BucketHandles == 0) return;
        }
        throw new Exception($"{live.BucketHandles} handles are left");
    }

    public static void Main()
    {
        ThreadsAreThreads();
        FreeWakes();
        NothingIsLost();
        ForgottenHandlesAreFreed();
        // The end of the process waits for calls: free wakes them first.
        Inbox inbox = Open();
        IntPtr raw = inbox.DangerousGetHandle();
        AppDomain.CurrentDomain.ProcessExit += (sender, e) => Kvreg.kvreg_inbox_free(raw);
        Begun(() => Kvreg.kvreg_inbox_receive(inbox, -1, out _));
        Console.WriteLine("facts: ok");
    }
}
