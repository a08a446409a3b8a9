// kvreg.hpp: what C++ adds to the interface of C.

#include "kvreg.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <map>
#include <new>
#include <set>
#include <stdexcept>
#include <thread>

#include "kvreg.hpp" // once more: it is included once

#include "check.h"

using namespace std::chrono_literals;
using namespace std::string_literals;
using namespace std::string_view_literals;

namespace {

// How many allocations of C++'s succeed on this thread until one fails; below 0: all do.
thread_local long allocations_left = -1;

} // namespace

void *operator new(std::size_t size) {
    if (allocations_left >= 0 && allocations_left-- == 0) throw std::bad_alloc();
    if (void *memory = std::malloc(size > 0 ? size : 1)) return memory;
    throw std::bad_alloc();
}
// Inlined alone, gcc would take them for the wrong ones.
[[gnu::noinline]] void operator delete(void *memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void *memory, std::size_t) noexcept { std::free(memory); }

namespace {

constexpr bool it_throws = false; // where it has not

__extension__ typedef __int128 int128;

// The call throws kvreg::error with this status.
template <class F> void throws(kvreg_status status, F call) {
    try {
        call();
    } catch (const kvreg::error &error) {
        CHECK(error.status() == status);
        return;
    }
    CHECK(it_throws);
}

void the_session_of_the_guide() {
    auto registry = kvreg::registry::start();
    CHECK(!registry.lookup("shopping"));
    auto shopping = registry.create("shopping");
    shopping.put("milk", 1);
    CHECK(shopping.get<std::int64_t>("milk") == 1);
    CHECK(registry.lookup("shopping")->get<std::int64_t>("milk") == 1);
    CHECK(shopping.erase<std::int64_t>("milk") == 1);
    CHECK(!shopping.get("milk") && !shopping.erase("milk"));

    auto inbox = kvreg::inbox::open();
    auto reference = inbox.monitor(shopping);
    shopping.exit(kvreg::reason::killed, "on purpose");
    auto down = inbox.receive(1s);
    CHECK(down && down->type == KVREG_EVENT_DOWN && down->reference == reference);
    CHECK(down->reason == kvreg::reason::killed && down->name == "shopping");
    CHECK(down->detail == "on purpose");
    CHECK(!registry.lookup("shopping"));
    throws(KVREG_NO_PROCESS, [&] { shopping.put("milk", 1); });
    CHECK(!inbox.receive(0ms));
    CHECK(registry.execute("GET shopping milk") == "NOT FOUND\r\n");
    registry.stop();
}

void values_are_what_they_look_like() {
    auto bucket = kvreg::bucket::start();
    auto back = [&](kvreg::value_view given) {
        bucket.put("k", given);
        return *bucket.get("k");
    };
    using kvreg::value;
    CHECK(back(nullptr) == value());
    CHECK(back(true) == value(true) && back(false) == value(false));
    CHECK(back(-7) == value(std::int64_t{-7}) && back(7u) == value(std::int64_t{7}));
    CHECK(back(short{3}) == value(std::int64_t{3}) && back(9LL) == value(std::int64_t{9}));
    CHECK(back(INT64_MIN) == value(INT64_MIN) && back(UINT64_C(5)) == value(std::int64_t{5}));
    CHECK(back(1.5) == value(1.5) && back(0.5f) == value(0.5));
    CHECK(back("text") == value("text"s) && back("text"s) == value("text"s));
    CHECK(back("a\0b"sv) == value("a\0b"s) && back("") == value(""s) && back(""sv) == value(""s));
    const kvreg::bytes raw{std::byte{0}, std::byte{255}};
    CHECK(back(raw) == value(raw) && back(value(raw)) == value(raw));
    CHECK(back(kvreg::value_view::of_bytes("\0\xff", 2)) == value(raw));
    CHECK(back(kvreg::bytes()) == value(kvreg::bytes()));
    throws(KVREG_INVALID_ARGUMENT, [&] { back(UINT64_MAX); });
    [&](auto wide) { // arithmetic in gcc's dialect only
        if constexpr (std::is_arithmetic_v<decltype(wide)>) {
            CHECK(back(-wide) == value(std::int64_t{-1}));
            throws(KVREG_INVALID_ARGUMENT, [&] { back(wide << 100); });
            throws(KVREG_INVALID_ARGUMENT, [&] { back(-(wide << 63) - 1); });
        }
    }(int128{1});
    throws(KVREG_INVALID_ARGUMENT, [&] { back("\xff"); }); // not UTF-8
}

void a_value_of_another_type_is_an_error() {
    auto bucket = kvreg::bucket::start();
    bucket.put("k", "text");
    throws(KVREG_WRONG_TYPE, [&] { (void)bucket.get<std::int64_t>("k"); });
    throws(KVREG_WRONG_TYPE, [&] { bucket.erase<std::int64_t>("k"); });
    CHECK(bucket.get<std::string>("k") == "text"); // nothing is lost by that
    CHECK(!bucket.get<std::int64_t>("absent") && !bucket.erase<std::int64_t>("absent"));
    CHECK(bucket.erase<std::string>("k") == "text" && bucket.count() == 0);
}

// As in C: an error, and not a crash.
void a_null_pointer_is_no_text() {
    auto registry = kvreg::registry::start();
    auto bucket = registry.create("b");
    const char *unset = std::getenv("KVREG_TEST_THAT_NOBODY_SETS");
    CHECK(unset == nullptr);
    const std::vector<std::pair<const char *, int>> pairs{{"k", 1}, {unset, 2}};
    const std::vector<std::pair<const char *, const char *>> texts{{"k", unset}};
    const std::array keys{"k", unset};
    auto refused = [](auto call) { throws(KVREG_INVALID_ARGUMENT, call); };
    refused([&] { bucket.put("k", unset); });
    refused([&] { bucket.put(unset, 1); });
    refused([&] { bucket.put_cast("k", unset); });
    refused([&] { bucket.put_cast(unset, 1); });
    refused([&] { bucket.put_many(pairs); });
    refused([&] { bucket.put_many(texts); });
    refused([&] { bucket.put_many({{unset, 1}}); });
    refused([&] { bucket.put_many({{"k", unset}}); });
    refused([&] { (void)bucket.get_many(keys); });
    refused([&] { (void)bucket.get(unset); });
    refused([&] { (void)bucket.get<int>(unset); });
    refused([&] { (void)bucket.read(unset); });
    refused([&] { bucket.erase(unset); });
    refused([&] { bucket.erase<int>(unset); });
    refused([&] { bucket.erase_cast(unset); });
    refused([&] { (void)bucket.entry(unset); });
    refused([&] { bucket.put_entry("k", unset); });
    refused([&] { bucket.put("k", unset, kvreg::if_absent); });
    refused([&] { bucket.put(unset, 1, kvreg::if_absent); });
    refused([&] { bucket.erase(unset, kvreg::if_revision(1)); });
    refused([&] { bucket.compare_and_swap("k", std::nullopt, unset); });
    refused([&] { bucket.compare_and_swap("k", unset, std::nullopt); });
    refused([&] { bucket.add(unset, 1); });
    refused([&] { bucket.update(unset, [](auto) { return 1; }); });
    refused([&] { bucket.update("k", [&](auto) { return unset; }); });
    refused([&] { bucket.update_cast(unset, [](auto) { return 1; }); });
    refused([&] { bucket.exit(kvreg::reason::killed, unset); });
    refused([&] { (void)kvreg::registry::start(unset); });
    refused([&] { (void)kvreg::registry::whereis(unset); });
    refused([&] { (void)registry.create(unset); });
    refused([&] { (void)registry.create(unset, kvreg_bucket_options_init()); });
    refused([&] { registry.create_cast(unset); });
    refused([&] { (void)registry.lookup(unset); });
    refused([&] { registry.remove(unset); });
    refused([&] { registry.send(unset); });
    refused([&] { (void)registry.execute(unset); });
    refused([&] { registry.exit(kvreg::reason::killed, unset); });
    refused([&] { (void)kvreg::listener::start(registry, unset); });
    refused([&] { (void)kvreg::listener::start(registry, "127.0.0.1:0\0x"sv); });
    CHECK(bucket.count() == 0 && registry.count() == 1);
    // An empty text is one, whatever it points to.
    bucket.put(std::string_view(), std::string_view());
    CHECK(bucket.get<std::string>("") == "" && registry.execute({}) == "UNKNOWN COMMAND\r\n");
}

template <class T> void holds_its_range(kvreg::bucket &bucket) {
    using limits = std::numeric_limits<T>;
    for (auto number : {limits::min(), limits::max(), T()}) {
        if (number > T() && static_cast<std::uint64_t>(number) > INT64_MAX) continue;
        bucket.put("n", number);
        CHECK(bucket.get<T>("n") == number);
    }
    if constexpr (sizeof(T) < 8) {
        bucket.put("n", std::int64_t{limits::max()} + 1);
        throws(KVREG_WRONG_TYPE, [&] { (void)bucket.get<T>("n"); });
        throws(KVREG_WRONG_TYPE, [&] { bucket.erase<T>("n"); });
        throws(KVREG_WRONG_TYPE, [&] { bucket.update<T>("n", [](auto n) { return n; }); });
    }
    if constexpr (sizeof(T) < 8 || std::is_unsigned_v<T>) {
        bucket.put("n", std::int64_t{limits::min()} - 1);
        throws(KVREG_WRONG_TYPE, [&] { (void)bucket.get<T>("n"); });
    }
}

void numbers_are_read_as_every_type() {
    auto bucket = kvreg::bucket::start();
    holds_its_range<signed char>(bucket);
    holds_its_range<unsigned char>(bucket);
    holds_its_range<short>(bucket);
    holds_its_range<unsigned short>(bucket);
    holds_its_range<int>(bucket);
    holds_its_range<unsigned>(bucket);
    holds_its_range<long>(bucket);
    holds_its_range<unsigned long>(bucket);
    holds_its_range<long long>(bucket);
    holds_its_range<unsigned long long>(bucket);
    bucket.put("f", 0.1f);
    CHECK(bucket.get<float>("f") == 0.1f && bucket.get<long double>("f") == 0.1f);
    for (double far : {1e300, -1e300}) {
        bucket.put("f", far);
        CHECK(bucket.get<double>("f") == far);
        throws(KVREG_WRONG_TYPE, [&] { (void)bucket.get<float>("f"); });
    }
    bucket.put("f", std::numeric_limits<double>::infinity());
    CHECK(bucket.get<float>("f") == std::numeric_limits<float>::infinity());
    bucket.put("f", std::numeric_limits<double>::quiet_NaN());
    CHECK(bucket.get<float>("f").value() != bucket.get<float>("f").value());
    // No type passes for another.
    throws(KVREG_WRONG_TYPE, [&] { (void)bucket.get<int>("f"); });
    bucket.put("n", 1);
    throws(KVREG_WRONG_TYPE, [&] { (void)bucket.get<double>("n"); });
    throws(KVREG_WRONG_TYPE, [&] { (void)bucket.get<bool>("n"); });
    CHECK(bucket.read("n")->as<short>() == 1);
}

void a_large_value_is_shared() {
    auto bucket = kvreg::bucket::start();
    bucket.put("k", std::string(1 << 20, 'x'));
    auto one = bucket.read("k"), other = bucket.read("k");
    CHECK(one->text().size() == 1 << 20 && one->text().data() == other->text().data());
    bucket.put("k", 1);
    bucket.stop();
    CHECK(one->text().back() == 'x'); // G13
    auto moved = std::move(*one);
    CHECK(moved.text().size() == 1 << 20 && one->text().empty() && one->type() == KVREG_NIL);
    *one = std::move(moved);
    CHECK(one->type() == KVREG_STRING && one->text() == other->text());
    // It can be given like any other.
    auto copies = kvreg::bucket::start();
    copies.put("k", *one);
    copies.update("l", [&](auto) { return kvreg::decision(*one); });
    CHECK(copies.get<std::string>("k") == one->text() && copies.get("l") == one->copy());
    const auto unchangeable = std::move(*one);
    CHECK(unchangeable.get()->type == KVREG_STRING && copies.get("k") == unchangeable.copy());
}

void keys_are_any_bytes() {
    auto bucket = kvreg::bucket::start();
    for (auto key : {""sv, "\0"sv, "\xff\0k"sv, "k"sv}) bucket.put(key, key.size());
    CHECK(bucket.count() == 4 && bucket.get<std::int64_t>("\xff\0k"sv) == 3);
    throws(KVREG_INVALID_ARGUMENT, [&] { bucket.put(std::string(65537, 'k'), 1); });
    bucket.clear();
    CHECK(bucket.count() == 0);
}

void batches() {
    auto bucket = kvreg::bucket::start();
    bucket.put_many(std::map<std::string, int>{{"a", 1}, {"b", 2}});
    bucket.put_many(std::vector<std::pair<const char *, kvreg::value>>{{"c", "three"s}, {"d", {}}});
    bucket.put_many(std::map<std::string, int>());
    const std::array keys{"a", "absent", "c"};
    using values = std::vector<std::optional<kvreg::value>>;
    CHECK(bucket.get_many(keys) == (values{std::int64_t{1}, std::nullopt, "three"s}));
    CHECK(bucket.count() == 4);
    const std::string key = "e";
    bucket.put_many({{key, 5}, {"f", std::string(100000, 'x')}, {"g", nullptr}});
    // Nil is a value, and an absent key has none.
    CHECK(bucket.get_many({key, "g", "h"}) ==
          (values{std::int64_t{5}, kvreg::value(), std::nullopt}));
    CHECK(bucket.get<std::string>("f")->size() == 100000);
    // What an iterator makes as it goes is gone at the next step.
    auto other = kvreg::bucket::start();
    other.put_many(bucket.items());
    CHECK(other.count() == 7 && other.get("f") == bucket.get("f"));
    auto registry = kvreg::registry::start();
    for (auto name : {"c", "d"}) registry.create_cast(name);
    const auto found = other.get_many(registry.names());
    const std::set<std::optional<kvreg::value>> expected{kvreg::value(), "three"s};
    CHECK(std::set(found.begin(), found.end()) == expected);
}

void a_bucket_of_its_own_has_options() {
    auto options = kvreg_bucket_options_init();
    options.max_keys = 1;
    auto bucket = kvreg::bucket::start(options);
    bucket.put("a", 1);
    throws(KVREG_LIMIT, [&] { bucket.put("b", 1); });
    options.restart = KVREG_PERMANENT;
    throws(KVREG_INVALID_ARGUMENT, [&] { (void)kvreg::bucket::start(options); });
}

void numbers_have_names() {
    CHECK(kvreg::name(kvreg::reason::noproc) == "KVREG_REASON_NOPROC");
    CHECK(kvreg::name(kvreg::verdict::remove) == "KVREG_REMOVE");
}

void ranges_over_items_and_names() {
    auto registry = kvreg::registry::start();
    auto bucket = registry.create("a");
    registry.create_cast("b");
    for (int number = 0; number < 100; ++number) bucket.put(std::to_string(number), number);
    std::map<std::string, kvreg::value> seen;
    for (auto &[key, value] : bucket.items()) seen.emplace(key, std::move(value));
    CHECK(seen.size() == 100 && seen.at("42") == kvreg::value(std::int64_t{42}));
    std::set<std::string> names;
    for (auto &name : registry.names()) names.insert(std::move(name));
    CHECK(names == (std::set<std::string>{"a", "b"}));
    auto all = bucket.items();
    CHECK((std::map<std::string, kvreg::value>(all.begin(), all.end())) == seen);
    auto two = registry.names();
    auto name = two.begin();
    const auto before = *name++;
    CHECK(before != *name && ++name == two.end());
    bucket.clear();
    CHECK(bucket.items().begin() == kvreg::items::iterator());
    // A snapshot outlives its bucket; the C++ loop may end early.
    bucket.put("k", 1);
    auto items = bucket.items();
    bucket.stop();
    auto first = items.begin();
    CHECK(first->first == "k" && first != items.end());
    CHECK(registry.count() == 1 && registry.remove("b") && !registry.remove("b"));
}

void scans_are_in_order() {
    for (const auto order : {KVREG_UNORDERED, KVREG_ORDERED}) {
        auto options = kvreg_bucket_options_init();
        options.order = order;
        auto bucket = kvreg::bucket::start(options);
        CHECK(bucket.scan().begin() == kvreg::scan_range::iterator());
        std::vector<std::string> expected;
        for (int number = 0; number < 100; ++number) {
            bucket.put("user:" + std::to_string(number), number);
            expected.push_back("user:" + std::to_string(number));
        }
        bucket.put("use", "before");
        bucket.put("uses", "behind");
        std::sort(expected.begin(), expected.end());
        for (std::size_t page : {1U, 7U, 99U, 100U, 101U, 0U}) {
            kvreg::scan_options paged;
            paged.page = page;
            std::vector<std::string> seen;
            for (auto &&[key, value] : bucket.scan("user:", paged)) {
                CHECK(value == kvreg::value(std::int64_t{std::stoi(key.substr(5))}));
                seen.push_back(key);
            }
            CHECK(seen == expected);
            paged.after = "user:41";
            auto keys = bucket.scan_keys("user:", paged);
            CHECK((std::vector<std::string>(keys.begin(), keys.end())) ==
                  (std::vector<std::string>(
                      std::upper_bound(expected.begin(), expected.end(), "user:41"),
                      expected.end())));
        }
        auto all = bucket.scan_keys();
        CHECK(*all.next() == "use" && *all.next() == "user:0");
        throws(KVREG_INVALID_ARGUMENT, [&] {
            const char *none = nullptr;
            (void)bucket.scan(none).next();
        });
        bucket.stop();
        throws(KVREG_NO_PROCESS, [&] { (void)bucket.scan().begin(); });
    }
}

void an_update_decides() {
    auto bucket = kvreg::bucket::start();
    using kvreg::decision;
    bucket.update("n", [](std::optional<kvreg::value> current) {
        CHECK(!current);
        return 1;
    });
    bucket.update<std::int64_t>("n", [](auto n) { return *n + 1; });
    CHECK(bucket.get<std::int64_t>("n") == 2);
    bucket.update("n", [](auto) { return decision::keep(); });
    CHECK(bucket.get<std::int64_t>("n") == 2);
    bucket.update("n", [](auto) { return "a literal"; });
    CHECK(bucket.get<std::string>("n") == "a literal");
    bucket.update<std::string>("n", [](auto text) { return *text + " and more"; });
    bucket.update<std::string>("n", [](auto text) -> decision {
        if (*text == "a literal and more") return std::string(100000, 'x');
        return decision::keep();
    });
    CHECK(bucket.get<std::string>("n")->size() == 100000);
    bucket.update("n", [](auto) { return nullptr; });
    CHECK(bucket.get("n") == kvreg::value());
    bucket.update("n", [](auto) { return decision::remove(); });
    CHECK(!bucket.get("n"));
    // What is given may be returned, and leaves all as it is.
    auto same = [](auto held) { return held; };
    bucket.update("n", same);
    CHECK(!bucket.get("n"));
    for (const kvreg::value &held : {kvreg::value(), kvreg::value(true), kvreg::value("x"s)}) {
        bucket.put("n", held);
        bucket.update("n", same);
        CHECK(bucket.get("n") == held);
    }
    bucket.update<std::string>("n", same);
    CHECK(bucket.get<std::string>("n") == "x");
    bucket.update("n", [](auto) { return std::optional<int>(7); });
    CHECK(bucket.get<int>("n") == 7);
    throws(KVREG_ABORTED, [&] { bucket.update("n", [](auto) { return kvreg::verdict::abort; }); });
    bucket.update("n", [](auto) { return kvreg::verdict::keep; });
    CHECK(bucket.get<int>("n") == 7);
    bucket.update("n", [](auto) { return std::optional<int>(); });
    CHECK(!bucket.get("n"));
    bucket.update("n", [&](auto) { // G8, and a plain read
        throws(KVREG_CALLING_SELF, [&] { bucket.put("n", 1); });
        return bucket.get("n") ? 1 : 2;
    });
    CHECK(bucket.get<std::int64_t>("n") == 2);
    throws(KVREG_SERVER_DOWN, [&] { bucket.update("n", [](auto) { return decision::crash(); }); });
}

void what_an_update_throws_comes_out() {
    auto bucket = kvreg::bucket::start();
    bucket.put("n", 1);
    try {
        bucket.update("n", [](auto) -> int { throw std::runtime_error("on purpose"); });
        CHECK(it_throws);
    } catch (const std::runtime_error &error) {
        CHECK(error.what() == "on purpose"sv);
    }
    // A type that is not the one asked for is found out before the function is called.
    throws(KVREG_WRONG_TYPE, [&] {
        bucket.update<std::string>("n", [](auto) -> int { throw std::logic_error("called"); });
    });
    CHECK(bucket.get<std::int64_t>("n") == 1);
    bucket.update<std::int64_t>("n", [](auto n) { return *n + 1; }); // the turn was given back
    CHECK(bucket.get<std::int64_t>("n") == 2);
}

void exceptions_from_many_threads() {
    auto bucket = kvreg::bucket::start();
    bucket.set_timeout(kvreg::infinite);
    const unsigned long count = check_count(20000);
    std::atomic<std::int64_t> thrown{0};
    auto work = [&] {
        auto mine = bucket.clone();
        for (unsigned long round = 0; round < count; ++round)
            try {
                mine.update<std::int64_t>("n", [&](auto n) {
                    if (round % 3 == 0) throw round;
                    return n.value_or(0) + 1;
                });
            } catch (unsigned long at) {
                CHECK(at == round);
                ++thrown;
            }
    };
    std::thread one(work), other(work);
    one.join();
    other.join();
    CHECK(bucket.get<std::int64_t>("n").value_or(0) + thrown ==
          static_cast<std::int64_t>(2 * count));
}

// What a cast was given is destroyed on every path.
struct counted {
    std::shared_ptr<int> it;
    std::optional<std::string> next;
    kvreg::decision operator()(const std::optional<std::string> &) const {
        if (!next) throw std::runtime_error("on purpose");
        return *next;
    }
};

void an_update_cast() {
    auto bucket = kvreg::bucket::start();
    auto inbox = kvreg::inbox::open();
    inbox.monitor(bucket);
    auto watched = std::make_shared<int>();
    bucket.update_cast<std::string>("k", counted{watched, std::string(1000, 'x')});
    bucket.put("then", 1); // G3: after the cast
    CHECK(bucket.get<std::string>("k") == std::string(1000, 'x'));
    bucket.update_cast<std::string>("k", counted{watched, {}});
    auto down = inbox.receive(30s);
    CHECK(down && down->reason == kvreg::reason::crashed);
    throws(KVREG_NO_PROCESS, [&] { bucket.update_cast<std::string>("k", counted{watched, {}}); });
    // The DOWN may come while the last one is being destroyed: the next server waits for it.
    while (watched.use_count() > 1) std::this_thread::yield();
    CHECK(watched.use_count() == 1);
}

// The call throws kvreg::conflict.
template <class F> void conflicts(F call) {
    try {
        call();
    } catch (const kvreg::conflict &conflict) {
        CHECK(conflict.status() == KVREG_CONFLICT);
        return;
    }
    CHECK(it_throws);
}

void a_revision_says_one_change() {
    auto bucket = kvreg::bucket::start();
    CHECK(!bucket.entry("k") && bucket.revision() == 0);
    const auto first = bucket.put_entry("k", 1), second = bucket.put_entry("k", "text");
    const auto held = bucket.entry("k");
    CHECK(first > 0 && second > first && bucket.revision() == second);
    CHECK(held->value == kvreg::value("text"s) && held->revision == second);
    bucket.put("large", std::string(100000, 'x'));
    const auto large = bucket.entry("large");
    CHECK(std::get<std::string>(large->value).size() == 100000 && large->revision > second);
    bucket.stop();
    throws(KVREG_NO_PROCESS, [&] { (void)bucket.entry("k"); });
    throws(KVREG_NO_PROCESS, [&] { (void)bucket.revision(); });
}

void puts_and_erases_on_a_condition() {
    using kvreg::if_absent;
    using kvreg::if_revision;
    auto bucket = kvreg::bucket::start();
    const auto first = bucket.put("k", 1, if_absent);
    CHECK(first == bucket.entry("k")->revision);
    conflicts([&] { bucket.put("k", 2, if_absent); });
    const auto second = bucket.put("k", "two", if_revision(first));
    CHECK(second > first && bucket.get<std::string>("k") == "two");
    conflicts([&] { bucket.put("k", 3, if_revision(first)); });
    conflicts([&] { bucket.put("absent", 3, if_revision(first)); });
    conflicts([&] { bucket.erase("k", if_revision(first)); });
    throws(KVREG_INVALID_ARGUMENT, [&] { bucket.erase("k", if_absent); });
    CHECK(bucket.revision() == second && !bucket.erase("absent", if_revision(second)));
    CHECK(bucket.erase("k", if_revision(second)) == kvreg::value("two"s) && bucket.count() == 0);
    // As a result it keeps its status, and is thrown as what it is.
    const auto failed = kvreg::attempt([&] { return bucket.put("k", 1, if_revision(second)); });
    CHECK(failed.status() == KVREG_CONFLICT);
    conflicts([&] { (void)failed.value(); });
}

void times_to_live() {
    using namespace std::chrono_literals;
    using kvreg::ttl;
    auto bucket = kvreg::bucket::start();
    CHECK(ttl(30s).get() == 30000 && ttl(1ns).get() == 1 && ttl(1500us).get() == 2);
    const auto first = bucket.put("k", 1, ttl(30s));
    CHECK(bucket.entry("k")->ttl > 0s && bucket.entry("k")->ttl <= 30s);
    bucket.put("k", 2, ttl::keep());
    CHECK(bucket.entry("k")->ttl);
    conflicts([&] { bucket.put("k", 3, ttl(1s), kvreg::if_revision(first)); });
    std::uint64_t revision = 0;
    CHECK(bucket.expire("k", ttl::never(), &revision) && revision > first);
    CHECK(!bucket.entry("k")->ttl && bucket.entry("k")->revision == revision);
    bucket.put("k", 3, ttl(1h), kvreg::if_revision(revision));
    CHECK(bucket.entry("k")->ttl > 59min);
    bucket.put("k", 4);
    CHECK(!bucket.entry("k")->ttl && !bucket.expire("absent", ttl(1s)));
    for (auto wrong : {ttl(0s), ttl(-1ms), ttl(-2ms), ttl(std::chrono::hours(24 * 366 * 101))}) {
        throws(KVREG_INVALID_ARGUMENT, [&] { bucket.put("k", 1, wrong); });
        throws(KVREG_INVALID_ARGUMENT, [&] { bucket.expire("k", wrong); });
    }
}

void compare_and_swap_compares_values() {
    auto bucket = kvreg::bucket::start();
    CHECK(bucket.compare_and_swap("k", std::nullopt, "open"));
    CHECK(!bucket.compare_and_swap("k", std::nullopt, "open"));
    CHECK(!bucket.compare_and_swap("k", nullptr, "closed")); // nil is a value
    CHECK(bucket.compare_and_swap("k", "open"s, 7));
    CHECK(!bucket.compare_and_swap("k", 7.0, 8) && bucket.get<int>("k") == 7);
    // What was read is expected, whether there was something or not.
    for (auto key : {"k", "absent"}) {
        const auto held = bucket.get(key);
        CHECK(bucket.compare_and_swap(key, held, 1) && !bucket.compare_and_swap(key, held, 1));
    }
    CHECK(bucket.compare_and_swap("k", 1, bucket.get<int>("gone")) && !bucket.get("k"));
    CHECK(bucket.compare_and_swap("k", std::nullopt, std::optional<int>()));
    bucket.stop();
    throws(KVREG_NO_PROCESS, [&] { bucket.compare_and_swap("k", 1, 2); });
}

void sums() {
    auto bucket = kvreg::bucket::start();
    CHECK(bucket.add("n", 5) == 5 && bucket.add("n", -7) == -2 && bucket.get<int>("n") == -2);
    throws(KVREG_LIMIT, [&] { bucket.add("n", INT64_MIN); });
    bucket.put("n", "text");
    throws(KVREG_WRONG_TYPE, [&] { bucket.add("n", 1); });
}

void changes_in_one_step() {
    auto bucket = kvreg::bucket::start();
    bucket.put("goes", 1);
    const auto goes = bucket.entry("goes")->revision;
    kvreg::batch batch;
    {
        const std::string key = "new", text = "a text that is gone before it is stored";
        batch.put(key, text).erase("goes", kvreg::if_revision(goes));
    }
    batch.add("n", 2).put("once", 2.5, kvreg::if_absent);
    std::size_t failed = 99;
    const auto revisions = bucket.apply(batch, &failed);
    CHECK(failed == 4 && revisions.size() == 4 && revisions[0] > goes);
    CHECK(revisions[3] == revisions[0] + 3 && bucket.revision() == revisions[3]);
    CHECK(bucket.get<std::string>("new") == "a text that is gone before it is stored");
    CHECK(!bucket.get("goes") && bucket.get<int>("n") == 2);
    throws(KVREG_NOT_FOUND, [&] { bucket.apply(batch, &failed); });
    CHECK(failed == 1 && bucket.revision() == revisions[3]);
    throws(KVREG_CONFLICT, [&] { bucket.apply(kvreg::batch().put("n", 1, kvreg::if_absent)); });
    const char *unset = nullptr;
    throws(KVREG_INVALID_ARGUMENT, [&] { bucket.apply(kvreg::batch().put(unset, 1)); });
    throws(KVREG_INVALID_ARGUMENT, [&] { bucket.apply(kvreg::batch().put("k", unset)); });
    throws(KVREG_INVALID_ARGUMENT, [&] { bucket.apply(kvreg::batch().put("k", UINT64_MAX)); });
    CHECK(bucket.apply(kvreg::batch()).empty());
}

void changes_give_times_to_live() {
    auto options = kvreg_bucket_options_init();
    options.default_ttl_ms = 3600000;
    auto bucket = kvreg::bucket::start(options);
    const auto once = bucket.put_entry("once", 1);
    bucket.apply(kvreg::batch()
                     .put("default", 1)
                     .put("own", 1, kvreg::ttl(30s))
                     .put("stays", 1, kvreg::ttl::never())
                     .put("once", 2, kvreg::ttl::never(), kvreg::if_revision(once))
                     .put("default", 2, kvreg::ttl::keep()));
    const auto left = [&](const char *key) { return bucket.entry(key)->ttl; };
    CHECK(left("own") > 0s && left("own") <= 30s);
    CHECK(left("default") > 30s && left("default") <= 3600s);
    CHECK(!left("stays") && !left("once") && bucket.get<int>("once") == 2);
    throws(KVREG_INVALID_ARGUMENT,
           [&] { bucket.apply(kvreg::batch().put("own", 2, kvreg::ttl(0s))); });
    CHECK(bucket.get<int>("own") == 1);
}

void files() {
    auto bucket = kvreg::bucket::start(), other = kvreg::bucket::start();
    const auto name = "kvreg-" + std::to_string(reinterpret_cast<std::uintptr_t>(&bucket));
    const auto path = (std::filesystem::temp_directory_path() / name).string();
    bucket.put("k", "text");
    bucket.save(path);
    other.restore(path);
    CHECK(other.get<std::string>("k") == "text");
    throws(KVREG_CONFLICT, [&] { other.restore(path); });
    CHECK(std::remove(path.c_str()) == 0);
    other.clear();
    throws(KVREG_IO, [&] { other.restore(path); });
    throws(KVREG_IO, [&] { bucket.save(path + "/none"); });
}

void casts() {
    auto bucket = kvreg::bucket::start();
    bucket.put_cast("a", 1);
    bucket.put_cast("b", "x");
    bucket.erase_cast("b");
    CHECK(bucket.get<std::int64_t>("a") == 1 && !bucket.get("b"));
}

void handles_move() {
    auto bucket = kvreg::bucket::start();
    static_assert(!std::is_copy_constructible_v<kvreg::bucket>);
    static_assert(std::is_nothrow_move_constructible_v<kvreg::registry>);
    static_assert(std::is_nothrow_move_assignable_v<kvreg::inbox>);
    static_assert(std::is_nothrow_destructible_v<kvreg::listener>);
    auto moved = std::move(bucket);
    CHECK(moved && !bucket && bucket.get() == nullptr);
    throws(KVREG_BAD_HANDLE, [&] { bucket.put("k", 1); });
    throws(KVREG_BAD_HANDLE, [&] { (void)bucket.clone(); });
    bucket = std::move(moved);
    bucket.put("k", 1);
    auto &same = bucket;
    bucket = std::move(same); // to itself
    CHECK(bucket.get<std::int64_t>("k") == 1);

    kvreg::bucket adopted(bucket.release());
    CHECK(!bucket && adopted.get<std::int64_t>("k") == 1);
    std::vector<kvreg::bucket> many;
    for (int number = 0; number < 10; ++number) many.push_back(adopted.clone());
    CHECK(many[9].get<std::int64_t>("k") == 1);
    auto clone = adopted.clone();
    clone.set_timeout(0ms);
    OK(kvreg_bucket_free(adopted.release()));
    CHECK(clone.info().keys == 1);
}

void names_and_ends() {
    auto registry = kvreg::registry::start("shops");
    CHECK(kvreg::registry::whereis("shops") && !kvreg::registry::whereis("other"));
    throws(KVREG_ALREADY_STARTED, [] { (void)kvreg::registry::start("shops"); });
    throws(KVREG_INVALID_ARGUMENT, [] { (void)kvreg::registry::start(std::string_view()); });
    auto options = kvreg_bucket_options_init();
    options.max_keys = 1;
    auto bucket = registry.create("b", options, KVREG_CREATE_EXCLUSIVE);
    throws(KVREG_ALREADY_STARTED, [&] { (void)registry.create("b", KVREG_CREATE_EXCLUSIVE); });
    bucket.put("k", 1);
    throws(KVREG_LIMIT, [&] { bucket.put("l", 1); });
    CHECK(bucket.name() == "b" && !kvreg::bucket::start().name());
    auto other = registry.create("c");
    bucket.link(other);
    bucket.unlink(other);
    bucket.exit(kvreg::reason::killed);
    CHECK(other.count() == 0 && registry.info().buckets == 1);
    auto inbox = kvreg::inbox::open();
    auto reference = inbox.monitor(other);
    inbox.demonitor(reference, KVREG_DEMONITOR_FLUSH);
    reference = inbox.monitor(registry);
    auto clone = registry.clone();
    registry.stop();
    auto down = inbox.receive();
    CHECK(down && down->reference == reference && down->reason == kvreg::reason::normal);
    throws(KVREG_NO_PROCESS, [&] { (void)clone.create("d"); });
}

void logs_and_descriptors() {
    auto registry = kvreg::registry::start();
    auto inbox = kvreg::inbox::open();
    inbox.subscribe_logs(KVREG_LOG_DEBUG);
#ifdef _WIN32
    CHECK(inbox.handle() != nullptr);
    throws(KVREG_UNSUPPORTED, [&] { (void)inbox.fd(); });
#else
    CHECK(inbox.fd() >= 0);
    throws(KVREG_UNSUPPORTED, [&] { (void)inbox.handle(); });
#endif
    registry.send("hello");
    auto log = inbox.receive(30s);
    CHECK(log && log->type == KVREG_EVENT_LOG && log->level == KVREG_LOG_DEBUG);
    CHECK(log->detail.find("hello") != std::string::npos);
    auto listener = kvreg::listener::start(registry, "127.0.0.1:0");
    CHECK(listener.address().rfind("127.0.0.1:", 0) == 0);
    listener.stop();
    throws(KVREG_INVALID_ARGUMENT, [&] { (void)kvreg::listener::start(registry, "nowhere"); });
    kvreg_listener_options options = kvreg_listener_options_init();
    options.password = "secret";
    options.password_len = KVREG_NUL;
    const std::string path = "unix:kvreg-test-" + listener.address().substr(10);
#ifdef _WIN32
    throws(KVREG_UNSUPPORTED, [&] { (void)kvreg::listener::start(registry, path, options); });
    auto local = kvreg::listener::start(registry, "127.0.0.1:0", options);
    const int in_use = 10048; // WSAEADDRINUSE
#else
    auto local = kvreg::listener::start(registry, path, options);
    CHECK(local.address() == path);
    const int in_use = EADDRINUSE;
#endif
    const std::string door(local.address());
    throws(KVREG_IO, [&] { (void)kvreg::listener::start(registry, door); });
    const auto taken = kvreg::attempt([&] { return kvreg::listener::start(registry, door); });
    CHECK(taken.failure().os_error() == in_use);
    CHECK(kvreg::attempt([] { kvreg::bucket(nullptr).clear(); }).failure().os_error() == 0);
    local.stop();
}

void errors_are_errors_of_std() {
    auto bucket = kvreg::bucket::start();
    bucket.stop();
    try {
        bucket.put("k", 1);
        CHECK(it_throws);
    } catch (const std::system_error &error) {
        CHECK(error.code() == std::error_code(KVREG_NO_PROCESS, kvreg::category()));
        CHECK(error.code().category().name() == "kvreg"sv);
        CHECK(error.code().message() == kvreg_status_message(KVREG_NO_PROCESS));
        const std::string said(error.what()), message = error.code().message();
        CHECK(said.size() > message.size() && said.find("put") != std::string::npos);
        CHECK(said.find(message, said.find(message) + 1) == std::string::npos); // once
    }
}

void failures_as_results() {
    auto bucket = kvreg::bucket::start();
    auto put = kvreg::attempt([&] { bucket.put("k", 1); });
    CHECK(put && put.status() == KVREG_OK);
    auto got = kvreg::attempt([&] { return bucket.get<std::string>("k"); });
    CHECK(!got && got.status() == KVREG_WRONG_TYPE && got.failure().status() == got.status());
    throws(KVREG_WRONG_TYPE, [&] { (void)got.value(); });
    auto clone = kvreg::attempt([&] { return bucket.clone(); });
    CHECK(clone->get<std::int64_t>("k") == 1);
    kvreg::bucket taken = std::move(clone).value();
    CHECK(taken.count() == 1);
    CHECK((*kvreg::attempt([&] { return bucket.clone(); })).count() == 1);
    const auto text = kvreg::attempt([] { return "text"s; });
    CHECK(*text == "text" && text->size() == 4 && text.value_or("other") == text.value());
    const auto none = kvreg::attempt([&] { return *bucket.get<std::string>("k"); });
    CHECK(none.value_or("other") == "other");
    throws(KVREG_WRONG_TYPE, [&] { (void)none->size(); });
    throws(KVREG_WRONG_TYPE, [&] { (void)*none; });
    auto other = kvreg::attempt([] { return kvreg::bucket(nullptr).clone(); });
    CHECK(std::move(other).value_or(std::move(taken)).count() == 1);
    // What a reference refers to is copied.
    CHECK(kvreg::attempt([&]() -> const std::string & { return *text; }).value() == *text);
    // Other exceptions are not ours to catch.
    try {
        (void)kvreg::attempt([]() -> int { throw 7; });
        CHECK(it_throws);
    } catch (int number) {
        CHECK(number == 7);
    }
}

// At any step: nothing leaks (the sanitizer sees memory), no turn is kept, and all can go on.
void no_memory() {
    long succeed = 0;
    for (bool failed = true; failed; ++succeed) {
        auto registry = kvreg::registry::start();
        auto bucket = registry.create("b");
        const std::string large(100000, 'x'), key(100, 'k');
        const std::vector<std::pair<std::string, kvreg::value>> pairs{{key, large}, {"l", 1}};
        const std::vector<std::string> keys{key, "l", "absent"};
        auto inbox = kvreg::inbox::open();
        inbox.monitor(bucket);
        allocations_left = succeed;
        try {
            bucket.put_many(pairs);
            (void)bucket.get_many(keys);
            bucket.update_cast("l", [large](auto) { return large; });
            bucket.update(key, [&](auto held) { return std::get<std::string>(*held) + large; });
            (void)bucket.get<std::string>(key);
            const auto held = bucket.entry(key);
            bucket.put(key, large, kvreg::if_revision(held->revision));
            (void)kvreg::attempt([&] { return bucket.put(key, 1, kvreg::if_absent); });
            CHECK(bucket.compare_and_swap(key, large, held->value));
            for (auto &item : bucket.items()) (void)std::string(item.first);
            for (auto &name : registry.names()) (void)std::string(name + large);
            (void)kvreg::attempt([] { kvreg::bucket(nullptr).clear(); });
            (void)bucket.erase<std::string>(key);
            bucket.exit(kvreg::reason::killed, large.substr(0, 1000));
            (void)inbox.receive(1s);
            failed = false;
        } catch (const std::bad_alloc &) {
        }
        allocations_left = -1;
        auto live = kvreg_live();
        live.size = sizeof live;
        OK(kvreg_live_counts(&live));
        CHECK(live.update_handles == 0 && live.items_handles == 0 && live.bucket_handles == 1);
        registry.create("b").put("k", 1);
    }
    CHECK(succeed > 20);
}

struct doubling {
    std::string text;
    explicit doubling(const std::string &begin) : text(begin) {}
    kvreg::verdict handle(const kvreg::message &message, kvreg::value &answer) {
        answer = text + message.get<std::string>(0);
        return kvreg::verdict::keep;
    }
};

// What is thrown in a server does not pass into the library: it ends the server, or its start.
void no_memory_in_a_server() {
    const std::string large(1000, 'x');
    long succeed = 0, crashed = 0;
    for (bool failed = true; failed; succeed++) {
        allocations_left = succeed;
        try {
            auto server = kvreg::server::start<doubling>(large);
            failed = server.call<std::string>("double", large).size() != 2 * large.size();
        } catch (const std::bad_alloc &) {
        } catch (const kvreg::error &error) {
            allocations_left = -1;
            CHECK(error.status() == KVREG_SERVER_DOWN);
            crashed++;
        }
        allocations_left = -1;
    }
    CHECK(succeed > 5 && crashed > 0);
}

void watches() {
    kvreg::registry registry = kvreg::registry::start();
    auto bucket = registry.create("b");
    bucket.put("user:1", "Ada");
    bucket.put("other", 1);
    auto inbox = kvreg::inbox::open();
    auto names = inbox.watch_names(registry, "b");
    CHECK(inbox.receive_many(1s).size() == 3);
    inbox.unwatch(names);
    auto watch = inbox.watch(bucket, "user:");
    auto told = inbox.receive_many(1s);
    CHECK(told.size() == 3 && told[0].type == KVREG_EVENT_RESET);
    CHECK(told[1].type == KVREG_EVENT_CHANGE && told[1].level == KVREG_CHANGE_PUT);
    CHECK(told[1].name == "user:1");
    CHECK(std::get<std::string>(told[1].value) == "Ada" && told[1].reference == watch);
    CHECK(told[2].type == KVREG_EVENT_CURRENT && told[2].revision == bucket.revision());
    CHECK(inbox.receive_many(0ms).empty());
    bucket.erase("user:1");
    auto change = inbox.receive(1s);
    CHECK(change->level == KVREG_CHANGE_DELETE && change->revision > told[1].revision);
    bucket.stop();
    CHECK(inbox.receive(1s)->type == KVREG_EVENT_DOWN);
}

} // namespace

int main() {
    const test tests[] = {
        TEST(the_session_of_the_guide),
        TEST(values_are_what_they_look_like),
        TEST(a_value_of_another_type_is_an_error),
        TEST(a_null_pointer_is_no_text),
        TEST(numbers_are_read_as_every_type),
        TEST(a_large_value_is_shared),
        TEST(keys_are_any_bytes),
        TEST(batches),
        TEST(a_bucket_of_its_own_has_options),
        TEST(numbers_have_names),
        TEST(ranges_over_items_and_names),
        TEST(scans_are_in_order),
        TEST(an_update_decides),
        TEST(what_an_update_throws_comes_out),
        TEST(exceptions_from_many_threads),
        TEST(an_update_cast),
        TEST(a_revision_says_one_change),
        TEST(puts_and_erases_on_a_condition),
        TEST(times_to_live),
        TEST(compare_and_swap_compares_values),
        TEST(sums),
        TEST(changes_in_one_step),
        TEST(changes_give_times_to_live),
        TEST(files),
        TEST(casts),
        TEST(handles_move),
        TEST(names_and_ends),
        TEST(logs_and_descriptors),
        TEST(watches),
        TEST(errors_are_errors_of_std),
        TEST(failures_as_results),
        TEST(no_memory),
        TEST(no_memory_in_a_server),
    };
    return check_run(tests, sizeof tests / sizeof *tests);
}
