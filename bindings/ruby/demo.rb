# The shopping session, and a kill that is noticed, by Fiddle: ruby demo.rb
# The library is the one that KVREG_LIBRARY names, else the system's.
require "fiddle/import"

module Kvreg
  extend Fiddle::Importer
  dlload ENV.fetch("KVREG_LIBRARY", "libkvreg.so.0")

  OK, NOT_FOUND, INT, STORE, KILLED = 0, 1, 2, 1, 2
  REASONS = %w[NORMAL SHUTDOWN KILLED CRASHED NOPROC].freeze

  # Unions and nested structs are written flat.
  Value = struct(["uint32_t type", "uint32_t reserved", "int64_t integer", "size_t len", "uint64_t private_"])
  Event = struct(["uint32_t type", "int32_t reason", "uint32_t level", "int32_t status",
                  "uint64_t reference", "uint64_t count", "uint64_t revision",
                  "void *name", "size_t name_len", "void *detail", "size_t detail_len",
                  "uint64_t value[4]", "uint64_t private_[8]"])

  extern "const char *kvreg_status_name(int32_t)"
  extern "size_t kvreg_last_error(char *, size_t)"
  extern "int32_t kvreg_registry_start(void *, void *)"
  extern "int32_t kvreg_registry_create(void *, const char *, size_t, uint32_t, void *)"
  extern "int32_t kvreg_registry_lookup(void *, const char *, size_t, void *)"
  extern "int32_t kvreg_registry_free(void *)"
  extern "int32_t kvreg_bucket_put_int(void *, const char *, size_t, int64_t)"
  extern "int32_t kvreg_bucket_get_int(void *, const char *, size_t, void *)"
  extern "int32_t kvreg_bucket_update_begin(void *, const char *, size_t, void *, void *)"
  extern "int32_t kvreg_update_end(void *, int32_t, void *)"
  extern "int32_t kvreg_bucket_exit(void *, int32_t, const char *, size_t)"
  extern "int32_t kvreg_bucket_free(void *)"
  extern "int32_t kvreg_inbox_open(void *)"
  extern "int32_t kvreg_inbox_monitor(void *, void *, void *)"
  extern "int32_t kvreg_inbox_receive(void *, int64_t, void *)"
  extern "int32_t kvreg_inbox_free(void *)"
  extern "void kvreg_event_clear(void *)"

  class Error < StandardError; end

  # Calls a function, and raises unless it answers OK.
  def self.call(name, *arguments)
    status = public_send("kvreg_#{name}", *arguments)
    return if status == OK

    text = "\0" * 256
    kvreg_last_error(text, text.bytesize)
    raise Error, "#{name}: #{kvreg_status_name(status)} #{text.unpack1("Z*")}"
  end

  # The same with an output variable of 8 bytes at the end: gives what is in it, as a pointer.
  def self.give(name, *arguments)
    Fiddle::Pointer.malloc(Fiddle::SIZEOF_VOIDP, Fiddle::RUBY_FREE) do |out|
      call(name, *arguments, out)
      return out.ptr
    end
  end

  # What kvreg says is UTF-8; what Fiddle reads are bytes.
  def self.text(pointer, len) = pointer[0, len].force_encoding(Encoding::UTF_8)
end

# Lengths are in bytes, which is not what String#size counts.
name, key, why = "shopping", "milk", "for the demo"
begin
  registry = Kvreg.give(:registry_start, nil)
  shopping = Kvreg.give(:registry_create, registry, name, name.bytesize, 0)
  Kvreg.call(:bucket_put_int, shopping, key, key.bytesize, 1)
  milk = -> { Kvreg.give(:bucket_get_int, shopping, key, key.bytesize).to_i }
  puts "milk: #{milk.call}"

  # An update without a callback: begin gives the value, and the bucket waits until end.
  Kvreg::Value.malloc(Fiddle::RUBY_FREE) do |value|
    update = Kvreg.give(:bucket_update_begin, shopping, key, key.bytesize, value)
    value.integer += 1
    Kvreg.call(:update_end, update, Kvreg::STORE, value)
  end
  puts "milk: #{milk.call}"

  inbox = Kvreg.give(:inbox_open)
  Kvreg.give(:inbox_monitor, inbox, shopping)
  Kvreg.call(:bucket_exit, shopping, Kvreg::KILLED, why, why.bytesize)
  Kvreg::Event.malloc(Fiddle::RUBY_FREE) do |down|
    Kvreg.call(:inbox_receive, inbox, 1000, down)
    name, detail = Kvreg.text(down.name, down.name_len), Kvreg.text(down.detail, down.detail_len)
    puts "DOWN #{name} #{Kvreg::REASONS[down.reason]}: #{detail}"
  ensure
    Kvreg.kvreg_event_clear(down)
  end
  out = Fiddle::Pointer.malloc(Fiddle::SIZEOF_VOIDP, Fiddle::RUBY_FREE)
  status = Kvreg.kvreg_registry_lookup(registry, name, name.bytesize, out)
  puts "lookup: #{Kvreg.kvreg_status_name(status)}"
  abort "the name is still there" unless status == Kvreg::NOT_FOUND
ensure
  # The handles; nil, which goes as NULL, is fine.
  Kvreg.kvreg_inbox_free(inbox)
  Kvreg.kvreg_bucket_free(shopping)
  Kvreg.kvreg_registry_free(registry)
end
