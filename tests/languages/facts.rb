# What docs/other-languages.md says of Ruby.
require "io/wait"
require_relative "../../bindings/ruby/demo"

module Kvreg
  extern "int32_t kvreg_inbox_fd(void *, void *)"
  extern "int32_t kvreg_bucket_put_string(void *, const char *, size_t, const char *, size_t)"
  extern "int32_t kvreg_bucket_get(void *, const char *, size_t, void *)"
  extern "void kvreg_value_clear(void *)"
  Text = struct(["uint32_t type", "uint32_t reserved", "void *data", "size_t len", "uint64_t private_"])
  TIMEOUT, BAD_HANDLE, FORKED = 5, 8, 16

  def self.watched
    bucket = give(:registry_create, registry = give(:registry_start, nil), "watched", 7, 0)
    inbox = give(:inbox_open)
    give(:inbox_monitor, inbox, bucket)
    yield bucket, inbox, registry
  ensure
    kvreg_inbox_free(inbox)
    kvreg_bucket_free(bucket)
    kvreg_registry_free(registry)
  end

  def self.receive(inbox, timeout)
    Event.malloc(Fiddle::RUBY_FREE) do |event|
      return kvreg_inbox_receive(inbox, timeout, event)
    ensure
      kvreg_event_clear(event)
    end
  end
end

def check(truth) = truth || raise("not so")

# A call releases the GVL: another thread kills the bucket for which this one waits.
Kvreg.watched do |bucket, inbox|
  waiting = Thread.new { Kvreg.receive(inbox, -1) }
  Thread.pass until waiting.status == "sleep" || !waiting.alive?
  Kvreg.call(:bucket_exit, bucket, Kvreg::KILLED, nil, 0)
  check waiting.value == Kvreg::OK
end

# Nothing interrupts a call, Thread#kill and Timeout no more than a signal; free wakes it.
Kvreg.watched do |_bucket, inbox|
  waiting = Thread.new { Kvreg.receive(inbox, -1) }
  Thread.pass until waiting.status == "sleep"
  waiting.kill
  check waiting.join(0.2).nil?
  Kvreg.call(:inbox_free, inbox)
  check waiting.join
end

# The descriptor of an inbox, which stays kvreg's, can be waited for as any other.
Kvreg.watched do |bucket, inbox|
  fd = Kvreg.give(:inbox_fd, inbox).to_i & 0xffffffff
  io = IO.for_fd(fd, autoclose: false)
  check io.wait_readable(0).nil?
  waiting = Thread.new { io.wait_readable }
  Thread.pass until waiting.status == "sleep"
  waiting.kill.join
  Thread.new { Kvreg.call(:bucket_exit, bucket, Kvreg::KILLED, nil, 0) }
  check io.wait_readable == io
  check Kvreg.receive(inbox, 0) == Kvreg::OK
  check io.wait_readable(0).nil?
  check Kvreg.receive(inbox, 0) == Kvreg::TIMEOUT
end

# A forked child may free what it inherited, and starts its own.
Kvreg.watched do |bucket, inbox, registry|
  child = fork do
    check Kvreg.kvreg_bucket_put_int(bucket, "k", 1, 1) == Kvreg::FORKED
    check Kvreg.receive(inbox, 0) == Kvreg::FORKED
    Kvreg.watched { |own, _| Kvreg.call(:bucket_put_int, own, "k", 1, 1) }
    exit!(Kvreg.kvreg_registry_free(registry) == Kvreg::OK)
  end
  Process.wait(child)
  check $?.success?
  Kvreg.call(:bucket_put_int, bucket, "k", 1, 1)
end

# Every int64_t.
Kvreg.watched do |bucket, _|
  Kvreg.call(:bucket_put_int, bucket, "k", 1, 2**63 - 1)
  check Kvreg.give(:bucket_get_int, bucket, "k", 1).to_i & 2**64 - 1 == 2**63 - 1
  Kvreg.call(:bucket_put_int, bucket, "k", 1, -1)
  check Kvreg.give(:bucket_get_int, bucket, "k", 1).to_i == -1
end

# Text comes back as bytes, NULs included, and is said to be UTF-8.
Kvreg.watched do |bucket, _|
  text = "größe\0€"
  Kvreg.call(:bucket_put_string, bucket, "k", 1, text, text.bytesize)
  Kvreg::Text.malloc(Fiddle::RUBY_FREE) do |value|
    Kvreg.call(:bucket_get, bucket, "k", 1, value)
    check value.data[0, value.len].encoding == Encoding::BINARY
    check Kvreg.text(value.data, value.len) == text
  ensure
    Kvreg.kvreg_value_clear(value)
  end
end

# Ruby's end waits for calls: free wakes them first.
child = fork do
  inbox = Kvreg.give(:inbox_open)
  at_exit { Kvreg.call(:inbox_free, inbox) }
  waiting = Thread.new { Kvreg.receive(inbox, -1) }
  Thread.pass until waiting.status == "sleep"
end
Process.wait(child)
check $?.success?
puts "facts: ok"
