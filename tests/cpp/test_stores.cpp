// kvreg.hpp: buckets whose contents a store keeps, by an engine that is written in C++.

#include "kvreg.hpp"
#include "kvreg_engine.h"

#include <map>
#include <mutex>

#include "check.h"

using namespace std::string_literals;

namespace {

constexpr bool it_throws = false; // where it has not

// The call throws kvreg::error with this status, and a text that has this in it.
template <class F> void throws(kvreg_status status, F call, std::string_view text = {}) {
    try {
        call();
    } catch (const kvreg::error &error) {
        CHECK(error.status() == status);
        CHECK(std::string_view(error.what()).find(text) != std::string_view::npos);
        return;
    }
    CHECK(it_throws);
}

// What is kept of a key. The text of a value is its own.
struct kept {
    kvreg_value value;
    std::string text;
    std::uint64_t revision;
    std::int64_t expires_ms;
};

bool is_text(const kvreg_value &value) {
    return value.type == KVREG_STRING || value.type == KVREG_BYTES;
}

// A store in memory, which outlives its buckets.
struct memory {
    std::map<std::string, kept> keys;
    std::uint64_t last = 0;
    const kvreg_engine_host *host = nullptr;
};

std::mutex guard;
std::map<std::pair<std::string, std::string>, memory> stores;

std::pair<std::string, std::string> place_of(const kvreg_engine_open &given) {
    return {{given.url.data, given.url.len}, {given.bucket.data, given.bucket.len}};
}

kvreg_status open_store(const kvreg_engine_open *given, std::int64_t, void **store) {
    const std::lock_guard<std::mutex> lock(guard);
    memory &found = stores[place_of(*given)];
    found.host = given->host;
    *store = &found;
    return KVREG_OK;
}

void close_store(void *) {}

kvreg_status write_store(void *store, const kvreg_engine_write *writes, std::size_t count,
                         std::int64_t, std::uint64_t *) {
    auto &into = *static_cast<memory *>(store);
    for (const auto *write = writes; write != writes + count; write++) {
        const std::string key(write->key.data, write->key.len);
        into.last = write->revision;
        if (write->kind == KVREG_ENGINE_CLEAR) {
            into.keys.clear();
        } else if (write->kind == KVREG_ENGINE_DELETE) {
            into.keys.erase(key);
        } else {
            kept one{write->value, {}, write->revision, write->expires_ms};
            if (is_text(one.value)) {
                const auto &text = one.value.as.text;
                one.text.assign(static_cast<const char *>(static_cast<const void *>(text.data)),
                                text.len);
            }
            into.keys[key] = std::move(one);
        }
    }
    return KVREG_OK;
}

kvreg_status scan_store(void *store, const kvreg_scan_options *, std::int64_t, void *out) {
    const auto &from = *static_cast<memory *>(store);
    for (const auto &[key, one] : from.keys) {
        kvreg_engine_entry entry{};
        entry.size = sizeof entry;
        entry.key = {key.data(), key.size()};
        entry.value = one.value;
        if (is_text(one.value)) {
            const void *text = one.text.data();
            entry.value.as.text.data = static_cast<const std::uint8_t *>(text);
            entry.value.as.text.len = one.text.size();
        }
        entry.revision = one.revision;
        entry.expires_ms = one.expires_ms;
        const auto status = from.host->found(out, &entry);
        if (status != KVREG_OK) return status;
    }
    return from.host->last_revision(out, from.last);
}

kvreg_status destroy_store(const kvreg_engine_open *given, std::int64_t) {
    const std::lock_guard<std::mutex> lock(guard);
    return stores.erase(place_of(*given)) != 0 ? KVREG_OK : KVREG_NOT_FOUND;
}

const kvreg_engine engine = {
    sizeof engine, KVREG_ENGINE_ABI, KVREG_ENGINE_EXCLUSIVE, open_store, close_store,
    write_store,   scan_store,       destroy_store,          nullptr,    nullptr,
    nullptr,       nullptr,          nullptr,                nullptr,    nullptr,
    nullptr,
};

void an_engine_is_registered_once() {
    CHECK(kvreg_engine_register("mem", KVREG_NUL, &engine) == KVREG_OK);
    CHECK(kvreg_engine_register("mem", KVREG_NUL, &engine) == KVREG_ALREADY_STARTED);
}

void contents_come_back() {
    auto registry = kvreg::registry::start();
    const kvreg::bucket_options options("mem:shop");
    auto shopping = registry.create("shopping", options);
    const kvreg::bytes raw{std::byte{0}, std::byte{255}};
    shopping.put("int", 1);
    shopping.put("text", "a\0b"s);
    shopping.put("bytes", raw);
    shopping.put("nothing", nullptr);
    shopping.update<std::int64_t>("int", [](auto n) { return n.value_or(0) + 41; });
    CHECK(shopping.erase("nothing"));
    const auto revision = shopping.entry("int")->revision;
    CHECK(registry.remove("shopping"));

    shopping = registry.create("shopping", options, KVREG_CREATE_EXCLUSIVE);
    CHECK(shopping.count() == 3 && shopping.get<std::int64_t>("int") == 42);
    CHECK(shopping.get<std::string>("text") == "a\0b"s);
    CHECK(shopping.get<kvreg::bytes>("bytes") == raw);
    CHECK(shopping.entry("int")->revision == revision);
    shopping.put("int", 43);
    CHECK(shopping.entry("int")->revision > revision);
}

void a_registry_has_one_for_all() {
    kvreg::bucket_options of_buckets("mem:all");
    of_buckets.reads = KVREG_READ_COPY;
    auto options = kvreg_registry_options_init();
    options.bucket = &of_buckets;
    {
        auto registry = kvreg::registry::start(options);
        registry.create("a").put("k", 1);
        registry.stop();
    }
    auto registry = kvreg::registry::start(options);
    CHECK(registry.create("a").get<int>("k") == 1 && registry.create("b").count() == 0);
}

void what_is_erased_does_not_come_back() {
    auto registry = kvreg::registry::start();
    const kvreg::bucket_options options("mem:erased");
    registry.create("a", options).put("k", 1);
    CHECK(registry.erase("a") && !registry.lookup("a"));
    CHECK(registry.create("a", options).count() == 0);
    CHECK(!registry.erase("b"));
    kvreg::registry none(nullptr);
    throws(KVREG_BAD_HANDLE, [&] { none.erase("a"); });
}

void options_are_copied_with_their_url() {
    std::string url = "mem:a path that is too long to lie in the string itself";
    auto options = std::make_unique<kvreg::bucket_options>(url);
    options->max_keys = 1;
    kvreg::bucket_options copy(*options), other("mem:other");
    other = copy;
    other = *&other;
    options.reset();
    for (const auto *one : {&copy, &other}) {
        CHECK(std::string_view(one->store, one->store_len) == url && one->max_keys == 1);
    }
    copy.set_store("mem:short");
    CHECK(std::string_view(copy.store, copy.store_len) == "mem:short");
    CHECK(std::string_view(other.store, other.store_len) == url);
    const kvreg::bucket_options none, copied(none);
    CHECK(copied.store == nullptr && copied.store_len == 0);
    other.store = url.c_str(); // as in C: it borrows
    copy = other;
    CHECK(copy.store == url.c_str());
}

void a_store_that_cannot_be_opened_is_an_error() {
    auto registry = kvreg::registry::start();
    auto refused = [&](kvreg_status status, const char *url, std::string_view text) {
        const kvreg::bucket_options options(url);
        throws(status, [&] { (void)registry.create("a", options); }, text);
        CHECK(!registry.lookup("a"));
    };
    refused(KVREG_INVALID_ARGUMENT, "no URL", "scheme");
    refused(KVREG_INVALID_ARGUMENT, "unknown:x", "no engine");
    const kvreg::bucket_options options("mem:x");
    throws(KVREG_INVALID_ARGUMENT, [&] { (void)kvreg::bucket::start(options); });
}

void an_engine_that_cannot_be_loaded_is_an_error() {
    throws(KVREG_IO, [] { kvreg::load_engine("/nowhere/libkvreg_none.so"); }, "/nowhere");
    throws(KVREG_INVALID_ARGUMENT, [] { kvreg::load_engine(""); });
    throws(KVREG_INVALID_ARGUMENT, [] { kvreg::load_engine("a\0b"s); });
}

} // namespace

int main() {
    const test tests[] = {
        TEST(an_engine_is_registered_once),
        TEST(contents_come_back),
        TEST(a_registry_has_one_for_all),
        TEST(what_is_erased_does_not_come_back),
        TEST(options_are_copied_with_their_url),
        TEST(a_store_that_cannot_be_opened_is_an_error),
        TEST(an_engine_that_cannot_be_loaded_is_an_error),
    };
    return check_run(tests, sizeof tests / sizeof *tests);
}
