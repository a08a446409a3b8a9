// kvreg for C++17: header-only, over kvreg.h, which says what each function does. Here is only
// what C++ adds.
//
//     auto registry = kvreg::registry::start();
//     auto shopping = registry.create("shopping");
//     shopping.put("milk", 1);
//     shopping.update<std::int64_t>("milk", [](auto n) { return n.value_or(0) + 1; });
//     assert(shopping.get<std::int64_t>("milk") == 2);
//
// Names are those of C without the prefix, but for erase, since delete is a word of C++'s own.
// Constants stay KVREG_...; text is a std::string_view, which may hold any bytes.
//
// Handles own: a destructor frees the handle (and ends nothing that has a name, as in C), a move
// leaves an empty one, a copy is asked for by clone(). What is done with an empty handle fails
// with KVREG_BAD_HANDLE. Handles may be shared between threads as C's may, but a variable that
// one thread moves from or destroys, another must not use.
//
// Failures throw kvreg::error. What users expect to happen is no failure: a key or a name that is
// not there, or no event in time, is an empty std::optional. Who does not want exceptions at a
// call wraps it in kvreg::attempt, which gives a kvreg::result: one way to fail, and every call
// has both. The header needs exceptions, and no RTTI.

#ifndef KVREG_HPP
#define KVREG_HPP

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "kvreg.h"

namespace kvreg {

using std::chrono::milliseconds;

// A timeout that never comes.
inline constexpr milliseconds infinite{-1};

// Errors ------------------------------------------------------------------------------------------

// The category of kvreg_status in a std::error_code.
inline const std::error_category &category() noexcept {
    struct statuses final : std::error_category {
        const char *name() const noexcept override { return "kvreg"; }
        std::string message(int status) const override { return kvreg_status_message(status); }
    };
    static const statuses all;
    return all;
}

// A call that failed. what() has kvreg_last_error's text.
class error : public std::system_error {
public:
    error(kvreg_status status, const std::string &text)
        : std::system_error(status, category(), text) {}
    kvreg_status status() const noexcept { return code().value(); }
};

namespace detail {

[[noreturn]] inline void fail(kvreg_status status) {
    char text[512];
    kvreg_last_error(text, sizeof text);
    throw error(status, text);
}

inline void ok(kvreg_status status) {
    if (status != KVREG_OK) fail(status);
}

// False if it is not there.
inline bool found(kvreg_status status, kvreg_status absent = KVREG_NOT_FOUND) {
    if (status == absent) return false;
    ok(status);
    return true;
}

} // namespace detail

// What attempt() gives: what the call returned (nothing: std::monostate), or its error.
template <class T> class [[nodiscard]] result {
public:
    result(T returned) : held_(std::in_place_index<0>, std::move(returned)) {}
    result(error failure) : held_(std::in_place_index<1>, std::move(failure)) {}

    bool has_value() const noexcept { return held_.index() == 0; }
    explicit operator bool() const noexcept { return has_value(); }
    kvreg_status status() const noexcept { return has_value() ? KVREG_OK : failure().status(); }
    // Only if there is no value.
    const error &failure() const { return std::get<1>(held_); }
    // These throw the error if there is no value.
    T &value() & { return has_value() ? std::get<0>(held_) : throw failure(); }
    const T &value() const & { return has_value() ? std::get<0>(held_) : throw failure(); }
    T &&value() && { return std::move(value()); }
    T &operator*() & { return value(); }
    const T &operator*() const & { return value(); }
    T &&operator*() && { return std::move(value()); }
    T *operator->() { return &value(); }
    const T *operator->() const { return &value(); }

    template <class U> T value_or(U &&other) const & {
        return has_value() ? value() : static_cast<T>(std::forward<U>(other));
    }
    template <class U> T value_or(U &&other) && {
        return has_value() ? std::move(value()) : static_cast<T>(std::forward<U>(other));
    }

private:
    std::variant<T, error> held_;
};

// Calls `function`; an error that it throws is returned instead.
//
//     if (auto bucket = kvreg::attempt([&] { return registry.create("b"); })) bucket->put("k", 1);
template <class F> auto attempt(F &&function) {
    using returned = std::invoke_result_t<F>;
    using value =
        std::conditional_t<std::is_void_v<returned>, std::monostate, std::decay_t<returned>>;
    try {
        if constexpr (std::is_void_v<returned>) {
            std::forward<F>(function)();
            return result<value>(std::monostate());
        } else {
            return result<value>(std::forward<F>(function)());
        }
    } catch (const error &failure) {
        return result<value>(failure);
    }
}

// Values ------------------------------------------------------------------------------------------

using bytes = std::vector<std::byte>;

// A value of one's own: nil is std::monostate.
using value = std::variant<std::monostate, bool, std::int64_t, double, std::string, bytes>;

// What is given to a call: it borrows, and is made of whatever a value can be. Characters and
// pointers are refused where they would pass for numbers or truth.
class value_view {
public:
    value_view(std::nullptr_t) noexcept : raw_(kvreg_nil()) {}
    value_view(std::monostate) noexcept : raw_(kvreg_nil()) {}
    value_view(std::string_view text) noexcept : raw_(kvreg_string(text.data(), text.size())) {}
    value_view(const char *text) noexcept : value_view(std::string_view(text)) {}
    value_view(const std::string &text) noexcept : value_view(std::string_view(text)) {}
    value_view(const bytes &data) noexcept : raw_(kvreg_bytes(data.data(), data.size())) {}
    value_view(const value &held)
        : raw_(std::visit([](const auto &it) { return value_view(it).raw_; }, held)) {}

    template <class T, std::enable_if_t<std::is_arithmetic_v<T>, int> = 0>
    value_view(T number) : raw_(kvreg_nil()) {
        static_assert(!std::is_same_v<T, char> && !std::is_same_v<T, decltype(u8'c')> &&
                          !std::is_same_v<T, wchar_t> && !std::is_same_v<T, char16_t> &&
                          !std::is_same_v<T, char32_t>,
                      "a character is no value: make it a text or a number");
        if constexpr (std::is_same_v<T, bool>) {
            raw_ = kvreg_bool(number);
        } else if constexpr (std::is_floating_point_v<T>) {
            raw_ = kvreg_float(static_cast<double>(number));
        } else {
            raw_ = kvreg_int(static_cast<std::int64_t>(number));
            // Unsigned, or of 128 bits, which are arithmetic among gcc's extensions.
            if (static_cast<T>(raw_.as.integer) != number ||
                (std::is_unsigned_v<T> && raw_.as.integer < 0))
                throw error(KVREG_INVALID_ARGUMENT, "an integer beyond 64 bits with a sign");
        }
    }
    // A value of C's; it stays whose it is.
    explicit value_view(const kvreg_value &raw) noexcept : raw_(raw) {}

    // Bytes that are elsewhere.
    static value_view of_bytes(const void *data, std::size_t len) noexcept {
        return value_view(kvreg_bytes(data, len));
    }

    const kvreg_value *get() const noexcept { return &raw_; }
    std::uint32_t type() const noexcept { return raw_.type; }
    // Of KVREG_STRING and KVREG_BYTES, as long as what is borrowed lives; else empty.
    std::string_view text() const noexcept {
        if (raw_.type != KVREG_STRING && raw_.type != KVREG_BYTES) return {};
        return {reinterpret_cast<const char *>(raw_.as.text.data), raw_.as.text.len};
    }
    // A copy.
    kvreg::value copy() const {
        switch (raw_.type) {
        case KVREG_BOOL: return raw_.as.boolean;
        case KVREG_INT: return raw_.as.integer;
        case KVREG_FLOAT: return raw_.as.real;
        case KVREG_STRING: return std::string(text());
        case KVREG_BYTES: {
            auto first = reinterpret_cast<const std::byte *>(raw_.as.text.data);
            return bytes(first, first + raw_.as.text.len);
        }
        default: return std::monostate();
        }
    }
    // A copy, as one of the types of a value (KVREG_WRONG_TYPE if it is of another one), or as
    // any of them.
    template <class T> T as() const {
        auto held = copy();
        if constexpr (std::is_same_v<T, kvreg::value>) {
            return held;
        } else {
            if (auto right = std::get_if<T>(&held)) return std::move(*right);
            throw error(KVREG_WRONG_TYPE, "the value is of another type");
        }
    }

protected:
    kvreg_value raw_;
};

// A value as it was read: a large one is not copied, but shared with the bucket.
class shared_value : public value_view {
public:
    shared_value() noexcept : value_view(nullptr) {}
    // Takes over a value that a function of C gave.
    explicit shared_value(const kvreg_value &raw) noexcept : value_view(raw) {}
    shared_value(shared_value &&other) noexcept
        : value_view(std::exchange(other.raw_, kvreg_nil())) {}
    shared_value &operator=(shared_value &&other) noexcept {
        std::swap(raw_, other.raw_);
        return *this;
    }
    ~shared_value() { kvreg_value_clear(&raw_); }

    using value_view::get;
    kvreg_value *get() noexcept { return &raw_; }
};

// What a function given to update decides: a value is stored, KVREG_KEEP and KVREG_REMOVE do as
// they say, and so does KVREG_CRASH.
class decision {
public:
    template <class T, std::enable_if_t<!std::is_same_v<std::decay_t<T>, decision>, int> = 0>
    decision(T &&next) : verdict_(KVREG_STORE), next_(owned(std::forward<T>(next))) {}
    static decision keep() noexcept { return decision(KVREG_KEEP, 0); }
    static decision remove() noexcept { return decision(KVREG_REMOVE, 0); }
    static decision crash() noexcept { return decision(KVREG_CRASH, 0); }

    kvreg_verdict verdict() const noexcept { return verdict_; }
    const value &next() const noexcept { return next_; }

private:
    decision(kvreg_verdict verdict, int) noexcept : verdict_(verdict) {}
    template <class T> static value owned(T &&next) {
        if constexpr (std::is_class_v<std::decay_t<T>> && std::is_constructible_v<value, T &&>)
            return value(std::forward<T>(next));
        else
            return value_view(next).copy();
    }
    kvreg_verdict verdict_;
    value next_;
};

// Handles -----------------------------------------------------------------------------------------

namespace detail {

// A handle that is freed at the end. It is a token, not an address, which a unique_ptr does not
// mind as long as nobody looks at what it is said to point to.
template <class C, kvreg_status (*Free)(C *)> class handle {
public:
    // Takes over a handle that a function of C gave.
    explicit handle(C *adopted) noexcept : held_(adopted) {}
    // It stays this one's to free.
    C *get() const noexcept { return held_.get(); }
    // It is the caller's to free.
    C *release() noexcept { return held_.release(); }
    explicit operator bool() const noexcept { return held_ != nullptr; }

protected:
    // Calls a function whose last argument is where it puts a handle.
    template <class F, class... A> static C *made(F function, A... arguments) {
        C *handle = nullptr;
        ok(function(arguments..., &handle));
        return handle;
    }
    template <class F, class... A> static C *looked_up(F function, A... arguments) {
        C *handle = nullptr;
        found(function(arguments..., &handle));
        return handle;
    }

private:
    struct freed {
        void operator()(C *handle) const noexcept { Free(handle); }
    };
    std::unique_ptr<C, freed> held_;
};

// A range whose elements stay where they are: a copy, if its iterator makes them as it goes.
template <class R> decltype(auto) lasting(R &range) {
    using traits = std::iterator_traits<decltype(std::begin(range))>;
    using category = typename traits::iterator_category;
    if constexpr (std::is_base_of_v<std::forward_iterator_tag, category>) {
        return (range);
    } else {
        std::vector<typename traits::value_type> copy;
        for (auto &&one : range) copy.emplace_back(std::forward<decltype(one)>(one));
        return copy;
    }
}

} // namespace detail

// A snapshot, to be gone through once: of items, pairs of a key and a value, or of names.
//
//     for (auto &[key, value] : bucket.items()) ...
//     for (auto &name : registry.names()) ...
template <class Item> class snapshot : public detail::handle<kvreg_items, kvreg_items_free> {
public:
    using handle::handle;

    class iterator {
    public:
        using iterator_category = std::input_iterator_tag;
        using value_type = Item;
        using difference_type = std::ptrdiff_t;
        using pointer = Item *;
        using reference = Item &;

        iterator() noexcept = default;
        explicit iterator(kvreg_items *items) : items_(items) { ++*this; }
        Item &operator*() const noexcept { return *item_; }
        Item *operator->() const noexcept { return item_.get(); }
        iterator &operator++() {
            shared_value key, held;
            if (!detail::found(kvreg_items_next(items_, key.get(), held.get())))
                *this = iterator();
            else if constexpr (std::is_same_v<Item, std::string>)
                item_ = std::make_shared<Item>(key.text());
            else
                item_ = std::make_shared<Item>(key.text(), held.copy());
            return *this;
        }
        iterator operator++(int) {
            auto before = *this;
            ++*this;
            return before;
        }
        // Both at the end, or on the same item.
        bool operator==(const iterator &other) const noexcept { return item_ == other.item_; }
        bool operator!=(const iterator &other) const noexcept { return item_ != other.item_; }

    private:
        kvreg_items *items_ = nullptr;
        std::shared_ptr<Item> item_;
    };
    iterator begin() const { return iterator(get()); }
    iterator end() const noexcept { return iterator(); }
};

using items = snapshot<std::pair<const std::string, value>>;
using names = snapshot<std::string>;

class bucket : public detail::handle<kvreg_bucket, kvreg_bucket_free> {
public:
    using handle::handle;
    // Without a registry.
    static bucket start() { return bucket(made(kvreg_bucket_start)); }
    bucket clone() const { return bucket(made(kvreg_bucket_clone, get())); }

    void put(std::string_view key, value_view next) {
        detail::ok(kvreg_bucket_put(get(), key.data(), key.size(), next.get()));
    }
    void put_cast(std::string_view key, value_view next) {
        detail::ok(kvreg_bucket_put_cast(get(), key.data(), key.size(), next.get()));
    }
    // `pairs`: a range of pairs of a key and what a value is made of, or these in braces. One
    // message: all or none.
    template <class R = std::initializer_list<std::pair<std::string_view, value_view>>>
    void put_many(R &&pairs) {
        std::vector<kvreg_pair> all;
        auto &&lasting = detail::lasting(pairs);
        for (const auto &[key, held] : lasting) {
            std::string_view text(key);
            value_view next = held; // as it is: what a conversion made would be gone
            all.push_back({text.data(), text.size(), *next.get()});
        }
        detail::ok(kvreg_bucket_put_many(get(), all.data(), all.size()));
    }

    // A copy of the value, of any type, or of the one that is asked for.
    template <class T = value> std::optional<T> get(std::string_view key) const {
        auto held = read(key);
        if (!held) return std::nullopt;
        return held->template as<T>();
    }
    using handle::get; // the handle of C
    // The value itself.
    std::optional<shared_value> read(std::string_view key) const {
        std::optional<shared_value> held(std::in_place);
        if (!detail::found(kvreg_bucket_get(get(), key.data(), key.size(), held->get())))
            held.reset();
        return held;
    }
    // The values of many keys at one instant; nil for one that is absent.
    template <class R = std::initializer_list<std::string_view>>
    std::vector<value> get_many(R &&keys) const {
        std::vector<kvreg_pair> all;
        auto &&lasting = detail::lasting(keys);
        for (const auto &key : lasting) {
            std::string_view text(key);
            all.push_back({text.data(), text.size(), kvreg_nil()});
        }
        std::vector<shared_value> held;
        held.reserve(all.size()); // so that what comes is owned, whatever fails
        detail::ok(kvreg_bucket_get_many(get(), all.data(), all.size()));
        for (const auto &pair : all) held.emplace_back(pair.value);
        std::vector<value> copies;
        copies.reserve(held.size());
        for (const auto &one : held) copies.push_back(one.copy());
        return copies;
    }
    // kvreg_bucket_delete: gives what was there. What is not of the type asked for stays.
    template <class T = value> std::optional<T> erase(std::string_view key) {
        if constexpr (std::is_same_v<T, value>) {
            shared_value old;
            if (!detail::found(kvreg_bucket_delete(get(), key.data(), key.size(), old.get())))
                return std::nullopt;
            return old.copy();
        } else {
            std::optional<T> old;
            update<T>(key, [&](std::optional<T> held) {
                old = std::move(held);
                return decision::remove();
            });
            return old;
        }
    }
    void erase_cast(std::string_view key) {
        detail::ok(kvreg_bucket_delete_cast(get(), key.data(), key.size()));
    }

    // Calls `function` with the value (std::optional<T>; empty for nil, and if the key is absent)
    // on this thread, once, while the bucket does nothing else, and does what it returns: see
    // decision. What it throws comes out of here, with the bucket unchanged. None of kvreg's
    // frames lies beneath it.
    template <class T = value, class F> void update(std::string_view key, F &&function) {
        shared_value current;
        kvreg_update *begun = nullptr;
        detail::ok(
            kvreg_bucket_update_begin(get(), key.data(), key.size(), current.get(), &begun));
        detail::handle<kvreg_update, kvreg_update_free> turn(begun);
        const decision made = std::forward<F>(function)(given<T>(current));
        const value_view next = made.next();
        detail::ok(kvreg_update_end(turn.release(), made.verdict(), next.get()));
    }
    // The same later, on a thread of the library's. What it throws ends the bucket: KVREG_CRASHED.
    template <class T = value, class F> void update_cast(std::string_view key, F function) {
        struct later {
            F function;
            std::optional<decision> made;
        };
        auto call = [](void *data, const kvreg_value *current, kvreg_value *next) noexcept {
            try {
                auto &self = *static_cast<later *>(data);
                auto lent = current ? value_view(*current) : nullptr;
                self.made.emplace(self.function(given<T>(lent)));
                *next = *value_view(self.made->next()).get();
                return self.made->verdict();
            } catch (...) {
                return kvreg_verdict{KVREG_CRASH};
            }
        };
        auto destroy = [](void *data) noexcept { delete static_cast<later *>(data); };
        auto data = new later{std::move(function), std::nullopt};
        detail::ok(
            kvreg_bucket_update_cast(get(), key.data(), key.size(), call, data, destroy));
    }

    std::size_t count() const {
        std::size_t count = 0;
        detail::ok(kvreg_bucket_count(get(), &count));
        return count;
    }
    void clear() { detail::ok(kvreg_bucket_clear(get())); }
    kvreg::items items() const {
        kvreg_items *items = nullptr;
        detail::ok(kvreg_bucket_items(get(), &items));
        return kvreg::items(items);
    }
    std::optional<std::string> name() const {
        shared_value name;
        detail::ok(kvreg_bucket_name(get(), name.get()));
        if (name.type() == KVREG_NIL) return std::nullopt;
        return std::string(name.text());
    }
    kvreg_bucket_stats info() const {
        auto stats = kvreg_bucket_stats_init();
        detail::ok(kvreg_bucket_info(get(), &stats));
        return stats;
    }
    void set_timeout(milliseconds timeout) {
        detail::ok(kvreg_bucket_set_timeout(get(), timeout.count()));
    }
    void link(const bucket &other) { detail::ok(kvreg_bucket_link(get(), other.get())); }
    void unlink(const bucket &other) { detail::ok(kvreg_bucket_unlink(get(), other.get())); }
    void stop() { detail::ok(kvreg_bucket_stop(get())); }
    void exit(kvreg_reason reason, std::string_view text = {}) {
        detail::ok(kvreg_bucket_exit(get(), reason, text.data(), text.size()));
    }

private:
    template <class T> static std::optional<T> given(value_view current) {
        if (current.type() == KVREG_NIL || current.type() == KVREG_ABSENT) return std::nullopt;
        return current.as<T>();
    }
};

class registry : public detail::handle<kvreg_registry, kvreg_registry_free> {
public:
    using handle::handle;
    static registry start() { return start(kvreg_registry_options_init()); }
    // One that others find by `name`.
    static registry start(std::string_view name) {
        auto options = kvreg_registry_options_init();
        options.name = name.data() != nullptr ? name.data() : ""; // NULL would be none
        options.name_len = name.size();
        return start(options);
    }
    static registry start(const kvreg_registry_options &options) {
        return registry(made(kvreg_registry_start, &options));
    }
    static std::optional<registry> whereis(std::string_view name) {
        return if_found<registry>(looked_up(kvreg_registry_whereis, name.data(), name.size()));
    }
    registry clone() const { return registry(made(kvreg_registry_clone, get())); }

    bucket create(std::string_view name, std::uint32_t flags = 0) {
        kvreg_bucket *made = nullptr;
        detail::ok(kvreg_registry_create(get(), name.data(), name.size(), flags, &made));
        return bucket(made);
    }
    bucket create(std::string_view name, const kvreg_bucket_options &options,
                  std::uint32_t flags = 0) {
        kvreg_bucket *made = nullptr;
        detail::ok(
            kvreg_registry_create_with(get(), name.data(), name.size(), flags, &options, &made));
        return bucket(made);
    }
    void create_cast(std::string_view name) {
        detail::ok(kvreg_registry_create_cast(get(), name.data(), name.size()));
    }
    std::optional<bucket> lookup(std::string_view name) const {
        kvreg_bucket *there = nullptr;
        detail::found(kvreg_registry_lookup(get(), name.data(), name.size(), &there));
        return if_found<bucket>(there);
    }
    // If there was one.
    bool remove(std::string_view name) {
        return detail::found(kvreg_registry_remove(get(), name.data(), name.size()));
    }
    std::size_t count() const {
        std::size_t count = 0;
        detail::ok(kvreg_registry_count(get(), &count));
        return count;
    }
    kvreg::names names() const {
        kvreg_items *names = nullptr;
        detail::ok(kvreg_registry_names(get(), &names));
        return kvreg::names(names);
    }
    kvreg_registry_stats info() const {
        auto stats = kvreg_registry_stats_init();
        detail::ok(kvreg_registry_info(get(), &stats));
        return stats;
    }
    void send(std::string_view message) {
        detail::ok(kvreg_registry_send(get(), message.data(), message.size()));
    }
    // The reply, as in the text protocol.
    std::string execute(std::string_view line) {
        shared_value reply;
        detail::ok(kvreg_registry_execute(get(), line.data(), line.size(), reply.get()));
        return std::string(reply.text());
    }
    void set_timeout(milliseconds timeout) {
        detail::ok(kvreg_registry_set_timeout(get(), timeout.count()));
    }
    void stop() { detail::ok(kvreg_registry_stop(get())); }
    void exit(kvreg_reason reason, std::string_view text = {}) {
        detail::ok(kvreg_registry_exit(get(), reason, text.data(), text.size()));
    }

private:
    template <class H, class C> static std::optional<H> if_found(C *handle) {
        if (handle == nullptr) return std::nullopt;
        return H(handle);
    }
};

// kvreg_event, with texts of its own.
struct event {
    std::uint32_t type;
    kvreg_reason reason;
    std::uint32_t level;
    std::uint64_t reference, count;
    std::string name, detail;
};

class inbox : public detail::handle<kvreg_inbox, kvreg_inbox_free> {
public:
    using handle::handle;
    static inbox open() { return inbox(made(kvreg_inbox_open)); }

    // Gives the reference that its DOWN will have.
    std::uint64_t monitor(const bucket &bucket) {
        std::uint64_t reference = 0;
        detail::ok(kvreg_inbox_monitor(get(), bucket.get(), &reference));
        return reference;
    }
    std::uint64_t monitor(const registry &registry) {
        std::uint64_t reference = 0;
        detail::ok(kvreg_inbox_monitor_registry(get(), registry.get(), &reference));
        return reference;
    }
    void demonitor(std::uint64_t reference, std::uint32_t flags = 0) {
        detail::ok(kvreg_inbox_demonitor(get(), reference, flags));
    }
    void subscribe_logs(std::uint32_t max_level) {
        detail::ok(kvreg_inbox_subscribe_logs(get(), max_level));
    }
    // Empty if nothing came in time.
    std::optional<event> receive(milliseconds timeout = infinite) {
        struct received : kvreg_event {
            ~received() { kvreg_event_clear(this); }
        } raw{};
        if (!detail::found(kvreg_inbox_receive(get(), timeout.count(), &raw), KVREG_TIMEOUT))
            return std::nullopt;
        return event{raw.type,      raw.reason, raw.level,
                     raw.reference, raw.count,  {raw.name.data, raw.name.len},
                     {raw.detail.data, raw.detail.len}};
    }
    // Readable while events wait. On Linux.
    int fd() const {
        int fd = -1;
        detail::ok(kvreg_inbox_fd(get(), &fd));
        return fd;
    }
    // A HANDLE that is signalled while events wait. On Windows.
    void *handle() const {
        void *handle = nullptr;
        detail::ok(kvreg_inbox_handle(get(), &handle));
        return handle;
    }
};

class listener : public detail::handle<kvreg_listener, kvreg_listener_free> {
public:
    using handle::handle;
    static listener start(const registry &registry, const std::string &address,
                          const kvreg_listener_options &options = kvreg_listener_options_init()) {
        return listener(made(kvreg_listener_start, registry.get(), address.c_str(), &options));
    }
    std::string address() const {
        shared_value address;
        detail::ok(kvreg_listener_address(get(), address.get()));
        return std::string(address.text());
    }
    void stop() { detail::ok(kvreg_listener_stop(get())); }
};

// The process -------------------------------------------------------------------------------------

inline void configure(const kvreg_options &options) { detail::ok(kvreg_configure(&options)); }
inline void shutdown(milliseconds timeout = infinite) {
    detail::ok(kvreg_shutdown(timeout.count()));
}

} // namespace kvreg

#endif // KVREG_HPP
