// kvreg for C++17: header-only, over kvreg.h, which says what each function does. Here is only
// what C++ adds.
//
//     auto registry = kvreg::registry::start();
//     auto shopping = registry.create("shopping");
//     shopping.put("milk", 1);
//     shopping.update<std::int64_t>("milk", [](auto n) { return n.value_or(0) + 1; });
//     assert(shopping.get<std::int64_t>("milk") == 2);
//
// Names are those of C without the prefix, but for erase, since delete is a word of C++'s own, for
// put and erase on a condition, which is an argument, and for add and compare_and_swap.
// Constants stay KVREG_...; text is a std::string_view, which may hold any bytes.
//
// Handles own: a destructor frees the handle (and ends nothing that has a name, as in C), a move
// leaves an empty one, a copy is asked for by clone(). What is done with an empty handle fails
// with KVREG_BAD_HANDLE. Handles may be shared between threads as C's may, but a variable that
// one thread moves from or destroys, another must not use.
//
// Failures throw kvreg::error, and a conflict its kvreg::conflict. What users expect to happen is
// no failure: a key or a name that is not there, or no event in time, is an empty std::optional. To
// call without exceptions, wrap the call in kvreg::attempt, which gives a kvreg::result: every call
// can fail in either way. Compiled without exceptions (-fno-exceptions) every call gives a
// kvreg::result. The header needs no RTTI.
//
// A server of one's own is a class with a member handle(const kvreg::message &, kvreg::value &):
// see kvreg::server. No exception of it passes into the library.

#ifndef KVREG_HPP
#define KVREG_HPP

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <initializer_list>
#include <iterator>
#include <limits>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "kvreg.h"

#if defined(__cpp_exceptions) || defined(_CPPUNWIND)
#define KVREG_HPP_THROWS 1
#else
#define KVREG_HPP_THROWS 0
#endif

namespace kvreg {

// A program may have both: what differs has another name there.
#if KVREG_HPP_THROWS
inline namespace with_exceptions {
#else
inline namespace without_exceptions {
#endif

using std::chrono::milliseconds;

// A timeout that never comes.
inline constexpr milliseconds infinite{-1};

// Constants ---------------------------------------------------------------------------------------

// kvreg_reason: why a server ended.
enum class reason : kvreg_reason {
    normal = KVREG_REASON_NORMAL,
    shutdown = KVREG_REASON_SHUTDOWN,
    killed = KVREG_REASON_KILLED,
    crashed = KVREG_REASON_CRASHED,
    noproc = KVREG_REASON_NOPROC
};

// kvreg_verdict: what an update decides, or a handler of a server. The last three are a handler's
// only, store and remove an update's.
enum class verdict : kvreg_verdict {
    keep = KVREG_KEEP,
    store = KVREG_STORE,
    remove = KVREG_REMOVE,
    abort = KVREG_ABORT,
    crash = KVREG_CRASH,
    stop = KVREG_STOP,
    later = KVREG_LATER,
    unhandled = KVREG_UNHANDLED
};

// The name that C has for it, as "KVREG_REASON_KILLED".
inline std::string_view name(reason why) noexcept {
    return kvreg_reason_name(static_cast<kvreg_reason>(why));
}
inline std::string_view name(verdict made) noexcept {
    return kvreg_verdict_name(static_cast<kvreg_verdict>(made));
}

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

// A call that failed. what() is kvreg_last_error's text, which says what failed and why.
class error : public std::system_error {
public:
    error(kvreg_status status, const std::string &text, std::int32_t os_error = 0)
        : std::system_error(status, category()),
          text_(text.empty() ? std::string(kvreg_status_message(status)) : text),
          os_error_(os_error) {}
    kvreg_status status() const noexcept { return code().value(); }
    // kvreg_last_os_error: the system's error number, for KVREG_IO; else 0.
    std::int32_t os_error() const noexcept { return os_error_; }
    const char *what() const noexcept override { return text_.what(); }

private:
    std::runtime_error text_; // a string whose copies do not throw
    std::int32_t os_error_;
};

// KVREG_CONFLICT. Who writes on a condition catches it, and tries again.
class conflict : public error {
public:
    explicit conflict(const error &failure) : error(failure) {}
};

namespace detail {

[[noreturn]] inline void raise(const error &failure) {
#if KVREG_HPP_THROWS
    if (failure.status() == KVREG_CONFLICT) throw conflict(failure);
    throw failure;
#else
    (void)failure;
    std::abort();
#endif
}

} // namespace detail

// What a call returned (nothing: std::monostate), or its error: what attempt() gives, and without
// exceptions every call.
template <class T> class [[nodiscard]] result {
public:
    result(T returned) : held_(std::in_place_index<0>, std::move(returned)) {}
    result(error failure) : held_(std::in_place_index<1>, std::move(failure)) {}

    bool has_value() const noexcept { return held_.index() == 0; }
    explicit operator bool() const noexcept { return has_value(); }
    kvreg_status status() const noexcept { return has_value() ? KVREG_OK : failure().status(); }
    // Only if there is no value.
    const error &failure() const { return *std::get_if<1>(&held_); }
    // If there is no value these throw the error; without exceptions they abort.
    T &value() & {
        check_value();
        return *std::get_if<0>(&held_);
    }
    const T &value() const & {
        check_value();
        return *std::get_if<0>(&held_);
    }
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
    void check_value() const {
        if (!has_value()) detail::raise(failure());
    }
    std::variant<T, error> held_;
};

namespace detail {

using done = result<std::monostate>;

template <class T> inline constexpr bool is_result = false;
template <class T> inline constexpr bool is_result<result<T>> = true;
template <class T> inline constexpr bool is_optional = false;
template <class T> inline constexpr bool is_optional<std::optional<T>> = true;
// For a static_assert that fails where a template is used.
template <class T> inline constexpr bool never = false;

#if KVREG_HPP_THROWS
template <class T> using returned = T;
template <class T> T give(result<T> made) { return std::move(made).value(); }
inline void give(done made) { made.value(); }
#else
template <class T>
using returned = result<std::conditional_t<std::is_void_v<T>, std::monostate, T>>;
template <class T> result<T> give(result<T> made) { return made; }
#endif

// Of the call that just failed on this thread.
inline error last_error(kvreg_status status) {
    char text[512];
    kvreg_last_error(text, sizeof text);
    return error(status, text, kvreg_last_os_error());
}

// What a call gave, if it answered so. The arguments are what the call itself fills.
inline done answer(kvreg_status status) {
    if (status != KVREG_OK) return last_error(status);
    return std::monostate();
}
template <class T> result<T> answer(kvreg_status status, T &&made) {
    if (status != KVREG_OK) return last_error(status);
    return std::move(made);
}
// Empty if it is not there.
template <class T>
result<std::optional<T>> if_found(kvreg_status status, T &&made,
                                  kvreg_status absent = KVREG_NOT_FOUND) {
    if (status == absent) return std::optional<T>();
    if (status != KVREG_OK) return last_error(status);
    return std::optional<T>(std::move(made));
}

} // namespace detail

// Calls `function`; an error that it throws, or a result of its own, is returned.
//
//     if (auto bucket = kvreg::attempt([&] { return registry.create("b"); })) bucket->put("k", 1);
template <class F> auto attempt(F &&function) {
    using returned = std::decay_t<std::invoke_result_t<F>>;
    auto call = [&] {
        if constexpr (detail::is_result<returned>) {
            return std::forward<F>(function)();
        } else if constexpr (std::is_void_v<returned>) {
            std::forward<F>(function)();
            return detail::done(std::monostate());
        } else {
            return result<returned>(std::forward<F>(function)());
        }
    };
#if KVREG_HPP_THROWS
    try {
        return call();
    } catch (const error &failure) {
        return decltype(call())(failure);
    }
#else
    return call();
#endif
}

// What a handler throws to refuse a message: whoever called gets KVREG_ABORTED with this text, and
// the server lives. Anything else that it throws ends its server.
class refused : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

// Text --------------------------------------------------------------------------------------------

// A key, a name or another text that is given to a call: it borrows. A null pointer is what it is
// in C: KVREG_INVALID_ARGUMENT.
class text {
public:
    text() noexcept = default;
    text(const char *nul_terminated) noexcept
        : data_(nul_terminated),
          size_(nul_terminated != nullptr ? std::char_traits<char>::length(nul_terminated)
                                          : KVREG_NUL) {}
    // Whatever is a std::string_view.
    template <class T, std::enable_if_t<std::is_convertible_v<const T &, std::string_view> &&
                                            !std::is_convertible_v<const T &, const char *>,
                                        int> = 0>
    text(const T &other) : text(std::string_view(other), 0) {}

    const char *data() const noexcept { return data_; }
    std::size_t size() const noexcept { return size_; }
    bool is_null() const noexcept { return data_ == nullptr && size_ != 0; }

private:
    text(std::string_view view, int) noexcept : data_(view.data()), size_(view.size()) {}
    const char *data_ = "";
    std::size_t size_ = 0;
};

// Values ------------------------------------------------------------------------------------------

using bytes = std::vector<std::byte>;

// A value of one's own: nil is std::monostate.
using value = std::variant<std::monostate, bool, std::int64_t, double, std::string, bytes>;

namespace detail {

template <class T>
inline constexpr bool is_character =
    std::is_same_v<T, char> || std::is_same_v<T, decltype(u8'c')> || std::is_same_v<T, wchar_t> ||
    std::is_same_v<T, char16_t> || std::is_same_v<T, char32_t>;
// bool is one of them.
template <class T>
inline constexpr bool is_number = std::is_arithmetic_v<T> && !is_character<T>;
// What a value can be read as.
template <class T>
inline constexpr bool is_readable =
    is_number<T> || std::is_same_v<T, value> || std::is_same_v<T, std::string> ||
    std::is_same_v<T, bytes>;

// A value of T, if it is one and fits.
template <class T> result<T> as(value held) {
    static_assert(is_readable<T>, "a value is read as a kvreg::value, a bool, an integer, a "
                                  "floating-point number, a std::string or kvreg::bytes");
    if constexpr (std::is_same_v<T, value>) {
        return held;
    } else if constexpr (std::is_same_v<T, bool> || std::is_class_v<T>) {
        if (auto right = std::get_if<T>(&held)) return std::move(*right);
    } else if constexpr (std::is_integral_v<T>) {
        if (auto right = std::get_if<std::int64_t>(&held)) {
            auto number = static_cast<T>(*right);
            if (static_cast<std::int64_t>(number) == *right && (number < T()) == (*right < 0))
                return number;
            return error(KVREG_WRONG_TYPE, "the integer does not fit into the type asked for");
        }
    } else if constexpr (std::is_floating_point_v<T>) {
        if (auto right = std::get_if<double>(&held)) {
            // What is infinite or no number is so in every type.
            if constexpr (sizeof(T) < sizeof(double)) {
                constexpr double most{(std::numeric_limits<T>::max)()};
                constexpr double infinity = std::numeric_limits<double>::infinity();
                if ((*right > most && *right < infinity) ||
                    (*right < -most && *right > -infinity))
                    return error(KVREG_WRONG_TYPE, "the number is beyond the type asked for");
            }
            return static_cast<T>(*right);
        }
    }
    return error(KVREG_WRONG_TYPE, "the value is of another type than was asked for");
}

} // namespace detail

// What is given to a call: it borrows, and is made of whatever a value can be. Characters and
// pointers are refused where they would pass for numbers or truth.
class value_view {
public:
    value_view(std::nullptr_t) noexcept : raw_(kvreg_nil()) {}
    value_view(std::monostate) noexcept : raw_(kvreg_nil()) {}
    value_view(const char *text) noexcept : value_view(kvreg::text(text), 0) {}
    value_view(const bytes &data) noexcept : raw_(kvreg_bytes(data.data(), data.size())) {}
    value_view(const value &held)
        : raw_(std::visit([](const auto &it) { return value_view(it).raw_; }, held)) {}

    template <class T, std::enable_if_t<!std::is_base_of_v<value_view, T> &&
                                            !std::is_convertible_v<const T &, const char *> &&
                                            !std::is_same_v<T, kvreg_value>,
                                        int> = 0>
    value_view(const T &given) : raw_(kvreg_nil()) {
        if constexpr (std::is_convertible_v<const T &, std::string_view>)
            raw_ = value_view(kvreg::text(given), 0).raw_;
        else if constexpr (std::is_same_v<T, bool>)
            raw_ = kvreg_bool(given);
        else if constexpr (detail::is_number<T> && std::is_floating_point_v<T>)
            raw_ = kvreg_float(static_cast<double>(given));
        else if constexpr (detail::is_number<T>)
            raw_ = integer(given);
        else
            static_assert(detail::never<T>,
                          "a value is made of nullptr, a bool, an integer, a floating-point "
                          "number, a text, kvreg::bytes or a kvreg::value, and not of a "
                          "character or a pointer");
    }
    // A value of C's; it stays whose it is.
    explicit value_view(const kvreg_value &raw) noexcept : raw_(raw) {}

    // Bytes that are elsewhere.
    static value_view of_bytes(const void *data, std::size_t len) noexcept {
        return value_view(kvreg_bytes(data, len));
    }

    const kvreg_value *get() const noexcept { return &raw_; }
    std::uint32_t type() const noexcept { return raw_.type; }
    // False if it is made of a null pointer or an integer beyond 64 bits with a sign: calls answer
    // KVREG_INVALID_ARGUMENT.
    bool is_valid() const noexcept {
        return raw_.type != invalid && (!is_text() || raw_.as.text.data || !raw_.as.text.len);
    }
    // Of KVREG_STRING and KVREG_BYTES, as long as what is borrowed lives; else empty.
    std::string_view text() const noexcept {
        if (!is_text() || !is_valid()) return {};
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
            auto first = reinterpret_cast<const std::byte *>(text().data());
            return bytes(first, first + text().size());
        }
        default: return std::monostate();
        }
    }
    // A copy, as one of the types that a value can be read as: KVREG_WRONG_TYPE if it is of
    // another one, or does not fit.
    template <class T> detail::returned<T> as() const {
        return detail::give(detail::as<T>(copy()));
    }

protected:
    kvreg_value raw_;

private:
    static constexpr std::uint32_t invalid = UINT32_MAX; // no type of C's

    value_view(kvreg::text text, int) noexcept : raw_(kvreg_string(text.data(), text.size())) {}
    bool is_text() const noexcept {
        return raw_.type == KVREG_STRING || raw_.type == KVREG_BYTES;
    }
    template <class T> static kvreg_value integer(T number) {
        auto raw = kvreg_int(static_cast<std::int64_t>(number));
        // Unsigned, or of 128 bits, which are arithmetic among gcc's extensions.
        if (static_cast<T>(raw.as.integer) != number ||
            (std::is_unsigned_v<T> && raw.as.integer < 0))
            raw.type = invalid;
        return raw;
    }
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

// What a function given to update decides: a value is stored, and the verdicts do as they say. An
// empty std::optional takes the key out, but leaves what the function was given empty as it was.
class decision {
public:
    decision(kvreg::verdict verdict) noexcept : verdict_(verdict) {}
    decision(std::nullopt_t) noexcept : verdict_(kvreg::verdict::remove), is_empty_(true) {}
    template <class T, std::enable_if_t<!std::is_same_v<std::decay_t<T>, decision>, int> = 0>
    decision(T &&next) : verdict_(kvreg::verdict::store) {
        if constexpr (detail::is_optional<std::decay_t<T>>) {
            *this = next ? decision(*std::forward<T>(next)) : decision(std::nullopt);
        } else if constexpr (std::is_class_v<std::decay_t<T>> &&
                             std::is_constructible_v<value, T &&>) {
            next_ = value(std::forward<T>(next));
        } else {
            const value_view view(next);
            is_valid_ = view.is_valid();
            next_ = view.copy();
        }
    }
    static decision keep() noexcept { return kvreg::verdict::keep; }
    static decision remove() noexcept { return kvreg::verdict::remove; }
    static decision abort() noexcept { return kvreg::verdict::abort; }
    static decision crash() noexcept { return kvreg::verdict::crash; }

    kvreg::verdict verdict() const noexcept { return verdict_; }
    const value &next() const noexcept { return next_; }
    // False if what is to be stored cannot be: see value_view.
    bool is_valid() const noexcept { return is_valid_; }

    // As a number of C's, for a function that was given nothing (`was_empty`), or a value.
    kvreg_verdict raw(bool was_empty) const noexcept {
        const auto made = is_empty_ && was_empty ? kvreg::verdict::keep : verdict_;
        return static_cast<kvreg_verdict>(made);
    }

private:
    kvreg::verdict verdict_;
    bool is_empty_ = false, is_valid_ = true;
    value next_;
};

// Revisions ---------------------------------------------------------------------------------------

// A value, the revision of the change that stored it, and what is left of the key's time to live;
// none: for ever.
struct entry {
    kvreg::value value;
    std::uint64_t revision;
    std::optional<milliseconds> ttl;
};

// The time to live that a put gives its key; a part of a millisecond is a whole one.
class ttl {
public:
    template <class Rep, class Period>
    constexpr explicit ttl(std::chrono::duration<Rep, Period> time) noexcept
        : ms_(whole(time)) {}
    // What the key has; the bucket's default if it is absent.
    static constexpr ttl keep() noexcept { return ttl(KVREG_TTL_KEEP); }
    // For ever.
    static constexpr ttl never() noexcept { return ttl(KVREG_TTL_NEVER); }
    // As kvreg_bucket_put_entry takes it.
    constexpr std::int64_t get() const noexcept { return ms_; }

private:
    constexpr explicit ttl(std::int64_t ms) noexcept : ms_(ms) {}
    // What is no time is refused by the library, and so it is no word of its.
    template <class Rep, class Period>
    static constexpr std::int64_t whole(std::chrono::duration<Rep, Period> time) noexcept {
        using duration = std::chrono::duration<Rep, Period>;
        if (!(time > duration::zero())) return (std::numeric_limits<std::int64_t>::min)();
        using seconds = std::chrono::duration<double>;
        if (std::chrono::duration_cast<seconds>(time).count() > 1e12)
            return (std::numeric_limits<std::int64_t>::max)();
        const auto ms = std::chrono::duration_cast<milliseconds>(time);
        return static_cast<std::int64_t>(ms.count()) + (ms < time ? 1 : 0);
    }
    std::int64_t ms_;
};

// A condition: the key has this revision.
class if_revision {
public:
    constexpr explicit if_revision(std::uint64_t expected) noexcept : expected_(expected) {}
    constexpr std::uint64_t get() const noexcept { return expected_; }

private:
    std::uint64_t expected_;
};

// A condition: the key is absent.
inline constexpr if_revision if_absent{0};

namespace detail {

// What a value is made of, or an optional of it: empty for an absent key.
inline std::optional<value_view> maybe(std::nullopt_t) { return std::nullopt; }
template <class T> std::optional<value_view> maybe(const T &given) {
    if constexpr (is_optional<T>)
        return given ? std::optional<value_view>(*given) : std::nullopt;
    else
        return value_view(given);
}

} // namespace detail

// Several changes that bucket::apply makes in one step: all of them or none. It has copies of keys
// and values.
class batch {
public:
    batch &put(text key, value_view next) { return note(KVREG_OP_PUT, key, &next); }
    batch &put(text key, value_view next, if_revision expected) {
        return note(KVREG_OP_PUT_IF, key, &next, expected.get());
    }
    // With a time to live, which begins when the change is made.
    batch &put(text key, value_view next, kvreg::ttl life) {
        return note(KVREG_OP_PUT, key, &next, 0, life.get());
    }
    batch &put(text key, value_view next, kvreg::ttl life, if_revision expected) {
        return note(KVREG_OP_PUT_IF, key, &next, expected.get(), life.get());
    }
    // An absent key refuses: KVREG_NOT_FOUND.
    batch &erase(text key) { return note(KVREG_OP_DELETE, key, nullptr); }
    batch &erase(text key, if_revision expected) {
        return note(KVREG_OP_DELETE_IF, key, nullptr, expected.get());
    }
    batch &add(text key, std::int64_t delta) {
        note(KVREG_OP_ADD, key, nullptr);
        changes_.back().op.delta = delta;
        return *this;
    }
    std::size_t size() const noexcept { return changes_.size(); }
    // As C has them, as long as this one lives unchanged.
    std::vector<kvreg_op> ops() const {
        std::vector<kvreg_op> all;
        all.reserve(changes_.size());
        for (const auto &one : changes_) {
            all.push_back(one.op);
            if (one.key) {
                all.back().key = one.key->data();
                all.back().key_len = one.key->size();
            }
            if (one.held) all.back().value = *value_view(*one.held).get();
        }
        return all;
    }

private:
    struct change {
        kvreg_op op;
        std::optional<std::string> key;
        std::optional<value> held;
    };

    batch &note(std::uint32_t what, text key, const value_view *next, std::uint64_t expected = 0,
                std::int64_t ttl_ms = KVREG_TTL_DEFAULT) {
        change made{kvreg_op_init(), std::nullopt, std::nullopt};
        made.op.op = what;
        made.op.expected = expected;
        made.op.ttl_ms = ttl_ms;
        // What is invalid stays as it is, and is refused by apply.
        made.op.key = key.data();
        made.op.key_len = key.size();
        if (!key.is_null()) {
            made.key = key.size() == KVREG_NUL ? std::string(key.data())
                                               : std::string(key.data(), key.size());
        }
        if (next != nullptr) {
            made.op.value = *next->get();
            if (next->is_valid()) made.held = next->copy();
        }
        changes_.push_back(std::move(made));
        return *this;
    }
    std::vector<change> changes_;
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
    // Calls a function whose last argument is where it puts a handle; gives it as an H.
    template <class H, class F, class... A> static result<H> made(F function, A... arguments) {
        C *handle = nullptr;
        const auto status = function(arguments..., &handle);
        return answer(status, H(handle));
    }
    template <class H, class F, class... A>
    static result<std::optional<H>> looked_up(F function, A... arguments) {
        C *handle = nullptr;
        const auto status = function(arguments..., &handle);
        return if_found(status, H(handle));
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
//
// Without exceptions it has no begin and end, for they could not say why they stop: then next()
// is called until it gives nothing.
template <class Item> class snapshot : public detail::handle<kvreg_items, kvreg_items_free> {
public:
    using handle::handle;

    // Empty at the end.
    detail::returned<std::optional<Item>> next() { return detail::give(next_of(get())); }

private:
    static result<std::optional<Item>> next_of(kvreg_items *items) {
        shared_value key, held;
        const auto status = kvreg_items_next(items, key.get(), held.get());
        if constexpr (std::is_same_v<Item, std::string>)
            return detail::if_found(status, Item(key.text()));
        else
            return detail::if_found(status, Item(key.text(), held.copy()));
    }

#if KVREG_HPP_THROWS
public:
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
            auto next = next_of(items_).value();
            if (next)
                item_ = std::make_shared<Item>(std::move(*next));
            else
                *this = iterator();
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
#endif
};

using items = snapshot<std::pair<const std::string, value>>;
using names = snapshot<std::string>;

// How a scan goes through a bucket.
struct scan_options {
    std::optional<std::string> after{}; // begins with the first key above this one
    std::size_t page = 1000;            // keys that are read at once of an ordered bucket
};

// Keys in the order of their bytes, to be gone through once: with their values, or alone.
//
//     for (auto &&[key, value] : bucket.scan("user:")) ...
//     for (auto &&key : bucket.scan_keys("user:")) ...
//
// Nothing is read before it is asked for: of an ordered bucket a page at a time, as it is at one
// instant, of another one all at one instant. The bucket must be there until the end. Without
// exceptions it has no begin and end, as a snapshot has none.
template <class Item> class ordered_range {
public:
    ordered_range(kvreg_bucket *bucket, text prefix, scan_options options)
        : bucket_(bucket), has_prefix_(prefix.data() != nullptr), prefix_len_(prefix.size()),
          after_(std::move(options.after)), limit_(options.page) {
        if (has_prefix_) prefix_.assign(prefix.data(), prefix.size());
    }

    // Empty at the end.
    detail::returned<std::optional<Item>> next() { return detail::give(following()); }

private:
    static constexpr bool has_values = !std::is_same_v<Item, std::string>;

    result<std::optional<Item>> following() {
        while (left_ == 0) {
            if (is_last_) return std::optional<Item>();
            auto read = read_page();
            if (!read) return read.failure();
        }
        shared_value key, held;
        const auto status = kvreg_items_next(page_.get(), key.get(), held.get());
        if (status != KVREG_OK) return detail::last_error(status);
        left_--;
        if (left_ == 0 && !is_last_) after_ = std::string(key.text());
        if constexpr (has_values)
            return std::optional<Item>(std::in_place, key.text(), held.copy());
        else
            return std::optional<Item>(std::in_place, key.text());
    }
    detail::done read_page() {
        auto stats = kvreg_bucket_stats_init();
        auto status = kvreg_bucket_info(bucket_, &stats);
        if (status != KVREG_OK) return detail::last_error(status);
        const bool in_pages = stats.order == KVREG_ORDERED && limit_ > 0;
        auto options = kvreg_scan_options_init();
        options.flags = has_values ? 0 : KVREG_KEYS_ONLY;
        options.prefix = has_prefix_ ? prefix_.data() : nullptr;
        options.prefix_len = prefix_len_;
        options.after = after_ ? after_->data() : nullptr;
        options.after_len = after_ ? after_->size() : 0;
        options.limit = in_pages ? limit_ : 0;
        kvreg_items *found = nullptr;
        status = kvreg_bucket_scan(bucket_, &options, &found);
        if (status != KVREG_OK) return detail::last_error(status);
        page_ = page(found);
        status = kvreg_items_count(found, &left_);
        is_last_ = !in_pages || left_ < limit_;
        return detail::answer(status);
    }

    using page = detail::handle<kvreg_items, kvreg_items_free>;
    kvreg_bucket *bucket_;
    bool has_prefix_; // NULL with a length is refused by the library
    std::size_t prefix_len_;
    std::string prefix_;
    std::optional<std::string> after_;
    std::size_t limit_, left_ = 0;
    bool is_last_ = false;
    page page_{nullptr};

#if KVREG_HPP_THROWS
public:
    class iterator {
    public:
        using iterator_category = std::input_iterator_tag;
        using value_type = Item;
        using difference_type = std::ptrdiff_t;
        using pointer = Item *;
        using reference = Item &;

        iterator() noexcept = default;
        explicit iterator(ordered_range *range) : range_(range) { ++*this; }
        Item &operator*() const noexcept { return *item_; }
        Item *operator->() const noexcept { return item_.get(); }
        iterator &operator++() {
            auto next = range_->following().value();
            if (next)
                item_ = std::make_shared<Item>(std::move(*next));
            else
                *this = iterator();
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
        ordered_range *range_ = nullptr;
        std::shared_ptr<Item> item_;
    };
    iterator begin() { return iterator(this); }
    iterator end() const noexcept { return iterator(); }
#endif
};

using scan_range = ordered_range<std::pair<const std::string, value>>;
using key_range = ordered_range<std::string>;

// Servers -----------------------------------------------------------------------------------------

class bucket;
class inbox;
class registry;
class server;
class server_ref;

namespace detail {

// The answer of a call, as what was asked for: nothing, a value of a type, or an optional of it,
// which is empty for nil.
template <class T> auto answered(kvreg_status status, shared_value &&answer) {
    if constexpr (std::is_void_v<T>) {
        return detail::answer(status);
    } else if constexpr (std::is_same_v<T, shared_value>) {
        return detail::answer(status, std::move(answer));
    } else if constexpr (is_optional<T>) {
        using held = typename T::value_type;
        if (status != KVREG_OK) return result<T>(last_error(status));
        if (answer.type() == KVREG_NIL) return result<T>(T());
        auto right = detail::as<held>(answer.copy());
        return right ? result<T>(T(std::move(right).value())) : result<T>(right.failure());
    } else {
        if (status != KVREG_OK) return result<T>(last_error(status));
        return detail::as<T>(answer.copy());
    }
}

// What values are made of, as C takes them: for the call in which it stands.
template <class... A> class arguments {
public:
    explicit arguments(const A &...given) : raw_{*value_view(given).get()...} {}
    const kvreg_value *data() const noexcept { return raw_; }
    static constexpr std::size_t size() noexcept { return sizeof...(A); }

private:
    kvreg_value raw_[sizeof...(A)];
};
template <> class arguments<> {
public:
    const kvreg_value *data() const noexcept { return nullptr; }
    static constexpr std::size_t size() noexcept { return 0; }
};

} // namespace detail

// A caller who waits for a later answer. If none is sent it gets KVREG_ABORTED.
class reply : public detail::handle<kvreg_reply, kvreg_reply_free> {
    template <class T> using returned = detail::returned<T>;

public:
    using handle::handle;
    // The answer. False if nobody waits any more.
    returned<bool> send(value_view answer) { return sent(KVREG_KEEP, answer); }
    // The caller gets KVREG_ABORTED, with this text.
    returned<bool> refuse(text why) {
        return sent(KVREG_ABORT, value_view(kvreg_string(why.data(), why.size())));
    }

private:
    returned<bool> sent(kvreg_verdict verdict, value_view answer) {
        const auto status = kvreg_reply_send(release(), verdict, answer.get());
        if (status == KVREG_NO_PROCESS) return false;
        return detail::give(detail::answer(status, true));
    }
};

// What a server is told: valid as long as its handler runs.
class message {
    template <class T> using returned = detail::returned<T>;

public:
    explicit message(const kvreg_message &raw) noexcept : raw_(&raw) {}
    const kvreg_message *get() const noexcept { return raw_; }

    // KVREG_MESSAGE_CALL and so on.
    std::uint32_t type() const noexcept { return raw_->type; }
    // What is asked; of a DOWN, the name of the server that ended.
    std::string_view tag() const noexcept { return {raw_->tag.data, raw_->tag.len}; }
    // Of a DOWN: that of the monitor; of a timer's message: that of the timer; else 0.
    std::uint64_t reference() const noexcept { return raw_->reference; }
    // Of a DOWN and a TERMINATE: why.
    kvreg::reason reason() const noexcept { return static_cast<kvreg::reason>(raw_->reason); }
    // The server that handles it.
    inline server_ref self() const noexcept;

    // How many values it has. Of a DOWN and a TERMINATE it has the detail, if there is one.
    std::size_t size() const noexcept { return raw_->count; }
    value_view operator[](std::size_t index) const noexcept {
        return index < raw_->count ? value_view(raw_->values[index]) : value_view(nullptr);
    }
    // One value as a type that values are read as. What is not there, or is of another type, is
    // the caller's fault: it throws kvreg::refused.
    template <class T = value> returned<T> get(std::size_t index) const {
        auto read = index < raw_->count
                        ? detail::as<T>(value_view(raw_->values[index]).copy())
                        : result<T>(error(KVREG_INVALID_ARGUMENT, "an argument is missing"));
#if KVREG_HPP_THROWS
        if (!read) throw refused(read.failure().what());
#endif
        return detail::give(std::move(read));
    }
    // The answer of this call comes later: then the verdict is kvreg::verdict::later.
    returned<reply> defer() const {
        kvreg_reply *later = nullptr;
        const auto status = kvreg_message_defer(raw_, &later);
        return detail::give(detail::answer(status, reply(later)));
    }

private:
    const kvreg_message *raw_;
};

namespace detail {

template <class H>
using handled = decltype(std::declval<H &>().handle(std::declval<const message &>(),
                                                    std::declval<value &>()));
template <class H, class = void> inline constexpr bool handles = false;
template <class H>
inline constexpr bool handles<H, std::void_t<handled<H>>> =
    std::is_same_v<handled<H>, verdict>;

#if KVREG_HPP_THROWS
// What the exception that is being handled means to a server; `say` is told its text.
template <class S> verdict thrown(S say) noexcept {
    try {
        throw;
    } catch (const refused &why) {
        say(why.what());
        return verdict::abort;
    } catch (const std::exception &why) {
        say(why.what());
    } catch (...) {
    }
    return verdict::crash;
}
#endif

// How many exceptions are passing on this thread.
inline int passing() noexcept {
#if KVREG_HPP_THROWS
    return std::uncaught_exceptions();
#else
    return 0;
#endif
}

// Asks a handler, and lets no exception out. `made` is where the answer lies.
template <class H>
verdict ask(H &handler, const kvreg_message &raw, value &made, kvreg_value &answer) noexcept {
    auto says = verdict::crash;
#if KVREG_HPP_THROWS
    try {
#endif
        made = std::monostate();
        says = handler.handle(message(raw), made);
#if KVREG_HPP_THROWS
    } catch (...) {
        says = thrown([&](const char *text) noexcept {
            try {
                made = std::string(text);
            } catch (...) {
                made = std::monostate(); // no memory: nothing is said
            }
        });
    }
#endif
    answer = *value_view(made).get();
    return says;
}

// What a server is made of, each time that it starts; and what its constructor threw, for whoever
// starts it at first, on the same thread.
struct starting {
    const void *argument;
#if KVREG_HPP_THROWS
    std::exception_ptr failure{};
    void raise() const {
        if (failure) std::rethrow_exception(failure);
    }
#else
    void raise() const noexcept {}
#endif
};
inline starting *&starting_here() noexcept {
    static thread_local starting *here = nullptr;
    return here;
}

template <class T, class... A> struct factory {
    // The state of one process, and its last answer, which the library reads behind it.
    struct process {
        T handler;
        value answer{};
        explicit process(const A &...arguments) : handler(arguments...) {}
    };

    std::tuple<A...> arguments;

    static kvreg_verdict init(kvreg_server *, void *argument, void **state,
                              kvreg_value *detail) noexcept {
        auto &own = *static_cast<factory *>(argument);
#if KVREG_HPP_THROWS
        try {
#endif
            *state = std::apply([](const A &...given) { return new process(given...); },
                                std::as_const(own.arguments));
            return KVREG_KEEP;
#if KVREG_HPP_THROWS
        } catch (...) {
            auto *here = starting_here();
            if (here != nullptr && here->argument == argument)
                here->failure = std::current_exception();
            return static_cast<kvreg_verdict>(thrown([&](const char *text) noexcept {
                kvreg_value_copy_text(detail, text, KVREG_NUL);
            }));
        }
#else
        (void)detail;
#endif
    }
    static kvreg_verdict handle(void *state, const kvreg_message *raw,
                                kvreg_value *answer) noexcept {
        auto &own = *static_cast<process *>(state);
        return static_cast<kvreg_verdict>(ask(own.handler, *raw, own.answer, *answer));
    }
    static void drop(void *state) noexcept { delete static_cast<process *>(state); }
    static void destroy(void *argument) noexcept { delete static_cast<factory *>(argument); }
};

} // namespace detail

// Options of a server: C's, and the flags of its start. With KVREG_CREATE_EXCLUSIVE in
// `start_flags` a server of the name is KVREG_ALREADY_STARTED.
struct server_options : kvreg_server_options {
    server_options() : kvreg_server_options(kvreg_server_options_init()) {}
    std::uint32_t start_flags = 0;
};

// A turn of a server by turns: from its beginning to its end this thread is inside the server. It
// ends itself at the end of its scope; if an exception passes there, with kvreg::verdict::crash.
//
//     auto turn = hits.begin();
//     turn.serve(state); // what came before
//     state.count++;
class turn {
    template <class T> using returned = detail::returned<T>;

public:
    explicit turn(kvreg_turn *adopted) noexcept : held_(adopted), passing_(detail::passing()) {}
    turn(turn &&other) noexcept = default;
    turn &operator=(turn &&other) noexcept {
        turn old(std::move(*this));
        held_ = std::move(other.held_);
        passing_ = other.passing_;
        return *this;
    }
    ~turn() {
        if (held_ && detail::passing() <= passing_)
            kvreg_turn_end(held_.release(), KVREG_KEEP, nullptr, 0);
    }
    kvreg_turn *get() const noexcept { return held_.get(); }
    kvreg_turn *release() noexcept { return held_.release(); }
    explicit operator bool() const noexcept { return static_cast<bool>(held_); }

    // Handles what waited when the turn began, by handler.handle(message, answer), and says how
    // many messages that were. What the handler throws becomes a verdict, as of a server by
    // callbacks. KVREG_SERVER_DOWN: the server ended by that. KVREG_TIMEOUT: the time of the
    // handle is up; then end with kvreg::verdict::abort, and the rest stays queued.
    template <class H> returned<std::size_t> serve(H &handler) {
        static_assert(detail::handles<H>, "a server has a member kvreg::verdict handle(const "
                                          "kvreg::message &, kvreg::value &)");
        std::size_t count = 0;
        kvreg_status status;
        for (;; count++) {
            received raw;
            status = kvreg_turn_next(get(), &raw);
            if (status != KVREG_OK) break;
            value made;
            kvreg_value answer = kvreg_nil();
            const auto says = detail::ask(handler, raw, made, answer);
            status = kvreg_turn_answer(get(), static_cast<kvreg_verdict>(says), &answer);
            if (status != KVREG_OK) break;
        }
        if (status == KVREG_NOT_FOUND) status = KVREG_OK;
        return detail::give(detail::answer(status, std::move(count)));
    }
    // Calls `function`, ends the turn, and gives what that gave. What it throws comes out: the
    // server lives if it is kvreg::refused, else it crashes, and what() is the detail.
    template <class F> auto run(F &&function) -> returned<std::invoke_result_t<F>> {
        using made = std::invoke_result_t<F>;
#if KVREG_HPP_THROWS
        try {
#endif
            if constexpr (std::is_void_v<made>) {
                std::forward<F>(function)();
                return end();
            } else {
                auto given = std::forward<F>(function)();
                const auto ended = kvreg_turn_end(release(), KVREG_KEEP, nullptr, 0);
                return detail::give(detail::answer(ended, std::move(given)));
            }
#if KVREG_HPP_THROWS
        } catch (...) {
            std::string text;
            const auto says = detail::thrown([&](const char *what) noexcept {
                try {
                    text = what;
                } catch (...) {
                    text.clear(); // no memory: nothing is said
                }
            });
            if (held_)
                kvreg_turn_end(release(), static_cast<kvreg_verdict>(says), text.data(),
                               text.size());
            throw;
        }
#endif
    }
    // Gives it back: keep, abort, stop, or crash with a detail. KVREG_SERVER_DOWN: the server was
    // killed meanwhile.
    returned<void> end(kvreg::verdict says = kvreg::verdict::keep, text detail = {}) {
        return detail::give(detail::answer(kvreg_turn_end(
            held_.release(), static_cast<kvreg_verdict>(says), detail.data(), detail.size())));
    }
    // Puts off the answer of what the turn was begun for: it comes into the inbox, as
    // KVREG_EVENT_REPLY with this reference.
    inline returned<std::pair<std::uint64_t, reply>> defer(const inbox &into);
    // Takes it from its thread, for tasks that move between threads.
    returned<void> detach() { return detail::give(detail::answer(kvreg_turn_detach(get()))); }

private:
    struct received : kvreg_message {
        received() : kvreg_message(kvreg_message_init()) {}
        received(const received &) = delete;
        received &operator=(const received &) = delete;
        ~received() { kvreg_message_clear(this); }
    };
    detail::handle<kvreg_turn, kvreg_turn_free> held_;
    int passing_;
};

namespace detail {

// What is done with a server, whoever owns its handle.
template <class D> class server_calls {
    template <class T> using returned = detail::returned<T>;

public:
    // Asks, and waits for the answer: as a T, a std::optional of one, which is empty for nil, a
    // kvreg::shared_value, which is not copied, or void.
    //
    //     auto sum = server.call<std::int64_t>("add", 5);
    template <class T = value, class... A>
    returned<T> call(text tag, const A &...arguments) const {
        const detail::arguments<A...> given(arguments...);
        shared_value answer;
        const auto status = kvreg_server_call(raw(), tag.data(), tag.size(), given.data(),
                                              given.size(), answer.get());
        return detail::give(answered<T>(status, std::move(answer)));
    }
    // Sends without waiting.
    template <class... A> returned<void> cast(text tag, const A &...arguments) const {
        const detail::arguments<A...> given(arguments...);
        return done(kvreg_server_cast(raw(), tag.data(), tag.size(), given.data(),
                                      given.size()));
    }
    // Sends an info.
    template <class... A> returned<void> send(text tag, const A &...arguments) const {
        return info_of(0, tag, arguments...);
    }
    // An info before all that waits: from inside the server's own turn only.
    template <class... A> returned<void> send_next(text tag, const A &...arguments) const {
        return info_of(KVREG_SEND_NEXT, tag, arguments...);
    }
    // An info after a time: gives the reference that it will have.
    template <class... A>
    returned<std::uint64_t> send_after(milliseconds delay, text tag, const A &...arguments) const {
        const detail::arguments<A...> given(arguments...);
        std::uint64_t reference = 0;
        const auto status =
            kvreg_server_send_after(raw(), delay.count(), tag.data(), tag.size(), given.data(),
                                    given.size(), &reference);
        return detail::give(detail::answer(status, std::move(reference)));
    }
    // Takes a timer back: what was left of its time, or nothing if it has come already.
    returned<std::optional<milliseconds>> cancel(std::uint64_t reference) const {
        std::int64_t left = 0;
        const auto status = kvreg_server_cancel(raw(), reference, &left);
        return detail::give(detail::if_found(status, milliseconds(left)));
    }
    // Of a server by turns: waits for its turn.
    returned<turn> begin() const {
        kvreg_turn *begun = nullptr;
        const auto status = kvreg_server_begin(raw(), 0, nullptr, &begun);
        return detail::give(detail::answer(status, turn(begun)));
    }
    // The same without waiting: empty if somebody has the turn.
    returned<std::optional<turn>> try_begin() const {
        kvreg_turn *begun = nullptr;
        const auto status = kvreg_server_begin(raw(), KVREG_BEGIN_NOW, nullptr, &begun);
        return detail::give(detail::if_found(status, turn(begun), KVREG_TIMEOUT));
    }

    // Another handle, which owns itself.
    inline returned<server> clone() const;
    returned<std::optional<std::string>> name() const {
        shared_value name;
        const auto status = kvreg_server_name(raw(), name.get());
        std::optional<std::string> own;
        if (name.type() != KVREG_NIL) own = std::string(name.text());
        return detail::give(detail::answer(status, std::move(own)));
    }
    returned<kvreg_server_stats> info() const {
        auto stats = kvreg_server_stats_init();
        const auto status = kvreg_server_info(raw(), &stats);
        return detail::give(detail::answer(status, std::move(stats)));
    }
    returned<void> set_timeout(milliseconds timeout) const {
        return done(kvreg_server_set_timeout(raw(), timeout.count()));
    }
    // This server is told of the end of the other by a KVREG_MESSAGE_DOWN with this reference.
    inline returned<std::uint64_t> monitor(server_ref target) const;
    returned<void> demonitor(std::uint64_t reference, std::uint32_t flags = 0) const {
        return done(kvreg_server_demonitor(raw(), reference, flags));
    }
    inline returned<void> link(server_ref other) const;
    inline returned<void> unlink(server_ref other) const;
    returned<void> stop() const { return done(kvreg_server_stop(raw())); }
    returned<void> exit(kvreg::reason why, text detail = {}) const {
        const auto number = static_cast<kvreg_reason>(why);
        return done(kvreg_server_exit(raw(), number, detail.data(), detail.size()));
    }

private:
    kvreg_server *raw() const noexcept { return static_cast<const D &>(*this).get(); }
    static returned<void> done(kvreg_status status) {
        return detail::give(detail::answer(status));
    }
    template <class... A>
    returned<void> info_of(std::uint32_t flags, text tag, const A &...arguments) const {
        const detail::arguments<A...> given(arguments...);
        return done(kvreg_server_send(raw(), flags, tag.data(), tag.size(), given.data(),
                                      given.size()));
    }
};

} // namespace detail

// A server of any kind, whose handle is somebody else's: a message's, or a registry, a bucket or a
// server that is given to a call.
class server_ref : public detail::server_calls<server_ref> {
public:
    explicit server_ref(kvreg_server *borrowed) noexcept : held_(borrowed) {}
    inline server_ref(const server &whole) noexcept;
    inline server_ref(const bucket &whole) noexcept;
    inline server_ref(const registry &whole) noexcept;
    kvreg_server *get() const noexcept { return held_; }

private:
    kvreg_server *held_;
};

// A server that a program writes: a class whose member handle says what becomes of each message,
// and which is made anew at each start from copies of the same arguments.
//
//     struct counter {
//         std::int64_t sum;
//         explicit counter(std::int64_t begin) : sum(begin) {}
//         kvreg::verdict handle(const kvreg::message &message, kvreg::value &answer) {
//             if (message.tag() != "add") return kvreg::verdict::unhandled;
//             answer = sum += message.get<std::int64_t>(0);
//             return kvreg::verdict::keep;
//         }
//     };
//     auto hits = registry.start_server<counter>("hits", 10);
//     assert(hits.call<std::int64_t>("add", 5) == 15);
//
// Its handler runs on the thread of whoever calls, while the server does nothing else. With
// kvreg::verdict::abort and kvreg::verdict::crash a text in `answer` says why. It throws
// kvreg::refused for abort; any other exception is a crash, whose detail is what(). What its
// constructor throws comes out of the start; at a restart that counts as an end.
class server : public detail::handle<kvreg_server, kvreg_server_free>,
               public detail::server_calls<server> {
    template <class T> using returned = detail::returned<T>;

public:
    using handle::handle;
    using handle::get;
    // Without a registry.
    template <class T, class... A> static returned<server> start(A &&...arguments) {
        return detail::give(
            launch<T>(nullptr, text(), server_options(), std::forward<A>(arguments)...));
    }
    template <class T, class... A>
    static returned<server> start_with(const server_options &options, A &&...arguments) {
        return detail::give(launch<T>(nullptr, text(), options, std::forward<A>(arguments)...));
    }
    // By turns: its handle, and the first turn, which ends with the verdict on its start.
    static returned<std::pair<server, turn>> start_by_turns(const server_options &options = {}) {
        kvreg_server *made = nullptr;
        kvreg_turn *first = nullptr;
        const auto status = kvreg_server_start(&options, &made, &first);
        return detail::give(
            detail::answer(status, std::pair<server, turn>(server(made), turn(first))));
    }
    // Whose turn this thread has: in a handler and in a constructor, its own server. Empty: none.
    static returned<std::optional<server>> self() {
        kvreg_server *own = nullptr;
        const auto status = kvreg_server_self(&own);
        return detail::give(detail::if_found(status, server(own), KVREG_NO_PROCESS));
    }

private:
    friend class registry;

    template <class T, class... A>
    static result<server> launch(kvreg_registry *registry, text name,
                                 const server_options &options, A &&...arguments) {
        static_assert(detail::handles<T>, "a server has a member kvreg::verdict handle(const "
                                          "kvreg::message &, kvreg::value &)");
        static_assert(std::is_constructible_v<T, const std::decay_t<A> &...>,
                      "a server is made of copies of its arguments, for it may be started again");
        using factory = detail::factory<T, std::decay_t<A>...>;
        auto whole = options;
        whole.argument = new factory{{std::forward<A>(arguments)...}};
        whole.init = factory::init;
        whole.handle = factory::handle;
        whole.drop = factory::drop;
        whole.destroy = factory::destroy;
        kvreg_server *made = nullptr;
        detail::starting starts{whole.argument};
        auto *const outside = std::exchange(detail::starting_here(), &starts);
        const auto status =
            registry == nullptr
                ? kvreg_server_start(&whole, &made, nullptr)
                : kvreg_registry_start_server(registry, name.data(), name.size(),
                                              whole.start_flags, &whole, &made, nullptr);
        detail::starting_here() = outside;
        if (status != KVREG_OK) starts.raise();
        return detail::answer(status, server(made));
    }
};

inline server_ref message::self() const noexcept { return server_ref(raw_->self); }
inline server_ref::server_ref(const server &whole) noexcept : held_(whole.get()) {}

namespace detail {

template <class D> inline auto server_calls<D>::clone() const -> returned<server> {
    kvreg_server *made = nullptr;
    const auto status = kvreg_server_clone(raw(), &made);
    return detail::give(detail::answer(status, server(made)));
}
template <class D>
inline auto server_calls<D>::monitor(server_ref target) const -> returned<std::uint64_t> {
    std::uint64_t reference = 0;
    const auto status = kvreg_server_monitor(raw(), target.get(), &reference);
    return detail::give(detail::answer(status, std::move(reference)));
}
template <class D> inline auto server_calls<D>::link(server_ref other) const -> returned<void> {
    return done(kvreg_server_link(raw(), other.get()));
}
template <class D> inline auto server_calls<D>::unlink(server_ref other) const -> returned<void> {
    return done(kvreg_server_unlink(raw(), other.get()));
}

} // namespace detail

// Buckets and registries --------------------------------------------------------------------------

// kvreg_bucket_options, with a copy of the store's URL.
class bucket_options : public kvreg_bucket_options {
public:
    bucket_options() : kvreg_bucket_options(kvreg_bucket_options_init()) {}
    // With a store, which keeps the contents beyond the bucket's end.
    explicit bucket_options(std::string url) : bucket_options() { set_store(std::move(url)); }
    bucket_options(const bucket_options &other)
        : kvreg_bucket_options(other), url_(other.url_) {
        refer_to(other);
    }
    bucket_options &operator=(const bucket_options &other) {
        kvreg_bucket_options::operator=(other);
        url_ = other.url_;
        refer_to(other);
        return *this;
    }
    bucket_options &set_store(std::string url) {
        url_ = std::move(url);
        store = url_.data();
        store_len = url_.size();
        return *this;
    }

private:
    // To its own copy; a URL that was set as in C is its owner's.
    void refer_to(const bucket_options &other) noexcept {
        if (other.store == other.url_.data()) store = url_.data();
    }
    std::string url_;
};

class bucket : public detail::handle<kvreg_bucket, kvreg_bucket_free> {
    template <class T> using returned = detail::returned<T>;

public:
    using handle::handle;
    // Without a registry.
    static returned<bucket> start() { return detail::give(made<bucket>(kvreg_bucket_start)); }
    static returned<bucket> start(const kvreg_bucket_options &options) {
        return detail::give(made<bucket>(kvreg_bucket_start_with, &options));
    }
    returned<bucket> clone() const {
        return detail::give(made<bucket>(kvreg_bucket_clone, get()));
    }

    returned<void> put(text key, value_view next) {
        return done(kvreg_bucket_put(get(), key.data(), key.size(), next.get()));
    }
    returned<void> put_cast(text key, value_view next) {
        return done(kvreg_bucket_put_cast(get(), key.data(), key.size(), next.get()));
    }
    // `pairs`: a range of pairs of a key and what a value is made of, or these in braces. One
    // message: all or none.
    template <class R = std::initializer_list<std::pair<text, value_view>>>
    returned<void> put_many(R &&pairs) {
        std::vector<kvreg_pair> all;
        auto &&lasting = detail::lasting(pairs);
        for (const auto &[key, held] : lasting) {
            text own(key);
            value_view next = held; // as it is: what a conversion made would be gone
            all.push_back({own.data(), own.size(), *next.get()});
        }
        return done(kvreg_bucket_put_many(get(), all.data(), all.size()));
    }

    // A copy of the value, of any type, or of the one that is asked for.
    template <class T = value> returned<std::optional<T>> get(text key) const {
        return detail::give(read_as<T>(key));
    }
    using handle::get; // the handle of C
    // The value itself.
    returned<std::optional<shared_value>> read(text key) const {
        return detail::give(find(key));
    }
    // The values of many keys at one instant; empty for one that is absent.
    template <class R = std::initializer_list<text>>
    returned<std::vector<std::optional<value>>> get_many(R &&keys) const {
        std::vector<kvreg_pair> all;
        auto &&lasting = detail::lasting(keys);
        for (const auto &key : lasting) {
            text own(key);
            all.push_back({own.data(), own.size(), kvreg_nil()});
        }
        std::vector<shared_value> held;
        held.reserve(all.size()); // so that what comes is owned, whatever fails
        const auto status = kvreg_bucket_get_many(get(), all.data(), all.size());
        std::vector<std::optional<value>> copies;
        if (status == KVREG_OK) {
            for (const auto &pair : all) held.emplace_back(pair.value);
            copies.reserve(held.size());
            for (const auto &one : held) {
                const bool is_absent = one.type() == KVREG_ABSENT;
                copies.push_back(is_absent ? std::nullopt : std::optional(one.copy()));
            }
        }
        return detail::give(detail::answer(status, std::move(copies)));
    }
    // kvreg_bucket_delete: gives what was there. What is not of the type asked for stays.
    template <class T = value> returned<std::optional<T>> erase(text key) {
        return detail::give(take_out<T>(key));
    }
    returned<void> erase_cast(text key) {
        return done(kvreg_bucket_delete_cast(get(), key.data(), key.size()));
    }

    // The value with its revision.
    returned<std::optional<kvreg::entry>> entry(text key) const {
        return detail::give(find_entry(key));
    }
    // A put that gives its revision.
    returned<std::uint64_t> put_entry(text key, value_view next) {
        std::uint64_t revision = 0;
        const auto status = kvreg_bucket_put_entry(get(), key.data(), key.size(), next.get(),
                                                   KVREG_TTL_DEFAULT, &revision);
        return detail::give(detail::answer(status, std::move(revision)));
    }
    // A put with a time to live, which gives its revision: bucket.put(key, 1, kvreg::ttl(30s)).
    returned<std::uint64_t> put(text key, value_view next, kvreg::ttl life) {
        std::uint64_t revision = 0;
        const auto status = kvreg_bucket_put_entry(get(), key.data(), key.size(), next.get(),
                                                   life.get(), &revision);
        return detail::give(detail::answer(status, std::move(revision)));
    }
    // kvreg_bucket_put_if: gives its revision. If it is not as expected that is a conflict.
    returned<std::uint64_t> put(text key, value_view next, if_revision expected) {
        return detail::give(put_on(key, next, expected, KVREG_TTL_DEFAULT));
    }
    returned<std::uint64_t> put(text key, value_view next, kvreg::ttl life, if_revision expected) {
        return detail::give(put_on(key, next, expected, life.get()));
    }
    // kvreg_bucket_expire: gives a key another time to live, or none, and its revision. False if
    // the key is absent; the revision may be asked for.
    returned<bool> expire(text key, kvreg::ttl life, std::uint64_t *revision = nullptr) {
        const auto status =
            kvreg_bucket_expire(get(), key.data(), key.size(), life.get(), revision);
        if (status == KVREG_NOT_FOUND) return false;
        return detail::give(detail::answer(status, true));
    }
    // kvreg_bucket_delete_if: gives what was there, or nothing if the key is absent.
    returned<std::optional<value>> erase(text key, if_revision expected) {
        shared_value old;
        const auto status = kvreg_bucket_delete_if(get(), key.data(), key.size(),
                                                   expected.get(), old.get());
        return detail::give(detail::if_found(status, old.copy()));
    }
    // kvreg_bucket_put_if_equal: stores `next` if the value is `expected`, and tells whether it
    // was. Either may be an optional; an empty one (std::nullopt) stands for an absent key.
    template <class E, class N>
    returned<bool> compare_and_swap(text key, const E &expected, const N &next) {
        const auto seen = detail::maybe(expected), stored = detail::maybe(next);
        const auto status = kvreg_bucket_put_if_equal(get(), key.data(), key.size(),
                                                      seen ? seen->get() : nullptr,
                                                      stored ? stored->get() : nullptr, nullptr);
        if (status == KVREG_CONFLICT) return false;
        return detail::give(detail::answer(status, true));
    }
    // kvreg_bucket_add_int: gives the sum.
    returned<std::int64_t> add(text key, std::int64_t delta) {
        std::int64_t sum = 0;
        const auto status = kvreg_bucket_add_int(get(), key.data(), key.size(), delta, &sum);
        return detail::give(detail::answer(status, std::move(sum)));
    }
    // Makes all changes in one step, or none, and gives their revisions. `failed` becomes the index
    // of the first that refused, or their number if none did.
    returned<std::vector<std::uint64_t>> apply(const batch &changes,
                                               std::size_t *failed = nullptr) {
        auto ops = changes.ops();
        const auto status = kvreg_bucket_apply(get(), ops.data(), ops.size(), failed);
        std::vector<std::uint64_t> revisions;
        if (status == KVREG_OK) {
            revisions.reserve(ops.size());
            for (const auto &op : ops) revisions.push_back(op.revision);
        }
        return detail::give(detail::answer(status, std::move(revisions)));
    }
    // Writes all keys into a file, which takes the place of an old one when it is whole.
    returned<void> save(text path) const {
        return done(kvreg_bucket_save(get(), path.data(), path.size()));
    }
    // Stores all keys of such a file in a bucket that has none; if it has, that is a conflict.
    returned<void> restore(text path) {
        return done(kvreg_bucket_restore(get(), path.data(), path.size()));
    }
    // Of the last change; 0 if there was none.
    returned<std::uint64_t> revision() const {
        std::uint64_t revision = 0;
        const auto status = kvreg_bucket_revision(get(), &revision);
        return detail::give(detail::answer(status, std::move(revision)));
    }

    // Calls `function` with the value (std::optional<T>; empty for nil, and if the key is absent)
    // on this thread, once, while the bucket does nothing else, and does what it returns: see
    // decision. What it throws comes out of here, with the bucket unchanged. None of kvreg's
    // frames lies beneath it.
    template <class T = value, class F> returned<void> update(text key, F &&function) {
        return detail::give(change<T>(key, std::forward<F>(function)));
    }
    // Calls `function` as update does, but later, on a thread of the library's. What it throws, and
    // a value that cannot be stored, ends the bucket with KVREG_REASON_CRASHED.
    template <class T = value, class F> returned<void> update_cast(text key, F function) {
        suits<T, F &>();
        struct later {
            F function;
            std::optional<decision> made;

            kvreg_verdict run(const kvreg_value *current, kvreg_value *next) {
                auto lent = given<T>(current ? value_view(*current) : nullptr);
                if (!lent) return KVREG_CRASH;
                const bool was_empty = !lent->has_value();
                made.emplace(function(*std::move(lent)));
                if (!made->is_valid()) return KVREG_CRASH;
                *next = *value_view(made->next()).get();
                return made->raw(was_empty);
            }
        };
        auto call = [](void *data, const kvreg_value *current, kvreg_value *next) noexcept {
            auto &self = *static_cast<later *>(data);
#if KVREG_HPP_THROWS
            try {
                return self.run(current, next);
            } catch (...) {
                return kvreg_verdict{KVREG_CRASH};
            }
#else
            return self.run(current, next);
#endif
        };
        auto destroy = [](void *data) noexcept { delete static_cast<later *>(data); };
        auto data = new later{std::move(function), std::nullopt};
        return done(
            kvreg_bucket_update_cast(get(), key.data(), key.size(), call, data, destroy));
    }

    returned<std::size_t> count() const {
        std::size_t count = 0;
        const auto status = kvreg_bucket_count(get(), &count);
        return detail::give(detail::answer(status, std::move(count)));
    }
    returned<void> clear() { return done(kvreg_bucket_clear(get())); }
    returned<kvreg::items> items() const {
        kvreg_items *items = nullptr;
        const auto status = kvreg_bucket_items(get(), &items);
        return detail::give(detail::answer(status, kvreg::items(items)));
    }
    scan_range scan(text prefix = {}, scan_options options = {}) const {
        return scan_range(get(), prefix, std::move(options));
    }
    key_range scan_keys(text prefix = {}, scan_options options = {}) const {
        return key_range(get(), prefix, std::move(options));
    }
    returned<std::optional<std::string>> name() const {
        shared_value name;
        const auto status = kvreg_bucket_name(get(), name.get());
        std::optional<std::string> own;
        if (name.type() != KVREG_NIL) own = std::string(name.text());
        return detail::give(detail::answer(status, std::move(own)));
    }
    returned<kvreg_bucket_stats> info() const {
        auto stats = kvreg_bucket_stats_init();
        const auto status = kvreg_bucket_info(get(), &stats);
        return detail::give(detail::answer(status, std::move(stats)));
    }
    returned<void> set_timeout(milliseconds timeout) {
        return done(kvreg_bucket_set_timeout(get(), timeout.count()));
    }
    returned<void> link(const bucket &other) {
        return done(kvreg_bucket_link(get(), other.get()));
    }
    returned<void> unlink(const bucket &other) {
        return done(kvreg_bucket_unlink(get(), other.get()));
    }
    returned<void> stop() { return done(kvreg_bucket_stop(get())); }
    returned<void> exit(kvreg::reason why, text detail = {}) {
        const auto raw = static_cast<kvreg_reason>(why);
        return done(kvreg_bucket_exit(get(), raw, detail.data(), detail.size()));
    }

private:
    static returned<void> done(kvreg_status status) {
        return detail::give(detail::answer(status));
    }
    // What a function of update is given.
    template <class T> static result<std::optional<T>> given(const value_view &current) {
        auto held = current.copy();
        if (std::holds_alternative<std::monostate>(held)) return std::optional<T>();
        auto right = detail::as<T>(std::move(held));
        if (!right) return right.failure();
        return std::optional<T>(std::move(right).value());
    }
    template <class T, class F> static constexpr void suits() {
        static_assert(detail::is_readable<T>, "a value is read as a kvreg::value, a bool, an "
                                              "integer, a floating-point number, a "
                                              "std::string or kvreg::bytes");
        static_assert(std::is_invocable_v<F, std::optional<T>>,
                      "the function of an update takes a std::optional of the value");
        if constexpr (std::is_invocable_v<F, std::optional<T>>)
            static_assert(!std::is_void_v<std::invoke_result_t<F, std::optional<T>>>,
                          "the function of an update returns what is stored, or a "
                          "kvreg::decision");
    }

    result<std::optional<shared_value>> find(text key) const {
        shared_value held;
        const auto status = kvreg_bucket_get(get(), key.data(), key.size(), held.get());
        return detail::if_found(status, std::move(held));
    }
    result<std::optional<kvreg::entry>> find_entry(text key) const {
        struct found : kvreg_entry {
            found() : kvreg_entry(kvreg_entry_init()) {}
            ~found() { kvreg_value_clear(&value); }
        } raw;
        const auto status = kvreg_bucket_get_entry(get(), key.data(), key.size(), &raw);
        std::optional<milliseconds> left;
        if (raw.ttl_ms != KVREG_TTL_NEVER) left = milliseconds(raw.ttl_ms);
        return detail::if_found(
            status, kvreg::entry{value_view(raw.value).copy(), raw.revision, left});
    }
    result<std::uint64_t> put_on(text key, value_view next, if_revision expected,
                                 std::int64_t ttl_ms) {
        std::uint64_t revision = 0;
        const auto status = kvreg_bucket_put_if(get(), key.data(), key.size(), next.get(),
                                                expected.get(), ttl_ms, &revision);
        return detail::answer(status, std::move(revision));
    }
    template <class T> result<std::optional<T>> read_as(text key) const {
        auto held = find(key);
        if (!held) return held.failure();
        if (!held->has_value()) return std::optional<T>();
        auto right = detail::as<T>((**held).copy());
        if (!right) return right.failure();
        return std::optional<T>(std::move(right).value());
    }
    template <class T, class F> detail::done change(text key, F &&function) {
        suits<T, F>();
        shared_value current;
        kvreg_update *begun = nullptr;
        const auto status =
            kvreg_bucket_update_begin(get(), key.data(), key.size(), current.get(), &begun);
        if (status != KVREG_OK) return detail::last_error(status);
        detail::handle<kvreg_update, kvreg_update_free> turn(begun);
        auto held = given<T>(current);
        if (!held) return held.failure();
        const bool was_empty = !held->has_value();
        const decision made = std::forward<F>(function)(*std::move(held));
        if (!made.is_valid())
            return error(KVREG_INVALID_ARGUMENT, "what the update returned is no value");
        const value_view next = made.next();
        return detail::answer(kvreg_update_end(turn.release(), made.raw(was_empty), next.get()));
    }
    template <class T> result<std::optional<T>> take_out(text key) {
        if constexpr (std::is_same_v<T, value>) {
            shared_value old;
            const auto status = kvreg_bucket_delete(get(), key.data(), key.size(), old.get());
            return detail::if_found(status, old.copy());
        } else {
            std::optional<T> old;
            auto changed = change<T>(key, [&](std::optional<T> held) {
                old = std::move(held);
                return decision::remove();
            });
            if (!changed) return changed.failure();
            return old;
        }
    }
};

class registry : public detail::handle<kvreg_registry, kvreg_registry_free> {
    template <class T> using returned = detail::returned<T>;

public:
    using handle::handle;
    static returned<registry> start() { return start(kvreg_registry_options_init()); }
    // One that others find by `name`.
    static returned<registry> start(text name) {
        auto options = kvreg_registry_options_init();
        options.name = name.data();
        options.name_len = name.size();
        if (options.name == nullptr && options.name_len == 0) options.name = ""; // not: none
        return start(options);
    }
    static returned<registry> start(const kvreg_registry_options &options) {
        return detail::give(made<registry>(kvreg_registry_start, &options));
    }
    static returned<std::optional<registry>> whereis(text name) {
        return detail::give(
            looked_up<registry>(kvreg_registry_whereis, name.data(), name.size()));
    }
    returned<registry> clone() const {
        return detail::give(made<registry>(kvreg_registry_clone, get()));
    }

    returned<bucket> create(text name, std::uint32_t flags = 0) {
        kvreg_bucket *made = nullptr;
        const auto status =
            kvreg_registry_create(get(), name.data(), name.size(), flags, &made);
        return detail::give(detail::answer(status, bucket(made)));
    }
    returned<bucket> create(text name, const kvreg_bucket_options &options,
                            std::uint32_t flags = 0) {
        kvreg_bucket *made = nullptr;
        const auto status =
            kvreg_registry_create_with(get(), name.data(), name.size(), flags, &options, &made);
        return detail::give(detail::answer(status, bucket(made)));
    }
    returned<void> create_cast(text name) {
        return done(kvreg_registry_create_cast(get(), name.data(), name.size()));
    }
    returned<std::optional<bucket>> lookup(text name) const {
        kvreg_bucket *there = nullptr;
        const auto status = kvreg_registry_lookup(get(), name.data(), name.size(), &there);
        return detail::give(detail::if_found(status, bucket(there)));
    }
    // Starts a server of one's own by this name, made of the arguments: see kvreg::server. If there
    // is one of the name, that is given.
    template <class T, class... A>
    returned<server> start_server(text name, A &&...arguments) {
        return start_server_with<T>(name, server_options(), std::forward<A>(arguments)...);
    }
    template <class T, class... A>
    returned<server> start_server_with(text name, const server_options &options,
                                       A &&...arguments) {
        if (get() == nullptr)
            return detail::give(result<server>(error(KVREG_BAD_HANDLE, "the registry is empty")));
        return detail::give(
            server::launch<T>(get(), name, options, std::forward<A>(arguments)...));
    }
    // By turns: its handle, and its first turn, which ends with the verdict on its start; none if
    // there is a server of the name already.
    returned<std::pair<server, std::optional<turn>>>
    start_server_by_turns(text name, const server_options &options = {}) {
        kvreg_server *made = nullptr;
        kvreg_turn *first = nullptr;
        const auto status =
            kvreg_registry_start_server(get(), name.data(), name.size(), options.start_flags,
                                        &options, &made, &first);
        std::pair<server, std::optional<turn>> both(server(made), std::nullopt);
        if (first != nullptr) both.second.emplace(first);
        return detail::give(detail::answer(status, std::move(both)));
    }
    returned<std::optional<server>> lookup_server(text name) const {
        kvreg_server *there = nullptr;
        const auto status =
            kvreg_registry_lookup_server(get(), name.data(), name.size(), &there);
        return detail::give(detail::if_found(status, server(there)));
    }
    // Names of the servers that programs wrote.
    returned<kvreg::names> servers() const {
        kvreg_items *names = nullptr;
        const auto status = kvreg_registry_servers(get(), &names);
        return detail::give(detail::answer(status, kvreg::names(names)));
    }
    // Calls the server that has the name now: it follows restarts.
    template <class T = value, class... A>
    returned<T> call(text name, text tag, const A &...arguments) const {
        const detail::arguments<A...> given(arguments...);
        shared_value answer;
        const auto status =
            kvreg_registry_call(get(), name.data(), name.size(), tag.data(), tag.size(),
                                given.data(), given.size(), answer.get());
        return detail::give(detail::answered<T>(status, std::move(answer)));
    }
    // If there was one.
    returned<bool> remove(text name) {
        const auto status = kvreg_registry_remove(get(), name.data(), name.size());
        if (status == KVREG_NOT_FOUND) return false;
        return detail::give(detail::answer(status, true));
    }
    // And what a store keeps of it. If there was either.
    returned<bool> erase(text name) {
        const auto status = kvreg_registry_erase(get(), name.data(), name.size());
        if (status == KVREG_NOT_FOUND) return false;
        return detail::give(detail::answer(status, true));
    }
    returned<std::size_t> count() const {
        std::size_t count = 0;
        const auto status = kvreg_registry_count(get(), &count);
        return detail::give(detail::answer(status, std::move(count)));
    }
    returned<kvreg::names> names() const {
        kvreg_items *names = nullptr;
        const auto status = kvreg_registry_names(get(), &names);
        return detail::give(detail::answer(status, kvreg::names(names)));
    }
    returned<kvreg_registry_stats> info() const {
        auto stats = kvreg_registry_stats_init();
        const auto status = kvreg_registry_info(get(), &stats);
        return detail::give(detail::answer(status, std::move(stats)));
    }
    returned<void> send(text message) {
        return done(kvreg_registry_send(get(), message.data(), message.size()));
    }
    // The reply, as in the text protocol.
    returned<std::string> execute(text line) {
        shared_value reply;
        const auto status = kvreg_registry_execute(get(), line.data(), line.size(), reply.get());
        return detail::give(detail::answer(status, std::string(reply.text())));
    }
    returned<void> set_timeout(milliseconds timeout) {
        return done(kvreg_registry_set_timeout(get(), timeout.count()));
    }
    returned<void> stop() { return done(kvreg_registry_stop(get())); }
    returned<void> exit(kvreg::reason why, text detail = {}) {
        const auto raw = static_cast<kvreg_reason>(why);
        return done(kvreg_registry_exit(get(), raw, detail.data(), detail.size()));
    }

private:
    static returned<void> done(kvreg_status status) {
        return detail::give(detail::answer(status));
    }
};

// kvreg_event, with texts of its own.
struct event {
    std::uint32_t type;
    kvreg::reason reason;
    std::uint32_t level;
    kvreg_status status;
    std::uint64_t reference, count, revision;
    std::string name, detail;
    kvreg::value value;
};

class inbox : public detail::handle<kvreg_inbox, kvreg_inbox_free> {
    template <class T> using returned = detail::returned<T>;

public:
    using handle::handle;
    static returned<inbox> open() { return detail::give(made<inbox>(kvreg_inbox_open)); }

    // Gives the reference that its DOWN will have.
    returned<std::uint64_t> monitor(const bucket &bucket) {
        std::uint64_t reference = 0;
        const auto status = kvreg_inbox_monitor(get(), bucket.get(), &reference);
        return detail::give(detail::answer(status, std::move(reference)));
    }
    returned<std::uint64_t> monitor(const registry &registry) {
        std::uint64_t reference = 0;
        const auto status = kvreg_inbox_monitor_registry(get(), registry.get(), &reference);
        return detail::give(detail::answer(status, std::move(reference)));
    }
    returned<std::uint64_t> monitor(server_ref server) {
        std::uint64_t reference = 0;
        const auto status = kvreg_inbox_monitor_server(get(), server.get(), &reference);
        return detail::give(detail::answer(status, std::move(reference)));
    }
    returned<void> demonitor(std::uint64_t reference, std::uint32_t flags = 0) {
        return done(kvreg_inbox_demonitor(get(), reference, flags));
    }
    // Calls a server without waiting: the answer is a KVREG_EVENT_REPLY with this reference, its
    // status and its value.
    template <class... A>
    returned<std::uint64_t> request(server_ref server, text tag, const A &...arguments) {
        const detail::arguments<A...> given(arguments...);
        std::uint64_t reference = 0;
        const auto status =
            kvreg_server_request(server.get(), tag.data(), tag.size(), given.data(),
                                 given.size(), get(), &reference);
        return detail::give(detail::answer(status, std::move(reference)));
    }
    // Withdraws a request: nothing of it comes any more. False: it had begun, or was answered.
    returned<bool> abandon(std::uint64_t reference) {
        const auto status = kvreg_inbox_abandon(get(), reference);
        if (status == KVREG_OUTCOME_UNKNOWN || status == KVREG_NOT_FOUND) return false;
        return detail::give(detail::answer(status, true));
    }
    // Follows the keys that begin with a prefix: KVREG_EVENT_RESET, the present keys as
    // KVREG_EVENT_CHANGE, KVREG_EVENT_CURRENT, then each change. Gives the reference of all these,
    // and of the DOWN, which is the last. Flags: KVREG_KEYS_ONLY, KVREG_ONLY_NEW, KVREG_ONE_KEY.
    returned<std::uint64_t> watch(const bucket &bucket, std::string_view prefix = {},
                                  std::uint32_t flags = 0, std::uint64_t max_pending = 0) {
        const auto options = wanted(prefix, flags, max_pending);
        std::uint64_t reference = 0;
        const auto status = kvreg_inbox_watch(get(), bucket.get(), &options, &reference);
        return detail::give(detail::answer(status, std::move(reference)));
    }
    // Follows the names of a registry as if they were keys without values.
    returned<std::uint64_t> watch_names(const registry &registry, std::string_view prefix = {},
                                        std::uint32_t flags = 0, std::uint64_t max_pending = 0) {
        const auto options = wanted(prefix, flags, max_pending);
        std::uint64_t reference = 0;
        const auto status = kvreg_inbox_watch_names(get(), registry.get(), &options, &reference);
        return detail::give(detail::answer(status, std::move(reference)));
    }
    // Nothing of the watch arrives or remains.
    returned<void> unwatch(std::uint64_t reference) {
        return done(kvreg_inbox_unwatch(get(), reference));
    }
    returned<void> subscribe_logs(std::uint32_t max_level) {
        return done(kvreg_inbox_subscribe_logs(get(), max_level));
    }
    // Empty if nothing came in time.
    returned<std::optional<event>> receive(milliseconds timeout = infinite) {
        received raw;
        const auto status = kvreg_inbox_receive(get(), timeout.count(), &raw);
        return detail::give(detail::if_found(status, owned(raw), KVREG_TIMEOUT));
    }
    // The first event, which is waited for, and what else is there then, `most` in all. Empty if
    // nothing came in time.
    returned<std::vector<event>> receive_many(milliseconds timeout = infinite,
                                              std::size_t most = 64) {
        std::vector<received> raw(most);
        std::vector<event> events;
        events.reserve(most);
        std::size_t count = 0;
        auto status = kvreg_inbox_receive_many(get(), timeout.count(), raw.data(), most, &count);
        for (std::size_t i = 0; i < count; i++)
            events.push_back(owned(raw[i]));
        if (status == KVREG_TIMEOUT)
            status = KVREG_OK;
        return detail::give(detail::answer(status, std::move(events)));
    }
    // Readable while events wait. On Linux.
    returned<int> fd() const {
        int fd = -1;
        const auto status = kvreg_inbox_fd(get(), &fd);
        return detail::give(detail::answer(status, std::move(fd)));
    }
    // A HANDLE that is signalled while events wait. On Windows.
    returned<void *> handle() const {
        void *handle = nullptr;
        const auto status = kvreg_inbox_handle(get(), &handle);
        return detail::give(detail::answer(status, std::move(handle)));
    }

private:
    struct received : kvreg_event {
        received() : kvreg_event{} {}
        received(const received &) = delete;
        received &operator=(const received &) = delete;
        ~received() { kvreg_event_clear(this); }
    };
    static event owned(const kvreg_event &raw) {
        auto own = [](const kvreg_text &text) {
            return text.data != nullptr ? std::string(text.data, text.len) : std::string();
        };
        return event{raw.type, static_cast<kvreg::reason>(raw.reason), raw.level, raw.status,
                     raw.reference, raw.count, raw.revision, own(raw.name), own(raw.detail),
                     value_view(raw.value).copy()};
    }
    static kvreg_watch_options wanted(std::string_view prefix, std::uint32_t flags,
                                      std::uint64_t max_pending) {
        auto options = kvreg_watch_options_init();
        options.flags = flags;
        options.prefix = prefix.data();
        options.prefix_len = prefix.size();
        options.max_pending = max_pending;
        return options;
    }
    static returned<void> done(kvreg_status status) {
        return detail::give(detail::answer(status));
    }
};

inline server_ref::server_ref(const bucket &whole) noexcept
    : held_(kvreg_bucket_as_server(whole.get())) {}
inline server_ref::server_ref(const registry &whole) noexcept
    : held_(kvreg_registry_as_server(whole.get())) {}
inline auto turn::defer(const inbox &into) -> returned<std::pair<std::uint64_t, reply>> {
    std::uint64_t reference = 0;
    kvreg_reply *later = nullptr;
    const auto status = kvreg_turn_defer(get(), into.get(), &reference, &later);
    return detail::give(
        detail::answer(status, std::pair<std::uint64_t, reply>(reference, reply(later))));
}

class listener : public detail::handle<kvreg_listener, kvreg_listener_free> {
    template <class T> using returned = detail::returned<T>;

public:
    using handle::handle;
    static returned<listener>
    start(const registry &registry, text address,
          const kvreg_listener_options &options = kvreg_listener_options_init()) {
        return detail::give(start_at(registry, address, options));
    }
    returned<std::string> address() const {
        shared_value address;
        const auto status = kvreg_listener_address(get(), address.get());
        return detail::give(detail::answer(status, std::string(address.text())));
    }
    returned<void> stop() {
        return detail::give(detail::answer(kvreg_listener_stop(get())));
    }

private:
    static result<listener> start_at(const registry &registry, text address,
                                     const kvreg_listener_options &options) {
        // To C it goes NUL-terminated, where NULL would be the default.
        std::string own;
        if (!address.is_null()) own.assign(address.data(), address.size());
        if (address.is_null() || own.find('\0') != std::string::npos)
            return error(KVREG_INVALID_ARGUMENT, "an address is NULL, or has a NUL in it");
        return made<listener>(kvreg_listener_start, registry.get(), own.c_str(), &options);
    }
};

// The process -------------------------------------------------------------------------------------

inline detail::returned<void> configure(const kvreg_options &options) {
    return detail::give(detail::answer(kvreg_configure(&options)));
}
// A shared object that is an engine, which opens the stores of its URLs.
inline detail::returned<void> load_engine(text path) {
    return detail::give(detail::answer(kvreg_engine_load(path.data(), path.size())));
}
inline detail::returned<void> shutdown(milliseconds timeout = infinite) {
    return detail::give(detail::answer(kvreg_shutdown(timeout.count())));
}

} // namespace with_exceptions or without_exceptions
} // namespace kvreg

#undef KVREG_HPP_THROWS
#endif // KVREG_HPP
